import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';

/**
 * An answer that is written as it comes about; its head is out at once. The reply is taken over from Nest and Fastify:
 * what fails from here on has to be told in the stream itself.
 */
export class ResponseStream {
  /** Aborted when the client goes away before the end. */
  readonly signal: AbortSignal;
  private readonly controller = new AbortController();
  private readonly raw: ServerResponse;
  private last: Promise<void> = Promise.resolve();

  /** @param stallMs A client that takes nothing for so long is given up. Default one minute. */
  constructor(
    reply: FastifyReply,
    contentType: string,
    private readonly stallMs = 60_000,
  ) {
    const { raw } = reply;
    this.raw = raw;
    this.signal = this.controller.signal;
    raw.once('close', () => this.gone());
    // Of a connection that broke; `close` follows.
    raw.on('error', () => {});
    raw.on('timeout', () => raw.destroy());
    if (raw.destroyed) this.gone();
    const headers = {
      'content-type': contentType,
      'cache-control': 'private, no-store',
      vary: 'Authorization',
      // nginx would hold the answer back until it is whole.
      'x-accel-buffering': 'no',
    };
    reply.headers(headers).hijack();
    raw.writeHead(200, reply.getHeaders() as Record<string, string>);
    raw.flushHeaders();
  }

  /** True while nothing waits for the client to read. */
  get isIdle(): boolean {
    return !this.raw.writableNeedDrain;
  }

  /**
   * Writes in the order of the calls. Resolves when the text is handed over, which waits while the client does not read;
   * who awaits it before he makes the next text keeps no more than one in memory.
   * @throws the signal's reason
   */
  write(text: string): Promise<void> {
    const written = this.last.then(() => this.writeWhenThereIsRoom(text));
    this.last = written.catch(() => {});
    return written;
  }

  /** Ends the answer after what was written; resolves when it is out, or the client has gone. */
  async end(): Promise<void> {
    await this.last;
    if (this.signal.aborted) return;
    const closed = this.until('close');
    this.raw.end();
    await closed;
  }

  /** Also where the client goes, or reads nothing any more: Node's time-out begins anew with whatever gets out. */
  private async until(event: 'drain' | 'close'): Promise<void> {
    this.raw.setTimeout(this.stallMs);
    await once(this.raw, event, { signal: this.signal }).catch(() => {});
    this.raw.setTimeout(0);
  }

  private gone(): void {
    if (this.raw.writableFinished) return;
    this.controller.abort(new DOMException('The client has gone.', 'AbortError'));
  }

  private async writeWhenThereIsRoom(text: string): Promise<void> {
    if (this.raw.writableNeedDrain && !this.signal.aborted) await this.until('drain');
    if (this.raw.destroyed) this.gone();
    this.signal.throwIfAborted();
    this.raw.write(text);
  }
}

import { once } from 'node:events';
import type { ServerResponse } from 'node:http';

/** Waits so many milliseconds, or until the signal. */
export type Sleep = (ms: number, signal: AbortSignal) => Promise<unknown>;

/** What is answered to one request, piece by piece; every step fails once the connection is gone. */
export class Reply {
  private readonly gone = new AbortController();
  private broken = false;

  constructor(
    private readonly response: ServerResponse,
    private readonly sleep: Sleep,
    /** The connection is gone, or the answer has been sent; `aborted`: by the client, before it had it all. */
    onClosed: (aborted: boolean) => void,
  ) {
    response.once('close', () => {
      this.gone.abort(new ConnectionGone());
      onClosed(!this.broken && !response.writableFinished);
    });
  }

  open(status: number, headers: Readonly<Record<string, string>>): void {
    this.gone.signal.throwIfAborted();
    this.response.writeHead(status, headers);
    this.response.flushHeaders();
  }

  async write(bytes: string | Buffer): Promise<void> {
    this.gone.signal.throwIfAborted();
    if (!this.response.write(bytes)) {
      await this.unlessGone(once(this.response, 'drain', { signal: this.gone.signal }));
    }
  }

  async pause(ms: number): Promise<void> {
    if (ms > 0) await this.unlessGone(this.sleep(ms, this.gone.signal));
  }

  async until(opens: Promise<unknown>): Promise<void> {
    await Promise.race([opens, this.silence()]);
    this.gone.signal.throwIfAborted();
  }

  /** Until the connection is gone. */
  async silence(): Promise<never> {
    const { signal } = this.gone;
    if (!signal.aborted) await once(signal, 'abort');
    throw signal.reason;
  }

  /** All at once. */
  async whole(status: number, headers: Readonly<Record<string, string>>, body: string): Promise<void> {
    this.open(status, { ...headers, 'content-length': String(Buffer.byteLength(body)) });
    await this.write(body);
    this.end();
  }

  end(): void {
    this.response.end();
  }

  /** Closes the connection, in the middle of whatever was said. */
  break(): void {
    this.broken = true;
    this.response.socket?.destroy();
  }

  reset(): void {
    this.broken = true;
    this.response.socket?.resetAndDestroy();
  }

  private async unlessGone(step: Promise<unknown>): Promise<void> {
    try {
      await step;
    } finally {
      this.gone.signal.throwIfAborted();
    }
  }
}

/** Ends the answering of a request that nobody waits for. */
export class ConnectionGone extends Error {}

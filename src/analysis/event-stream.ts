import type { FastifyReply } from 'fastify';
import { ResponseStream } from './response-stream.js';

export interface EventStreamOptions {
  /** A comment is sent after so long without an event, in milliseconds. Default 15 000. */
  readonly heartbeatMs?: number;
  /** See `ResponseStream`. */
  readonly stallMs?: number;
}

/**
 * Whether an `Accept` names server-sent events, and wants JSON no more than those (RFC 9110 section 12.5.1): of several
 * ranges that fit the most specific one counts.
 */
export function acceptsEvents(accept = ''): boolean {
  const qualities = new Map<string, number>();
  for (const range of accept.slice(0, 1_000).toLowerCase().split(',')) {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim());
    const weight = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
    qualities.set(type, weight === undefined ? 1 : Number(weight));
  }
  const events = qualities.get('text/event-stream') ?? 0;
  const json = ['application/json', 'application/*', '*/*'].find((type) => qualities.has(type)) ?? '';
  return events > 0 && events >= (qualities.get(json) ?? 0);
}

/** An answer as server-sent events (`text/event-stream`), each with its name and JSON as its data. */
export class EventStream {
  private readonly stream: ResponseStream;
  private readonly heartbeat: NodeJS.Timeout;

  constructor(reply: FastifyReply, { heartbeatMs = 15_000, stallMs }: EventStreamOptions = {}) {
    this.stream = new ResponseStream(reply, 'text/event-stream; charset=utf-8', stallMs);
    this.heartbeat = setInterval(() => this.beat(), heartbeatMs).unref();
    const stop = (): void => clearInterval(this.heartbeat);
    this.signal.addEventListener('abort', stop, { once: true });
    if (this.signal.aborted) stop();
  }

  /** Aborted when the client goes away before the end. */
  get signal(): AbortSignal {
    return this.stream.signal;
  }

  /**
   * Sends one event, in the order of the calls. Resolves when it is handed over, which waits while the client does not
   * read.
   * @param event a name without line breaks
   * @throws the signal's reason
   */
  send(event: string, data: unknown): Promise<void> {
    this.heartbeat.refresh();
    return this.stream.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  /** Ends the stream after what was sent; resolves when it is out, or the client has gone. */
  async end(): Promise<void> {
    clearInterval(this.heartbeat);
    await this.stream.end();
  }

  /** Keeps proxies from cutting a connection that seems dead, and finds out whether it is. */
  private beat(): void {
    if (this.stream.isIdle) this.stream.write(':\n\n').catch(() => {});
  }
}

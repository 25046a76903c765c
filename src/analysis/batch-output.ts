import type { FastifyReply, FastifyRequest } from 'fastify';
import type { BatchCounts, BatchEnd, ItemResult } from './batch-result.js';
import { acceptsEvents, EventStream } from './event-stream.js';
import { ProgressEvents } from './progress-events.js';
import { ResponseStream } from './response-stream.js';

/** Where the results of a batch go, as they come about. */
export interface BatchOutput {
  /** Aborted when the client goes away before the end. */
  readonly signal: AbortSignal;
  /** Resolves when it is handed over, which waits while the client does not read. */
  item(result: ItemResult, counts: BatchCounts): Promise<void>;
  end(end: BatchEnd): Promise<void>;
}

export interface BatchEventsOptions {
  /** Of the items, where it is known. */
  readonly total: number | undefined;
  readonly heartbeatMs: number;
}

/** Server-sent events for who asks for them, else one JSON text a line. */
export function openBatchOutput(
  { headers }: FastifyRequest,
  reply: FastifyReply,
  options: BatchEventsOptions,
): BatchOutput {
  return acceptsEvents(headers.accept) ? new BatchEvents(reply, options) : new BatchLines(reply);
}

class BatchLines implements BatchOutput {
  private readonly stream: ResponseStream;

  constructor(reply: FastifyReply) {
    this.stream = new ResponseStream(reply, 'application/x-ndjson');
  }

  get signal(): AbortSignal {
    return this.stream.signal;
  }

  item(result: ItemResult): Promise<void> {
    return this.write(result);
  }

  async end(end: BatchEnd): Promise<void> {
    await this.write(end);
    await this.stream.end();
  }

  private write(line: unknown): Promise<void> {
    return this.stream.write(`${JSON.stringify(line)}\n`);
  }
}

class BatchEvents implements BatchOutput {
  private readonly stream: EventStream;
  private readonly progress: ProgressEvents;

  constructor(reply: FastifyReply, { total, heartbeatMs }: BatchEventsOptions) {
    this.stream = new EventStream(reply, { heartbeatMs });
    this.progress = new ProgressEvents(this.stream, total);
  }

  get signal(): AbortSignal {
    return this.stream.signal;
  }

  async item(result: ItemResult, counts: BatchCounts): Promise<void> {
    await this.stream.send('item', result);
    this.progress.report(counts);
  }

  async end(end: BatchEnd): Promise<void> {
    this.progress.stop();
    await this.stream.send(end.done ? 'done' : 'error', end);
    await this.stream.end();
  }
}

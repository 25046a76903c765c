import { ProviderBusyError } from '../ai.errors.js';

export interface BulkheadOptions {
  /** Of the provider. */
  readonly name: string;
  /** Calls at once. */
  readonly concurrency: number;
  /** Calls that may wait, first come, first served. */
  readonly queueLimit: number;
  /** Called when the queue is full, and when it is half empty again. */
  readonly onSaturated?: (isSaturated: boolean) => void;
}

/**
 * So many at once, and so many waiting. Who gives up leaves the queue at once, and who waits is never overtaken or turned
 * away later: cockatiel's bulkhead does neither (ADR 9).
 */
export class Bulkhead {
  private readonly queue = new Set<() => void>();
  private running = 0;
  private isSaturated = false;

  constructor(private readonly options: BulkheadOptions) {}

  get active(): number {
    return this.running;
  }

  get queued(): number {
    return this.queue.size;
  }

  /** @throws ProviderBusyError, or the reason of `signal` while it waits */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    if (this.running < this.options.concurrency) this.running += 1;
    else await this.wait(signal);
    try {
      return await work();
    } finally {
      this.pass();
    }
  }

  /** Resolves with a place that another has left. */
  private wait(signal: AbortSignal): Promise<void> {
    const { name, queueLimit } = this.options;
    if (this.queue.size >= queueLimit) {
      this.setSaturated(true);
      throw new ProviderBusyError(name, queueLimit);
    }
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.queue.delete(enter);
        this.relieve();
        reject(signal.reason as Error);
      };
      const enter = (): void => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      this.queue.add(enter);
      signal.addEventListener('abort', leave, { once: true });
    });
  }

  /** The place goes to whoever has waited longest. */
  private pass(): void {
    const [next] = this.queue;
    if (next === undefined) {
      this.running -= 1;
      this.relieve();
      return;
    }
    this.queue.delete(next);
    this.relieve();
    next();
  }

  /** Not before half of the queue is free: where as many come as go there would be no end of news. */
  private relieve(): void {
    if (this.queue.size <= this.options.queueLimit / 2) this.setSaturated(false);
  }

  private setSaturated(isSaturated: boolean): void {
    if (this.isSaturated === isSaturated) return;
    this.isSaturated = isSaturated;
    this.options.onSaturated?.(isSaturated);
  }
}

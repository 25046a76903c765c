import { StorageUnavailableError } from '../cache.errors.js';

export interface Timers {
  set(ms: number, run: () => void): unknown;
  clear(handle: unknown): void;
}

/** So little may have been spent that the time-out of a command is limit enough. */
const NEGLIGIBLE_MS = 5;

/** How long one call of a caller may wait for Redis in all, however many commands it takes. */
export class CallBudget {
  private spentMs = 0;

  constructor(
    private readonly maxMs: number,
    private readonly timers: Timers,
    private readonly now: () => number,
  ) {}

  get leftMs(): number {
    return Math.max(0, this.maxMs - this.spentMs);
  }

  /**
   * What is not answered in time may be executed all the same.
   * @throws StorageUnavailableError, also at once if nothing is left
   */
  async spend<T>(work: () => Promise<T>): Promise<T> {
    const leftMs = this.maxMs - this.spentMs;
    if (leftMs <= 0) throw exhausted();
    const begunMs = this.now();
    try {
      return await (this.spentMs < NEGLIGIBLE_MS || leftMs === Infinity
        ? work()
        : this.within(leftMs, work()));
    } finally {
      this.spentMs += Math.max(0, this.now() - begunMs);
    }
  }

  private within<T>(leftMs: number, reply: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = this.timers.set(leftMs, () => reject(exhausted()));
      const stop = (): void => this.timers.clear(timer);
      reply.finally(stop).then(resolve, reject);
    });
  }
}

const exhausted = (): StorageUnavailableError =>
  new StorageUnavailableError('redis', 'this call has waited for it long enough');

import { StorageUnavailableError } from '../cache.errors.js';
import type { Timers } from './timers.js';

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
   * What is not answered in time may be executed all the same. Of several commands none has to be late for all to be.
   * @throws StorageUnavailableError, also at once if nothing is left
   */
  async spend<T>(work: () => Promise<T>, commands: 'one' | 'several' = 'one'): Promise<T> {
    const leftMs = this.maxMs - this.spentMs;
    if (leftMs <= 0) throw exhausted();
    const begunMs = this.now();
    try {
      const isLimitedByItself = commands === 'one' && this.spentMs < NEGLIGIBLE_MS;
      return await (isLimitedByItself || leftMs === Infinity ? work() : this.within(leftMs, work()));
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

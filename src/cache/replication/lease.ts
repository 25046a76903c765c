import type { Timers } from './call-budget.js';

/** How long a computation is its holder's without a sign of life: what his death costs the others. */
export const LEASE_MS = 5000;
/** Below a third: two renewals may fail. */
export const RENEW_EVERY_MS = 1500;

/** The computation of a key is this instance's. */
export interface Held {
  readonly kind: 'mine';
  /** Of the result. */
  readonly version: string;
  /** Redis knows of it, or may: it has to be released. */
  readonly token: string | undefined;
  /** The newest version of the key that Redis knew; '' if none, or if it was not asked. */
  readonly known: string;
}

/** It is another instance's, for so long at least, unless that says otherwise. */
export interface Busy {
  readonly kind: 'theirs';
  readonly forMs: number;
}

/** Those who wait for a computation of another instance; woken when Redis tells of its end, or when their time is up. */
export class LeaseWaiters {
  private readonly waiting = new Map<string, Set<() => void>>();

  constructor(private readonly timers: Timers) {}

  wait(key: string, maxMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const all = this.waiting.get(key) ?? new Set();
      this.waiting.set(key, all);
      const wake = (): void => {
        this.timers.clear(timer);
        signal.removeEventListener('abort', wake);
        all.delete(wake);
        if (all.size === 0 && this.waiting.get(key) === all) this.waiting.delete(key);
        resolve();
      };
      const timer = this.timers.set(maxMs, wake);
      all.add(wake);
      signal.addEventListener('abort', wake);
      if (signal.aborted) wake();
    });
  }

  wake(key: string): void {
    for (const wake of this.waiting.get(key) ?? []) wake();
  }

  /** Where nobody would be told any more. */
  wakeAll(): void {
    for (const key of this.waiting.keys()) this.wake(key);
  }
}

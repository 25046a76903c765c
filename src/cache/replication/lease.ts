import type { Timers } from './timers.js';

/** How long a computation is its holder's without a sign of life: what his death costs the others. */
export const LEASE_MS = 5000;
/** Of that time. Below a third: two renewals may fail. */
export const RENEWAL = 0.3;

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
  readonly watch: Watch;
}

/** Of the end of one computation, from before Redis was asked who has it: it may be told before the answer is here. */
export class Watch {
  private wake: (() => void) | undefined;
  private isTold = false;

  constructor(
    private readonly timers: Timers,
    private readonly forget: (watch: Watch) => void,
  ) {}

  /** Resolves when it is told, when the time is up, or at an abort. Once; it has ended then. */
  until(maxMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.timers.clear(timer);
        signal.removeEventListener('abort', wake);
        this.end();
        resolve();
      };
      const timer = this.timers.set(maxMs, wake);
      this.wake = wake;
      signal.addEventListener('abort', wake);
      if (this.isTold || signal.aborted) wake();
    });
  }

  tell(): void {
    this.isTold = true;
    this.wake?.();
  }

  end(): void {
    this.forget(this);
  }
}

/** Those who wait for computations of other instances. */
export class LeaseWaiters {
  private readonly watches = new Map<string, Set<Watch>>();

  constructor(private readonly timers: Timers) {}

  watch(key: string): Watch {
    const all = this.watches.get(key) ?? new Set();
    this.watches.set(key, all);
    const watch = new Watch(this.timers, (ended) => {
      all.delete(ended);
      if (all.size === 0 && this.watches.get(key) === all) this.watches.delete(key);
    });
    all.add(watch);
    return watch;
  }

  wake(key: string): void {
    for (const watch of this.watches.get(key) ?? []) watch.tell();
  }

  /** Where nobody would be told any more. */
  wakeAll(): void {
    for (const key of this.watches.keys()) this.wake(key);
  }
}

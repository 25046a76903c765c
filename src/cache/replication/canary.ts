import type { Timers } from './timers.js';

export interface CanaryOptions {
  /** A key that nobody else has; another one for each beat, so that a late one is not taken for the next. */
  readonly nameOf: (beat: number) => string;
  /** Changes a key. A failure shows as a change that is not told. */
  readonly touch: (name: string) => Promise<unknown>;
  /** One every so often. */
  readonly heartbeatMs: number;
  /** So long it may take. */
  readonly timeoutMs: number;
  readonly timers: Timers;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  readonly onHeard: (lagMs: number) => void;
  readonly onMissed: () => void;
}

/**
 * Finds a channel out that is dead without a sign: a key is changed again and again, and its change must be told in
 * time. What is told in order is told before the canary that comes after it; so a change is known, or the loss of the
 * channel is, within `heartbeatMs` and `timeoutMs`.
 */
export class Canary {
  private beat = 0;
  private awaited: { readonly name: string; readonly sentMs: number } | undefined;
  private timer: unknown;

  constructor(private readonly options: CanaryOptions) {}

  /** One now, and the next ones until one is missed. */
  send(): void {
    const { nameOf, touch, timeoutMs, timers, now, onMissed } = this.options;
    this.stop();
    this.beat += 1;
    const name = nameOf(this.beat);
    this.awaited = { name, sentMs: now() };
    this.timer = timers.set(timeoutMs, () => {
      this.stop();
      onMissed();
    });
    touch(name).catch(() => {});
  }

  /** These have changed. */
  told(names: readonly string[]): void {
    const { heartbeatMs, timers, now, onHeard } = this.options;
    const { awaited } = this;
    if (awaited === undefined || !names.includes(awaited.name)) return;
    this.stop();
    const lagMs = now() - awaited.sentMs;
    // From when it was sent: a slow one must not lengthen the time in which nothing is found out.
    this.timer = timers.set(Math.max(0, heartbeatMs - lagMs), () => this.send());
    onHeard(lagMs);
  }

  stop(): void {
    this.options.timers.clear(this.timer);
    this.awaited = undefined;
  }
}

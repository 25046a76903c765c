import type { Timers } from './timers.js';

export interface CanaryOptions {
  /** A key that nobody else has; another one for each beat, so that a late one is not taken for the next. */
  readonly nameOf: (beat: number) => string;
  /** Changes a key. A failure shows as a change that is not told. */
  readonly touch: (name: string) => Promise<unknown>;
  /** Whether that has to be answered as well: it says whether all changes are told. Default: being told is enough. */
  readonly isAnswerNeeded?: () => boolean;
  /** One every so often. */
  readonly heartbeatMs: number;
  /** So long it may take. */
  readonly timeoutMs: number;
  readonly timers: Timers;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  readonly onHeard: (lagMs: number, name: string) => void;
  readonly onMissed: () => void;
}

/**
 * Finds a channel out that is dead without a sign: a key is changed again and again, and its change must be told in
 * time. What is told in order is told before the canary that comes after it; so a change is known, or the loss of the
 * channel is, within `heartbeatMs` and `timeoutMs`.
 */
export class Canary {
  private beat = 0;
  private awaited: Beat | undefined;
  private timer: unknown;

  constructor(private readonly options: CanaryOptions) {}

  /** One has been sent, and not been heard. */
  get isAwaited(): boolean {
    return this.awaited !== undefined;
  }

  /** One now, and the next ones until one is missed. */
  send(): void {
    const { nameOf, touch, isAnswerNeeded, timeoutMs, timers, now, onMissed } = this.options;
    this.stop();
    this.beat += 1;
    const isAnswered = isAnswerNeeded?.() !== true;
    const beat: Beat = { name: nameOf(this.beat), sentMs: now(), isTold: false, isAnswered };
    this.awaited = beat;
    this.timer = timers.set(timeoutMs, () => {
      this.stop();
      onMissed();
    });
    const answered = (): void => {
      beat.isAnswered = true;
      this.settle(beat);
    };
    touch(beat.name).then(answered, () => {});
  }

  /** These have changed. */
  told(names: readonly string[]): void {
    const { awaited } = this;
    if (awaited === undefined || !names.includes(awaited.name)) return;
    awaited.isTold = true;
    this.settle(awaited);
  }

  /** Gives up the one that is awaited; the next one comes in its time. */
  skip(): void {
    const { heartbeatMs, timers, now } = this.options;
    const lagMs = now() - (this.awaited?.sentMs ?? now());
    this.stop();
    // From when it was sent: a slow one must not lengthen the time in which nothing is found out.
    this.timer = timers.set(Math.max(0, heartbeatMs - lagMs), () => this.send());
  }

  stop(): void {
    this.options.timers.clear(this.timer);
    this.awaited = undefined;
  }

  private settle(beat: Beat): void {
    if (beat !== this.awaited || !beat.isTold || !beat.isAnswered) return;
    this.skip();
    this.options.onHeard(this.options.now() - beat.sentMs, beat.name);
  }
}

interface Beat {
  readonly name: string;
  readonly sentMs: number;
  isTold: boolean;
  isAnswered: boolean;
}

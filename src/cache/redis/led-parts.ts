import type { Timers } from '../replication/timers.js';
import type { BatchCodec } from './part-batches.js';
import { PartBatches } from './part-batches.js';
import type { PartStore, Relayed } from './part-store.js';
import { Turns } from './turns.js';

/** A computation that runs here, as others can take part in it. */
export interface LedComputation {
  readonly parts: {
    /** Of this run. */
    readonly all: readonly string[];
    follow(listener: () => void): () => void;
  };
  /** Without anybody who waits it is aborted. */
  wait(signal: AbortSignal): Promise<unknown>;
}

export interface LedOptions {
  readonly key: string;
  /** Of the lease. */
  readonly token: string;
  readonly computation: LedComputation;
  readonly store: PartStore;
  readonly codec: BatchCodec;
  readonly timers: Timers;
  readonly onFault: (error: unknown) => void;
}

/** Somebody may have followed before this began, of whom nothing will be told again soon. */
const FIRST_LOOK_MS = 100;
/** Parts that come within this go together. */
const GATHER_MS = 25;
/** A Redis that can't be asked that often has nobody to tell of. Each is a renewal of the lease apart. */
const FAILURES = 3;

/**
 * The parts of a computation whose lease this instance has, for the others: from when one of them follows until none
 * does, they are added to a log in Redis. Who follows is also somebody who waits. Nothing of this can fail the
 * computation.
 */
export class LedParts {
  private readonly turns = new Turns(() => this.look());
  private batches: PartBatches | undefined;
  /** Batches that Redis has. */
  private sent = 0;
  /** Redis has a log, or may: it has to be forgotten. */
  private mayHaveLog = false;
  private isWanted = false;
  /** Nothing is tried before the next renewal. */
  private isPaused = false;
  private isUnsealable = false;
  private failures = 0;
  private hasEnded = false;
  private unfollow: (() => void) | undefined;
  private waiter: AbortController | undefined;
  private timer: unknown;

  constructor(private readonly options: LedOptions) {
    this.timer = options.timers.set(FIRST_LOOK_MS, () => this.fire());
  }

  /** The news of those who follow: of the first, of the first who wants parts, or that nobody is left. */
  noticed(): void {
    this.turns.ask();
  }

  /** With each renewal of the lease. */
  renewed(): void {
    this.isPaused = false;
    this.turns.ask();
  }

  /** The computation has ended: its value says all. */
  end(): void {
    const { key, token, store, onFault } = this.options;
    this.stop();
    if (this.mayHaveLog) store.forget(key, token).catch(onFault);
    this.mayHaveLog = false;
  }

  /** It may go on, but not for those elsewhere: nobody will tell them. */
  close(): void {
    this.end();
    this.lapse();
  }

  private schedule(): void {
    if (this.isPaused) return;
    this.timer ??= this.options.timers.set(GATHER_MS, () => this.fire());
  }

  private fire(): void {
    this.timer = undefined;
    this.turns.ask();
  }

  /** Adds what is missing, and finds out who follows. */
  private async look(): Promise<void> {
    const { key, token, store, onFault } = this.options;
    this.clearTimer();
    if (this.isPaused) return;
    try {
      const sealed = this.isWanted ? this.sealed() : [];
      if (sealed.length > 0) this.mayHaveLog = true;
      const relayed = await store.relay(key, { token, index: this.sent }, sealed);
      this.failures = 0;
      if (!this.hasEnded) this.heed(relayed);
    } catch (error) {
      onFault(error);
      this.isPaused = true;
      this.failures += 1;
      if (this.failures >= FAILURES) this.lapse();
    }
  }

  private heed({ length, interest, isRefused }: Relayed): void {
    if (length < 0) {
      this.lapse();
      this.stop();
      return;
    }
    this.sent = length;
    if (interest === 'none') {
      this.lapse();
      return;
    }
    this.waiter ??= this.wait();
    if (interest === 'value' || this.isUnsealable) {
      this.mute();
      return;
    }
    this.isWanted = true;
    this.unfollow ??= this.options.computation.parts.follow(() => this.schedule());
    if (isRefused) {
      this.isPaused = true;
      this.options.onFault(new Error('Redis took no parts.'));
    } else if (!this.made.areAllIn(this.sent)) this.turns.ask();
  }

  /** What is missing in Redis. A part that is too large for an envelope ends it: the next ones would leave a gap. */
  private sealed(): Buffer[] {
    const { key, token, codec, onFault } = this.options;
    const sealed: Buffer[] = [];
    try {
      for (const batch of this.made.from(this.sent)) {
        sealed.push(codec.seal(key, { token, index: this.sent + sealed.length }, batch));
      }
    } catch (error) {
      onFault(error);
      this.isUnsealable = true;
    }
    return sealed;
  }

  private wait(): AbortController {
    const waiter = new AbortController();
    this.options.computation.wait(waiter.signal).catch(() => {});
    return waiter;
  }

  /** Nobody wants the parts. */
  private mute(): void {
    this.isWanted = false;
    this.unfollow?.();
    this.unfollow = undefined;
  }

  /** Nobody follows. */
  private lapse(): void {
    this.mute();
    this.waiter?.abort();
    this.waiter = undefined;
  }

  private stop(): void {
    this.hasEnded = true;
    this.turns.end();
    this.clearTimer();
    this.mute();
  }

  private clearTimer(): void {
    this.options.timers.clear(this.timer);
    this.timer = undefined;
  }

  /** Most computations are followed by nobody. */
  private get made(): PartBatches {
    return (this.batches ??= new PartBatches(this.options.computation.parts.all));
  }
}

import type { Timers } from '../replication/timers.js';
import type { BatchCodec } from './part-batches.js';
import type { Batches, PartStore, Position } from './part-store.js';
import { Turns } from './turns.js';

/** Where the parts of a computation go that runs elsewhere. */
export interface PartSink {
  /** Somebody here wants them. */
  readonly isHeard: boolean;
  /** Calls `wake` when somebody wants them whom nobody did before. */
  onHeard(wake: () => void): void;
  append(part: string): void;
  /** What was appended is void. */
  beginAnew(): void;
}

export interface FollowedOptions {
  readonly key: string;
  readonly sink: PartSink;
  readonly store: PartStore;
  readonly codec: BatchCodec;
  readonly timers: Timers;
  /** Of the life of a lease. */
  readonly leaseMs: number;
  readonly onFault: (error: unknown) => void;
}

/** In lives of a lease: for who is not told of what is new, or too late. */
const LOOK = 0.1;
/** Who only waits need not be known at once, and not at all for a short computation; well within `INTEREST`. */
const FIRST_WORD = 0.05;
const WORD = 0.2;
/** Where the rest of a log would be that can't be read: so only that of the next computation is. */
const UNREADABLE = 2 ** 31;

/** Follows a computation of another instance: says so in Redis, and brings its parts to those who wait here. */
export class FollowedParts {
  private readonly turns = new Turns(() => this.look());
  private position: Position = { token: '', index: 0 };
  private hasEnded = false;
  private timer: unknown;

  constructor(private readonly options: FollowedOptions) {
    const { sink, timers, leaseMs } = options;
    sink.onHeard(() => this.turns.ask());
    if (sink.isHeard) this.turns.ask();
    else this.timer = timers.set(leaseMs * FIRST_WORD, () => this.turns.ask());
  }

  /** The news of its parts. */
  noticed(): void {
    if (this.wantsParts && this.position.index !== UNREADABLE) this.turns.ask();
  }

  end(): void {
    this.hasEnded = true;
    this.turns.end();
    this.options.timers.clear(this.timer);
  }

  private get wantsParts(): boolean {
    return this.options.sink.isHeard;
  }

  private async look(): Promise<void> {
    const { key, store, timers, leaseMs, onFault } = this.options;
    timers.clear(this.timer);
    try {
      const found = await store.follow(key, this.wantsParts ? this.position : undefined);
      // What this instance computes itself by now is not to be mixed up with it.
      if (found !== undefined && !this.hasEnded) this.take(found);
    } catch (error) {
      onFault(error);
    }
    if (this.hasEnded) return;
    this.timer = timers.set(leaseMs * (this.wantsParts ? LOOK : WORD), () => this.turns.ask());
  }

  private take({ token, batches, hasMore }: Batches): void {
    const { key, sink, codec } = this.options;
    if (token !== this.position.token) {
      this.position = { token, index: 0 };
      sink.beginAnew();
    }
    for (const bytes of batches) {
      const parts = codec.open(key, this.position, bytes);
      if (parts === undefined) {
        this.position = { token, index: UNREADABLE };
        return;
      }
      this.position = { token, index: this.position.index + 1 };
      for (const part of parts) sink.append(part);
    }
    if (hasMore) this.turns.ask();
  }
}

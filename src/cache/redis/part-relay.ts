import type { Timers } from '../replication/timers.js';
import { ByKey } from './by-key.js';
import type { PartSink } from './followed-parts.js';
import { FollowedParts } from './followed-parts.js';
import type { RelayNews } from './keyspace.js';
import type { LedComputation } from './led-parts.js';
import { LedParts } from './led-parts.js';
import type { BatchCodec } from './part-batches.js';
import type { PartStore } from './part-store.js';

export interface PartRelayOptions {
  readonly store: PartStore;
  readonly codec: BatchCodec;
  readonly timers: Timers;
  /** Of the life of a lease. */
  readonly leaseMs: number;
}

/** What the instances tell each other of running computations in one namespace: `led-parts.ts`, `followed-parts.ts`. */
export class PartRelay {
  /** Calls of Redis that failed; each has cost parts, at most. */
  faults = 0;
  private readonly led = new ByKey<LedParts>();
  private readonly followed = new ByKey<FollowedParts>();

  constructor(private readonly options: PartRelayOptions) {}

  /** Until `end`. `token`: of the lease. */
  lead(key: string, token: string, computation: LedComputation): LedParts {
    return this.led.add(
      key,
      new LedParts({ ...this.options, key, token, computation, onFault: this.onFault }),
    );
  }

  /** Until `end`. */
  follow(key: string, sink: PartSink): FollowedParts {
    return this.followed.add(key, new FollowedParts({ ...this.options, key, sink, onFault: this.onFault }));
  }

  end(key: string, ended: LedParts | FollowedParts): void {
    ended.end();
    if (ended instanceof LedParts) this.led.delete(key, ended);
    else this.followed.delete(key, ended);
  }

  changed(key: string, news: RelayNews): void {
    for (const each of (news === 'interest' ? this.led : this.followed).of(key)) each.noticed();
  }

  close(): void {
    for (const each of this.led.all()) each.close();
    for (const each of this.followed.all()) each.end();
  }

  private readonly onFault = (): void => {
    this.faults += 1;
  };
}

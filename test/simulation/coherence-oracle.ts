import type { MarksRecord } from '../../src/cache/replication/remote.js';
import { placeOf } from '../../src/cache/redis/keyspace.js';
import type { CacheEntry } from '../../src/cache/storage/cache-entry.js';
import type { ProcessRecord, ReadRecord } from './history.js';
import { concerns } from './history.js';
import { CHANNEL_HEARTBEAT_MS, CHANNEL_TIMEOUT_MS } from './simulated-channel.js';
import type { Push } from './simulated-network.js';

/** How old a change may get before it is known everywhere, or that changes are not told. */
const BOUND_MS = CHANNEL_HEARTBEAT_MS + CHANNEL_TIMEOUT_MS;

/** Something that Redis had, from a moment on. */
interface Change {
  readonly at: number;
  readonly ms: number;
  readonly version: string;
  readonly redisClock: number;
}

/** When an instance heard of a place last, and of what was the case when. */
interface News {
  readonly heardAt: number;
  readonly toldAt: number;
}

export interface CoherenceView {
  readonly nowMs: () => number;
  readonly next: () => number;
  readonly redisClock: () => number;
  /** Redis may not have it any more: undefined stands for the marks. */
  readonly isLostSince: (key: string | undefined, at: number) => boolean;
  readonly fail: (promise: string, detail: string) => void;
}

/** Knows what Redis had at any time, and who was told of it; so what may still be served from a local copy. */
export class CoherenceOracle {
  private readonly changes = new Map<string | undefined, Change[]>();
  private readonly news = new Map<ProcessRecord, Map<string | undefined, News>>();
  private readonly marks = new Map<string, Change[]>();

  constructor(private readonly view: CoherenceView) {}

  applied(key: string, version: string): void {
    this.note(this.changes, key, version);
  }

  marked(marks: MarksRecord): void {
    for (const [name, version] of marks) this.note(this.marks, name, version);
  }

  told(process: ProcessRecord, { names, at: toldAt }: Push): void {
    const heardAt = this.view.next();
    let own = this.news.get(process);
    if (own === undefined) this.news.set(process, (own = new Map()));
    for (const name of names ?? []) {
      const place = placeOf('', name);
      if (place !== undefined && !place.isLease) own.set(place.key, { heardAt, toldAt });
    }
  }

  /** Served from a local copy, while Redis was there for it from the beginning to the end of the read. */
  served({ process, begunAt, begunMs }: ReadRecord, key: string, entry: CacheEntry): void {
    const own = this.news.get(process);
    const knew = (of: string | undefined, change: Change): string | undefined => {
      if (change.redisClock !== this.view.redisClock() || this.view.isLostSince(of, change.at))
        return undefined;
      const { heardAt = Infinity, toldAt = 0 } = own?.get(of) ?? {};
      if (heardAt < begunAt && change.at <= toldAt) return 'P5 told';
      return change.ms + BOUND_MS < begunMs ? 'P5 bound' : undefined;
    };
    const check = (of: string | undefined, change: Change, what: string): void => {
      const promise = knew(of, change);
      if (promise === undefined) return;
      const age = Math.round(begunMs - change.ms);
      const served = `node ${process.node} served ${key} ${entry.version}`;
      this.view.fail(promise, `${served}, ${age} ms after Redis had ${what} ${change.version}`);
    };
    for (const change of this.changes.get(key) ?? [])
      if (change.version > entry.version) check(key, change, key);
    for (const [name, changes] of this.marks) {
      if (!concerns(name, entry.tags)) continue;
      for (const change of changes) if (change.version >= entry.version) check(undefined, change, name);
    }
  }

  private note<K>(all: Map<K, Change[]>, of: K, version: string): void {
    const known = all.get(of) ?? [];
    if ((known.at(-1)?.version ?? '') === version) return;
    const { nowMs, next, redisClock } = this.view;
    known.push({ at: next(), ms: nowMs(), version, redisClock: redisClock() });
    all.set(of, known);
  }
}

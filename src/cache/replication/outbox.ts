import type { Mutation } from './mutation.js';

/**
 * What Redis has not acknowledged, newest per key; and what it has, for as long as it could still lose it. Bounded in
 * bytes and entries. At the bound the cheapest goes first: values that Redis has, then tombstones that Redis has, then
 * values that it has not (the oldest shrink to tombstones of their version, because what they replaced must not come
 * back), and at last all tombstones fold into one clear. That costs cached values, never a delete.
 */
export interface OutboxItem {
  readonly mutation: Mutation;
  /** `seen`: Redis has something of that version from somebody else, be it a set or a delete. */
  readonly state: 'pending' | 'acknowledged' | 'seen';
  /** Epoch milliseconds of this machine's clock at which it came into this state. */
  readonly sinceMs: number;
  /** How often Redis refused it while it took others. */
  readonly refusals: number;
  /** Redis had taken it once: it is sent again in case that is lost, and may be forgotten. */
  readonly again?: boolean;
}

export interface OutboxOptions {
  readonly maxBytes: number;
  readonly maxEntries: number;
}

/** What it took to stay within the bound. */
export interface Overflow {
  /** What Redis has, and is not remembered here any more. */
  readonly forgotten: readonly string[];
  /** Sets that lost their value. */
  readonly shrunk: readonly Mutation[];
  /** Everything at or below this version must be cleared. */
  readonly foldInto: string | undefined;
}

export interface OutboxCounts {
  readonly pending: number;
  readonly acknowledged: number;
  readonly bytes: number;
  readonly maxBytes: number;
  /** Epoch milliseconds since when the oldest pending one waits. */
  readonly oldestPendingMs: number | undefined;
}

/** Of one item, beside its bytes and key: the map's slot and two small objects, measured on Node 24. */
const OVERHEAD_BYTES = 300;
const NOTHING: Overflow = { forgotten: [], shrunk: [], foldInto: undefined };

type Queue = 'pendingDeletes' | 'pendingSets' | 'knownDeletes' | 'knownSets' | 'seen';
const QUEUES = {
  pending: { sets: 'pendingSets', deletes: 'pendingDeletes' },
  acknowledged: { sets: 'knownSets', deletes: 'knownDeletes' },
} as const satisfies Record<string, Record<string, Queue>>;
type Item = OutboxItem & { readonly queue: Queue; readonly size: number; held: boolean };

export class Outbox {
  private readonly items = new Map<string, Item>();
  private readonly queues: Readonly<Record<Queue, Map<string, Item>>> = {
    pendingDeletes: new Map(),
    pendingSets: new Map(),
    knownDeletes: new Map(),
    knownSets: new Map(),
    seen: new Map(),
  };
  private bytes = 0;
  private forgottenVersion = '';

  constructor(private readonly options: OutboxOptions) {}

  get(key: string): OutboxItem | undefined {
    return this.items.get(key);
  }

  /** Of what was forgotten to stay within the bounds, the greatest version: what is as old may have been deleted. */
  get forgottenUpTo(): string {
    return this.forgottenVersion;
  }

  get pendingCount(): number {
    return this.queues.pendingDeletes.size + this.queues.pendingSets.size;
  }

  /** Every item, in the order of their arrival within each kind. */
  *all(): Iterable<OutboxItem> {
    for (const queue of Object.values(this.queues)) yield* queue.values();
  }

  /** A mutation that Redis does not have yet. An older one of its key gives way; a newer one stays. */
  add(mutation: Mutation, sinceMs: number): Overflow {
    const former = this.items.get(mutation.key);
    if (former !== undefined && former.mutation.version > mutation.version) return NOTHING;
    this.insert({ mutation, state: 'pending', sinceMs, refusals: 0 });
    return this.keepWithin();
  }

  /**
   * Somebody's version of the key that Redis has: nothing older may come back. Of one that waits here it is the delete,
   * which wins. `acknowledged` if it is known to be a delete. Undefined if it is no news.
   */
  see(key: string, version: string, state: 'acknowledged' | 'seen', sinceMs: number): Overflow | undefined {
    const former = this.items.get(key);
    if (former !== undefined && former.mutation.version > version) return undefined;
    if (former?.mutation.version === version && former.state !== 'pending') return undefined;
    this.insert({ mutation: tombstoneOf({ key, version }), state, sinceMs, refusals: 0 });
    return this.keepWithin();
  }

  /** As it was before a restart. */
  restore(item: OutboxItem): void {
    this.insert(item);
  }

  /** To the bounds. */
  keepWithin(): Overflow {
    if (!this.overflows) return NOTHING;
    const forgotten = this.forgetWhatRedisHas();
    const shrunk = this.shrinkOldest();
    return { forgotten, shrunk, foldInto: this.overflows ? this.greatestOfOldest() : undefined };
  }

  /** Redis has this version now. A newer one of the key, queued meanwhile, stays. */
  acknowledge({ key, version }: Mutation, sinceMs: number): void {
    const item = this.items.get(key);
    if (item?.mutation.version !== version) return;
    const { again: _, ...rest } = item;
    this.insert({ ...rest, mutation: withoutBytes(item.mutation), state: 'acknowledged', sinceMs });
  }

  /**
   * Wants it sent again: `bytes` for a set, which are not kept once Redis has them. False where half of the bound is
   * taken: the rest is for what Redis has not had yet.
   */
  reopen(key: string, version: string, bytes: Uint8Array | undefined, sinceMs: number): boolean {
    const item = this.items.get(key);
    if (item?.mutation.version !== version || item.state === 'pending') return true;
    if (this.bytes + (bytes?.length ?? 0) > this.options.maxBytes / 2) return false;
    this.insert({ ...item, mutation: { ...item.mutation, bytes }, state: 'pending', sinceMs, again: true });
    return true;
  }

  /** Removes this version of the key and no other. */
  remove({ key, version }: Pick<Mutation, 'key' | 'version'>): void {
    if (this.items.get(key)?.mutation.version === version) this.take(key);
  }

  /** Its value is given up: what remains is a tombstone of the same version. */
  shrink({ key, version }: Pick<Mutation, 'key' | 'version'>): void {
    const item = this.items.get(key);
    if (item?.mutation.version !== version) return;
    this.insert({ ...item, mutation: tombstoneOf(item.mutation), refusals: 0 });
  }

  refused({ key, version }: Mutation): number {
    const item = this.items.get(key);
    if (item?.mutation.version !== version) return 0;
    const refusals = item.refusals + 1;
    this.insert({ ...item, refusals });
    return refusals;
  }

  /** Replaces a version that was made by a clock which had not been aligned. */
  restamp(former: Mutation, mutation: Mutation): void {
    const item = this.items.get(former.key);
    if (item?.mutation.version !== former.version) return;
    this.insert({ ...item, mutation });
  }

  /** While a caller sends it himself, a drain leaves it alone. */
  hold({ key, version }: Mutation, held: boolean): void {
    const item = this.items.get(key);
    if (item?.mutation.version === version) item.held = held;
  }

  /** The next to be sent: deletes before sets, the oldest first. At least one, if there is any. */
  batch(maxBytes: number, maxEntries: number): Mutation[] {
    const batch: Mutation[] = [];
    let bytes = 0;
    for (const queue of [this.queues.pendingDeletes, this.queues.pendingSets]) {
      for (const { mutation, size, held } of queue.values()) {
        if (held) continue;
        bytes += size;
        if (batch.length > 0 && (bytes > maxBytes || batch.length === maxEntries)) return batch;
        batch.push(mutation);
      }
    }
    return batch;
  }

  /** Drops all that is at or below a clear, which says the same of them; their keys. */
  clearUpTo(version: string): string[] {
    const dropped = [...this.items.values()].filter(({ mutation }) => mutation.version <= version);
    for (const { mutation } of dropped) this.take(mutation.key);
    return dropped.map(({ mutation }) => mutation.key);
  }

  /**
   * Forgets sets that Redis has had since `setsBeforeMs`, what was seen before `seenBeforeMs`, and everything that is
   * older than `deletesBefore`.
   */
  expire(setsBeforeMs: number, seenBeforeMs: number, deletesBefore: string): string[] {
    const { knownSets, knownDeletes, seen } = this.queues;
    const expired: string[] = [];
    const old = (queue: ReadonlyMap<string, Item>, beforeMs: number): void => {
      for (const [key, { sinceMs }] of queue) {
        if (sinceMs >= beforeMs) break;
        expired.push(key);
      }
    };
    old(knownSets, setsBeforeMs);
    old(seen, seenBeforeMs);
    // In the order of arrival, which is nearly that of the versions: what is passed over is met the next time.
    for (const [key, { mutation }] of knownDeletes) {
      if (mutation.version >= deletesBefore) break;
      expired.push(key);
    }
    for (const key of expired) this.take(key);
    return expired;
  }

  counts(): OutboxCounts {
    const { pendingDeletes, pendingSets, knownDeletes, knownSets, seen } = this.queues;
    const oldest = [pendingDeletes, pendingSets]
      .map((queue) => queue.values().next().value?.sinceMs)
      .filter((sinceMs) => sinceMs !== undefined);
    return {
      pending: this.pendingCount,
      acknowledged: knownDeletes.size + knownSets.size + seen.size,
      bytes: this.bytes,
      maxBytes: this.options.maxBytes,
      oldestPendingMs: oldest.length === 0 ? undefined : Math.min(...oldest),
    };
  }

  private insert(item: OutboxItem): void {
    const { mutation, state } = item;
    const former = this.take(mutation.key);
    const held = former?.mutation.version === mutation.version && former.held;
    const size = (mutation.bytes?.length ?? 0) + 2 * mutation.key.length + OVERHEAD_BYTES;
    const isSet = mutation.expiresAt > 0;
    const queue: Queue = state === 'seen' ? 'seen' : QUEUES[state][isSet ? 'sets' : 'deletes'];
    const placed: Item = { ...item, queue, size, held };
    this.items.set(mutation.key, placed);
    this.queues[queue].set(mutation.key, placed);
    this.bytes += size;
  }

  private take(key: string): Item | undefined {
    const item = this.items.get(key);
    if (item === undefined) return undefined;
    this.items.delete(key);
    this.queues[item.queue].delete(key);
    this.bytes -= item.size;
    return item;
  }

  private get overflows(): boolean {
    return this.bytes > this.options.maxBytes || this.items.size > this.options.maxEntries;
  }

  private forgetWhatRedisHas(): string[] {
    const forgotten: string[] = [];
    for (const queue of [this.queues.seen, this.queues.knownSets, this.queues.knownDeletes]) {
      for (const [key, { mutation }] of queue) {
        if (!this.overflows) return forgotten;
        this.take(key);
        if (mutation.version > this.forgottenVersion) this.forgottenVersion = mutation.version;
        forgotten.push(key);
      }
    }
    return forgotten;
  }

  private shrinkOldest(): Mutation[] {
    const shrunk: Mutation[] = [];
    for (const { mutation, again } of this.queues.pendingSets.values()) {
      if (this.bytes <= this.options.maxBytes) break;
      if (again === true) {
        this.take(mutation.key);
        continue;
      }
      shrunk.push(mutation);
      this.shrink(mutation);
    }
    return shrunk;
  }

  /** Of the oldest quarter: what a clear has to reach, to make room by that much. */
  private greatestOfOldest(): string {
    const oldest = [...this.items.values()]
      .sort((a, b) => a.sinceMs - b.sinceMs)
      .slice(0, Math.ceil(this.items.size / 4));
    return oldest.reduce(
      (greatest, { mutation: { version } }) => (version > greatest ? version : greatest),
      '',
    );
  }
}

const withoutBytes = (mutation: Mutation): Mutation => ({ ...mutation, bytes: undefined });

export const tombstoneOf = ({ key, version }: Pick<Mutation, 'key' | 'version'>): Mutation => ({
  key,
  version,
  bytes: undefined,
  expiresAt: 0,
});

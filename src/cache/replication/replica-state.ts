import { CacheError, StorageUnavailableError } from '../cache.errors.js';
import type { CacheEntry } from '../storage/cache-entry.js';
import type { HybridLogicalClock } from './clock.js';
import { isAligned } from './clock.js';
import { Coherence } from './coherence.js';
import type { Journal } from './journal.js';
import type { LocalStore } from './local-copy.js';
import { LocalCopy } from './local-copy.js';
import type { Marks } from './marks.js';
import type { Mutation } from './mutation.js';
import type { Overflow, OutboxItem } from './outbox.js';
import type { Outbox } from './outbox.js';
import type { Acquaintance } from './persistence.js';
import { Persistence } from './persistence.js';

export interface EntryCodec {
  /** @throws ValueNotSerializableError, EntryTooLargeError */
  encode(key: string, entry: CacheEntry): Uint8Array;
  /** Undefined for bytes that can't be read; counted there. */
  decode(key: string, bytes: Uint8Array): CacheEntry | undefined;
  /** Whether bytes that give no entry are damaged; else another build, or one with another key, can read them. */
  isDamaged(key: string, bytes: Uint8Array): boolean;
}

/** What this instance knows of a key: the newest version, and its value if there is one. */
export interface Known {
  readonly version: string;
  readonly entry: CacheEntry | undefined;
  /** Redis has not acknowledged it. */
  readonly pending: boolean;
}

/** One for each change of state. */
export type ReplicaEvent =
  | { readonly type: 'merge_begun'; readonly pending: number; readonly dataLost: boolean }
  | { readonly type: 'merge_progress'; readonly pending: number; readonly merged: number }
  | { readonly type: 'merge_done'; readonly merged: number; readonly superseded: number; readonly ms: number }
  | { readonly type: 'data_lost' }
  | { readonly type: 'offer_done'; readonly offered: number }
  /** The first time since everything had been sent; `dropped`: values so far. */
  | { readonly type: 'overflow'; readonly dropped: number; readonly maxBytes: number }
  | { readonly type: 'parked'; readonly bytes: number; readonly reason: string }
  /** The first time since it was online; the connection is sound, and the marks can't be merged. */
  | { readonly type: 'merge_failed'; readonly reason: string }
  | { readonly type: 'clock_corrected'; readonly byMs: number };

/** Since the start. */
export interface ReplicaCounts {
  /** Mutations that Redis took after an outage. */
  merged: number;
  /** Writes that gave way to a newer version. */
  superseded: number;
  /** Values that expired before they could be sent; sent as tombstones. */
  expired: number;
  /** Values that were given up because the outbox was full; sent as tombstones. */
  dropped: number;
  /** Values that Redis refused again and again; sent as tombstones. */
  parked: number;
  /** Times that tombstones had to be folded into a clear of the namespace. */
  folded: number;
  /** Results of factories that were not stored, because a delete, clear or newer value came during the run. */
  resurrectionsPrevented: number;
  /** Newer versions that were offered to a Redis that had lost them. */
  offered: number;
  /** Values that Redis was relieved of, because they were cleared or invalidated. */
  reclaimed: number;
  /** Corrections of the clock by more than its error. */
  clockCorrections: number;
  /** Writes that Redis answered with an error. */
  refused: number;
  /** Calls that Redis could not serve, kept from the caller. */
  remoteFaults: number;
  /** Faults of the local storage and the journal that were kept from the caller. */
  localFaults: number;
}

/** Some 100 bytes each. */
const MAX_CHECKED_KEYS = 200_000;

/** What the parts of a replica share. */
export class ReplicaState {
  readonly local: LocalCopy;
  readonly coherence = new Coherence(MAX_CHECKED_KEYS);
  readonly persistence: Persistence;
  readonly counts: ReplicaCounts = {
    merged: 0,
    superseded: 0,
    expired: 0,
    dropped: 0,
    parked: 0,
    folded: 0,
    resurrectionsPrevented: 0,
    offered: 0,
    reclaimed: 0,
    clockCorrections: 0,
    refused: 0,
    remoteFaults: 0,
    localFaults: 0,
  };

  /** Since the outbox was last empty. */
  overflowing = false;

  constructor(
    readonly clock: HybridLogicalClock,
    readonly marks: Marks,
    readonly outbox: Outbox,
    readonly codec: EntryCodec,
    store: LocalStore,
    journal: Journal | undefined,
    readonly onEvent: (event: ReplicaEvent) => void = () => {},
  ) {
    this.local = new LocalCopy(
      store,
      (version) => !clock.isPossible(version),
      (key, version) => (outbox.get(key)?.mutation.version ?? '') > version,
    );
    this.persistence = new Persistence(journal, outbox);
  }

  /** What the journal has; returns which Redis it was last connected to. */
  async open(): Promise<Acquaintance | undefined> {
    const { items, marks, version, acquaintance } = await this.persistence.load();
    for (const item of items) this.outbox.restore(item);
    await Promise.all(items.map(({ mutation }) => this.dropFormerStamp(mutation)));
    this.marks.merge(marks);
    this.settleOverflow(this.outbox.keepWithin());
    const versions = [version, ...marks.values(), ...items.map(({ mutation }) => mutation.version)];
    for (const known of versions) if (known !== '') this.clock.resumeAbove(known);
    return acquaintance;
  }

  /** The process before died when its journal had a better stamp of the value already, and its storage had not. */
  private async dropFormerStamp({ key, version, expiresAt }: Mutation): Promise<void> {
    if (expiresAt === 0 || !isAligned(version)) return;
    const entry = await this.local.get(key);
    if (entry === undefined || isAligned(entry.version)) return;
    await this.storeLocally(key, entry.version, () => undefined);
  }

  async known(key: string): Promise<Known | undefined> {
    const entry = await this.local.get(key);
    return this.newest(key, this.outbox.get(key), entry);
  }

  /** What of it can be said at once. */
  peek(key: string): Known | undefined {
    return this.newest(key, this.outbox.get(key), this.local.peek(key));
  }

  /** The entry, if it may be served. */
  visible(entry: CacheEntry | undefined): CacheEntry | undefined {
    if (entry === undefined || entry.expiresAt <= this.clock.time() || this.marks.hides(entry))
      return undefined;
    return entry;
  }

  /**
   * Takes note of what somebody else wrote: nothing older comes back here, not from the local storage, the outbox or a
   * factory. `gone`: there is no value any more, which Redis may forget; so it is for us to remember. `beaten`: the write
   * of ours that gave way to it; it may have been our own next one, whose value stays.
   */
  async learn(
    key: string,
    version: string,
    value: Uint8Array | 'gone' | 'unknown',
    beaten = version,
  ): Promise<void> {
    const bytes = typeof value === 'string' ? undefined : value;
    this.clock.observe(version);
    const former = this.outbox.get(key);
    // What is there needs no note beside it, unless something older waits here.
    if (bytes === undefined || former !== undefined) {
      const state = value === 'gone' ? 'acknowledged' : 'seen';
      const overflow = this.outbox.see(key, version, state, this.clock.machineTime());
      if (overflow !== undefined) {
        this.settleOverflow(overflow);
        if (former?.state === 'pending') this.counts.superseded += 1;
        this.save([key]);
      }
    }
    if (beaten < version && (await this.local.get(key))?.version === version) return;
    await this.storeLocally(key, version, this.entryOf(key, bytes));
  }

  /** Made for each who asks anew: nobody shares what another can change. */
  entryOf(key: string, bytes: Uint8Array | undefined): () => CacheEntry | undefined {
    return () => bytes && this.codec.decode(key, bytes);
  }

  /** A local storage that is full or broken costs hits, and is counted; what it should have is in Redis or the outbox. */
  async storeLocally(key: string, version: string, entry: () => CacheEntry | undefined): Promise<void> {
    try {
      await this.local.put(key, version, entry);
    } catch (error) {
      this.swallow(error);
      // What can't be kept replaces what is older all the same.
      await this.local.put(key, version, () => undefined).catch((fault: unknown) => this.swallow(fault));
    }
  }

  /** Brings the journal to where the outbox is, in the background. */
  save(keys: readonly string[]): void {
    this.persistence.saveItems(keys).catch((error: unknown) => this.swallow(error));
  }

  saveMarks(): void {
    this.persistence.saveMarks(this.marks.record()).catch((error: unknown) => this.swallow(error));
  }

  /** What it took to stay within the bounds of the outbox. True if everything up to a version had to be cleared. */
  settleOverflow({ forgotten, shrunk, foldInto }: Overflow): boolean {
    if (forgotten.length > 0) this.save(forgotten);
    this.counts.dropped += shrunk.length;
    if (shrunk.length > 0 || foldInto !== undefined) this.tellOfOverflow();
    for (const { key, version } of shrunk) void this.storeLocally(key, version, () => undefined);
    if (shrunk.length > 0) this.save(shrunk.map(({ key }) => key));
    if (foldInto === undefined) return false;
    this.counts.folded += 1;
    this.clearUpTo(foldInto);
    return true;
  }

  /** The mark first: it stands for what is removed then, also in the journal of a process that dies in between. */
  clearUpTo(version: string): void {
    this.marks.setClear(version);
    this.saveMarks();
    this.save(this.outbox.clearUpTo(version));
  }

  private tellOfOverflow(): void {
    if (this.overflowing) return;
    this.overflowing = true;
    this.onEvent({ type: 'overflow', dropped: this.counts.dropped, maxBytes: this.outbox.counts().maxBytes });
  }

  /** Redis is away: the caller is served from here. Rethrows everything else. */
  noteUnavailable(error: unknown): void {
    if (!(error instanceof StorageUnavailableError)) throw error;
    this.counts.remoteFaults += 1;
  }

  swallow(error: unknown): void {
    if (!(error instanceof CacheError)) throw error;
    this.counts.localFaults += 1;
  }

  private newest(
    key: string,
    item: OutboxItem | undefined,
    stored: CacheEntry | undefined,
  ): Known | undefined {
    const entry = stored !== undefined && this.clock.isPossible(stored.version) ? stored : undefined;
    if (item === undefined) return entry && { version: entry.version, entry, pending: false };
    const { mutation, state } = item;
    const { version, bytes, expiresAt } = mutation;
    const pending = state === 'pending';
    if (entry !== undefined && entry.version > version)
      return { version: entry.version, entry, pending: false };
    // A delete of the same version wins.
    if (entry?.version === version && (expiresAt > 0 || state === 'seen')) return { version, entry, pending };
    return { version, entry: bytes && this.codec.decode(key, bytes), pending };
  }
}

/** By a clock that has been corrected since. */
export function stampedAnew(entry: CacheEntry, version: string, byMs: number): CacheEntry {
  const { createdAt, freshUntil, expiresAt } = entry;
  const times = { createdAt: createdAt + byMs, freshUntil: freshUntil + byMs, expiresAt: expiresAt + byMs };
  return { ...entry, ...times, version };
}

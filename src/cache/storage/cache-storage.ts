import type { InvalidationStats } from '../redis/invalidation.js';
import type { Landing, ReplicaStats } from '../replication/replica.js';
import type { CacheEntry } from './cache-entry.js';

/** Where a value was found; the detail of a hit. */
export type CacheTier = 'memory' | 'disk' | 'redis';

/**
 * Where a write landed: in `redis`; in the `outbox`, accepted, to be merged when Redis is back; or `local` only, where
 * there is no Redis and no other instance will see it. `superseded`: nowhere, because something newer is known.
 */
export type WriteOutcome = Landing;

export interface StoredEntry<T = unknown> {
  readonly entry: CacheEntry<T>;
  readonly tier: CacheTier;
}

export interface StorageStats {
  readonly kind: CacheTier | 'replicated';
  /** Present where it is known without a scan. Counts every namespace that shares the bound. */
  readonly entries?: number;
  readonly bytes?: number;
  readonly maxBytes?: number;
  /** Live entries that were removed to stay within `maxBytes`. */
  readonly evictions: number;
  /** Stored bytes that could not be read back (damaged, foreign, wrong key); each was served as a miss. */
  readonly corrupt: number;
  /** Calls that one part could not serve and another one did. */
  readonly faults?: number;
  /** Whether Redis tells of changes, so that local entries can be served without a look at it. */
  readonly coherence?: InvalidationStats;
  /** Of a storage that stamps what it stores. */
  readonly replication?: ReplicaStats;
  /** The storages that this one is made of. */
  readonly parts?: readonly StorageStats[];
}

/**
 * The contract of every storage, and its injection token. Keys are any strings; values anything that
 * `value-codec.ts` can carry. A storage never returns an expired entry, never the caller's own object, and never
 * throws for bytes that it cannot read: those are a counted miss.
 *
 * All namespaces of one storage share its bounds and connection, and never see each other's keys.
 */
export interface CacheStorage {
  /** What can be answered at once, without the network; undefined otherwise. */
  peek(key: string): StoredEntry | undefined;
  get(key: string): Promise<StoredEntry | undefined>;
  /** In the order of `keys`; one round trip. */
  getMany(keys: readonly string[]): Promise<(StoredEntry | undefined)[]>;
  /** @throws ValueNotSerializableError, EntryTooLargeError, StorageUnavailableError */
  set(key: string, entry: CacheEntry): Promise<WriteOutcome>;
  /** True if a live entry was removed. */
  delete(key: string): Promise<boolean>;
  /** Removes every entry of this namespace, and nothing else. */
  clear(): Promise<WriteOutcome>;
  /** Live keys, in no order, each once; O(n) and no snapshot: concurrent writes may or may not be seen. */
  keys(prefix?: string): AsyncIterable<string>;
  /** Number of live keys of this namespace; O(n). */
  size(): Promise<number>;
  stats(): StorageStats;
  /** The same storage, restricted to another namespace. Closing either closes both. */
  namespace(name: string): CacheStorage;
  /** Flushes and frees; idempotent. Every later call throws StorageClosedError. */
  close(): Promise<void>;
}

/** Injection token of the storage that the configuration chose. */
export const CacheStorage: unique symbol = Symbol('CacheStorage');

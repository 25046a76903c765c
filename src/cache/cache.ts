import { CacheError } from './cache.errors.js';
import { checkTags, checkTtlMs } from './cache.options.js';
import type { CallBudget } from './replication/call-budget.js';
import type { EntryDraft, Written } from './replication/replica.js';
import { SingleFlight } from './single-flight.js';
import type { CacheEntry } from './storage/cache-entry.js';
import type {
  CacheStorage,
  CacheTier,
  StorageStats,
  StoredEntry,
  WriteOutcome,
} from './storage/cache-storage.js';
import { ReplicatedCacheStorage } from './storage/replicated.storage.js';

export interface CacheOptions {
  /** Any storage; one that does not stamp what it stores belongs to this cache alone. */
  readonly storage: CacheStorage;
  /** How long a value is fresh unless the write says otherwise, in milliseconds. Default one hour. */
  readonly ttlMs?: number;
  /** Epoch milliseconds, for a storage that does not stamp. Default `Date.now`. */
  readonly now?: () => number;
  /** Called for a storage fault that a caller did not get to see. Default: counted only. */
  readonly onFault?: (fault: CacheError) => void;
}

export interface SetOptions {
  /** How long the value is fresh, in milliseconds. 0: gone at once, the key is a miss from now on. */
  readonly ttlMs?: number;
  /** Names by which the entry can be found again. */
  readonly tags?: readonly string[];
}

export interface GetOrSetOptions<T = unknown> extends Omit<SetOptions, 'tags'> {
  /** Names by which the entry can be found again, or how to tell them from the value. */
  readonly tags?: readonly string[] | ((value: T) => readonly string[]);
  /** Gives up this caller only; the computation goes on for the others. */
  readonly signal?: AbortSignal | undefined;
  /**
   * - `default`: read, join a running computation, compute, store.
   * - `refresh`: compute and store, without reading or joining.
   * - `bypass`: compute only.
   * - `cached`: read only; nothing is computed.
   */
  readonly mode?: 'default' | 'refresh' | 'bypass' | 'cached';
  /** Whether a stored entry will do; one that does not is computed anew. Default: any that is fresh. */
  readonly accept?: (entry: CacheEntry) => boolean;
}

/** Computes the value of a key; `signal` is aborted when nobody waits for it any more. */
export type Factory<T> = (context: { readonly signal: AbortSignal }) => Promise<T> | T;

/** How a call of `resolve` came by its value. */
export type Resolution<T> =
  | { readonly kind: 'hit'; readonly entry: CacheEntry<T>; readonly tier: CacheTier }
  | { readonly kind: 'computed'; readonly entry: CacheEntry<T>; readonly write: WriteOutcome | 'none' }
  | { readonly kind: 'collapsed'; readonly entry: CacheEntry<T>; readonly write: WriteOutcome | 'none' };

export interface CacheStats {
  readonly hits: number;
  readonly hitsByTier: Readonly<Record<CacheTier, number>>;
  readonly misses: number;
  /** Hits per read, 0 to 1; 0 while there were none. */
  readonly hitRatio: number;
  /** Factories that ran to an end. */
  readonly computed: number;
  /** Calls that waited for the factory of another. */
  readonly collapsed: number;
  readonly factoryErrors: number;
  readonly sets: number;
  readonly deletes: number;
  /** Calls of `invalidateTags`. */
  readonly invalidations: number;
  /** Storage faults that were kept from the callers. */
  readonly faults: number;
  readonly computing: number;
  readonly storage: StorageStats;
}

const HOUR_MS = 3_600_000;

/**
 * What services inject: any key, any value that can be serialised, one computation at a time for a key. Values come
 * back as they went in and are shared: what can be frozen is frozen.
 */
export class Cache {
  private readonly storage: ReplicatedCacheStorage;
  private readonly ttlMs: number;
  private readonly onFault: (fault: CacheError) => void;
  private readonly flights = new SingleFlight<Resolution<unknown>>();
  private readonly hitsByTier: Record<CacheTier, number> = { memory: 0, disk: 0, redis: 0 };
  private readonly counters = {
    misses: 0,
    computed: 0,
    collapsed: 0,
    factoryErrors: 0,
    sets: 0,
    deletes: 0,
    invalidations: 0,
    faults: 0,
  };

  /** @throws InvalidCacheOptionError */
  constructor({ storage, ttlMs = HOUR_MS, now, onFault = () => {} }: CacheOptions) {
    this.storage = ReplicatedCacheStorage.over(storage, now);
    this.ttlMs = checkTtlMs('ttlMs', ttlMs, this.storage.maxLifeMs);
    this.onFault = onFault;
  }

  /** The value, if it can be had without waiting; never asks the network. */
  peek<T>(key: string): T | undefined {
    const stored = this.storage.peek(key);
    return stored !== undefined && this.isFresh(stored.entry) ? (stored.entry.value as T) : undefined;
  }

  /** The value, or undefined. Use `inspect` where undefined is a value. */
  async get<T>(key: string): Promise<T | undefined> {
    return this.counted(await this.storage.get(key))?.entry.value as T | undefined;
  }

  /** In the order of `keys`, in one round trip. */
  async getMany<T>(keys: readonly string[]): Promise<(T | undefined)[]> {
    const found = await this.storage.getMany(keys);
    return found.map((stored) => this.counted(stored)?.entry.value as T | undefined);
  }

  /** What is stored under `keys`, with age, expiry and tier; a look that no statistics count. */
  async inspect<T>(keys: readonly string[]): Promise<(StoredEntry<T> | undefined)[]> {
    const found = (await this.storage.getMany(keys)) as (StoredEntry<T> | undefined)[];
    return found.map((stored) => (stored !== undefined && this.isFresh(stored.entry) ? stored : undefined));
  }

  /**
   * Stores a value and says where it landed: in `redis`; in the `outbox` while Redis is away, to be merged when it is
   * back; `local` where none is configured; `superseded` if others wrote something newer meanwhile, again and again.
   * @throws InvalidCacheOptionError, ValueNotSerializableError, EntryTooLargeError, StorageClosedError
   */
  async set(key: string, value: unknown, options: SetOptions = {}): Promise<WriteOutcome> {
    const draft = this.draftOf(value, options);
    this.flights.close(key);
    const outcome = await this.storage.write(key, draft);
    this.counters.sets += 1;
    return outcome;
  }

  /** The stored value, or the factory's, which is then stored. One factory at a time runs for a key. */
  async getOrSet<T>(key: string, factory: Factory<T>, options: GetOrSetOptions<T> = {}): Promise<T> {
    const resolution = await this.resolve(key, factory, options);
    return resolution.entry.value;
  }

  async resolve<T>(
    key: string,
    factory: Factory<T>,
    options: GetOrSetOptions<T> & { mode: 'cached' },
  ): Promise<Resolution<T> | undefined>;
  async resolve<T>(key: string, factory: Factory<T>, options?: GetOrSetOptions<T>): Promise<Resolution<T>>;
  /**
   * `getOrSet`, with how the value was come by.
   * @throws what the factory throws, to every caller that waited for it, and the reason of the caller's `signal`.
   */
  async resolve<T>(
    key: string,
    factory: Factory<T>,
    options: GetOrSetOptions<T> = {},
  ): Promise<Resolution<T> | undefined> {
    options.signal?.throwIfAborted();
    if (options.ttlMs !== undefined) checkTtlMs('ttlMs', options.ttlMs, this.storage.maxLifeMs);
    if (typeof options.tags !== 'function') checkTags(options.tags ?? []);
    const { mode = 'default', signal } = options;
    if (mode === 'cached') return this.read<T>(key, options);
    if (mode !== 'default') {
      const alone = new SingleFlight<Resolution<T>>();
      return alone.begin(key, (inner) => this.compute(key, factory, options, inner), signal);
    }
    for (;;) {
      const running = this.flights.join(key, signal);
      if (running === undefined) {
        return this.flights.begin(
          key,
          (inner) => this.readOrCompute(key, factory, options, inner),
          signal,
        ) as Promise<Resolution<T>>;
      }
      const shared = (await running) as Resolution<T>;
      // The flight may have landed on an entry that is good enough for its caller and not for this one.
      if (shared.kind === 'hit' && options.accept?.(shared.entry) === false) continue;
      this.countShared(shared);
      return shared.kind === 'computed' ? { ...shared, kind: 'collapsed' } : shared;
    }
  }

  /**
   * Removes a value, and says where that landed and whether there was one. No older write brings it back, not that of
   * a factory that is running now either.
   */
  async delete(key: string): Promise<Written> {
    this.flights.close(key);
    const written = await this.storage.remove(key);
    if (written.existed) this.counters.deletes += 1;
    return written;
  }

  /**
   * Makes every entry that carries one of these tags a miss, also what is being computed now; the same in a moment,
   * however many there are.
   * @throws InvalidCacheOptionError
   */
  async invalidateTags(tags: readonly string[]): Promise<WriteOutcome> {
    checkTags(tags);
    // What they will carry nobody knows yet.
    this.flights.close();
    const outcome = await this.storage.invalidateTags(tags);
    this.counters.invalidations += 1;
    return outcome;
  }

  /** Removes every entry of this cache's namespace and nothing else. */
  clear(): Promise<WriteOutcome> {
    this.flights.close();
    return this.storage.clear();
  }

  /** Live keys, in no order; O(n) and no snapshot. */
  keys(prefix?: string): AsyncIterable<string> {
    return this.storage.keys(prefix);
  }

  /** Number of live keys; O(n). */
  size(): Promise<number> {
    return this.storage.size();
  }

  stats(): CacheStats {
    const hits = this.hitsByTier.memory + this.hitsByTier.disk + this.hitsByTier.redis;
    const reads = hits + this.counters.misses;
    return {
      hits,
      hitsByTier: { ...this.hitsByTier },
      hitRatio: reads === 0 ? 0 : hits / reads,
      ...this.counters,
      computing: this.flights.size,
      storage: this.storage.stats(),
    };
  }

  private async readOrCompute<T>(
    key: string,
    factory: Factory<T>,
    options: GetOrSetOptions<T>,
    signal: AbortSignal,
  ): Promise<Resolution<T>> {
    const budget = this.storage.budget();
    return (await this.read<T>(key, options, budget)) ?? this.compute(key, factory, options, signal, budget);
  }

  private async read<T>(
    key: string,
    { accept }: Pick<GetOrSetOptions, 'accept'>,
    budget?: CallBudget,
  ): Promise<Resolution<T> | undefined> {
    const stored = this.counted(await this.storage.get(key, budget), accept) as StoredEntry<T> | undefined;
    return stored === undefined ? undefined : { kind: 'hit', ...stored };
  }

  private async compute<T>(
    key: string,
    factory: Factory<T>,
    options: GetOrSetOptions<T>,
    signal: AbortSignal,
    budget = this.storage.budget(),
  ): Promise<Resolution<T>> {
    const version = options.mode === 'bypass' ? undefined : await this.storage.begin(key, budget);
    let value: T;
    try {
      value = await factory({ signal });
    } catch (error) {
      this.counters.factoryErrors += 1;
      throw error;
    }
    this.counters.computed += 1;
    const { ttlMs = this.ttlMs, tags = [] } = options;
    const draft = this.draftOf(value, { ttlMs, tags: typeof tags === 'function' ? tags(value) : tags });
    const write = version === undefined ? 'none' : await this.store(key, draft, version, budget);
    return { kind: 'computed', entry: this.entryOf(value, draft, version), write };
  }

  /** A value that was computed is the caller's, whether or not it could be stored. */
  private async store(
    key: string,
    draft: EntryDraft,
    version: string,
    budget: CallBudget,
  ): Promise<WriteOutcome | 'none'> {
    try {
      const outcome = await this.storage.complete(key, draft, version, budget);
      this.counters.sets += 1;
      return outcome;
    } catch (error) {
      if (!(error instanceof CacheError)) throw error;
      this.counters.faults += 1;
      this.onFault(error);
      return 'none';
    }
  }

  private draftOf(value: unknown, { ttlMs = this.ttlMs, tags = [] }: SetOptions): EntryDraft {
    const freshMs = checkTtlMs('ttlMs', ttlMs, this.storage.maxLifeMs);
    return { value, tags: checkTags(tags), freshMs, lifeMs: freshMs };
  }

  /** What the caller gets to see of what he computed. */
  private entryOf<T>(value: T, { tags, freshMs, lifeMs }: EntryDraft, version = ''): CacheEntry<T> {
    const createdAt = this.storage.time();
    return {
      value,
      version,
      createdAt,
      freshUntil: createdAt + freshMs,
      expiresAt: createdAt + lifeMs,
      tags,
    };
  }

  private counted(
    stored: StoredEntry | undefined,
    accept: (entry: CacheEntry) => boolean = () => true,
  ): StoredEntry | undefined {
    if (stored === undefined || !this.isFresh(stored.entry) || !accept(stored.entry)) {
      this.counters.misses += 1;
      return undefined;
    }
    this.hitsByTier[stored.tier] += 1;
    return stored;
  }

  private countShared(resolution: Resolution<unknown>): void {
    if (resolution.kind === 'hit') this.hitsByTier[resolution.tier] += 1;
    else this.counters.collapsed += 1;
  }

  private isFresh(entry: CacheEntry): boolean {
    return entry.freshUntil > this.storage.time();
  }
}

import { randomUUID } from 'node:crypto';
import {
  CacheError,
  FactoryTimeoutError,
  InvalidCacheOptionError,
  TooManyWaitersError,
  ValueNotSerializableError,
} from './cache.errors.js';
import { checkKey, checkTags, checkTtlMs } from './cache.options.js';
import type { PartListener } from './part-log.js';
import type { FollowedParts } from './redis/followed-parts.js';
import type { CallBudget } from './replication/call-budget.js';
import type { Held } from './replication/lease.js';
import type { EntryDraft, Written } from './replication/replica.js';
import type { Timers } from './replication/timers.js';
import type { Flight } from './single-flight.js';
import { SingleFlight } from './single-flight.js';
import type { Freshness, FreshnessOptions, ResultPolicy } from './staleness.js';
import { checkFreshness, draftOf, isDueEarly } from './staleness.js';
import type { CacheEntry } from './storage/cache-entry.js';
import type {
  CacheStorage,
  CacheTier,
  StorageStats,
  StoredEntry,
  WriteOutcome,
} from './storage/cache-storage.js';
import { ReplicatedCacheStorage } from './storage/replicated.storage.js';
import { decodeValue, isolate, ValueTooLarge } from './storage/value-codec.js';

export interface CacheOptions {
  /** Any storage; one that does not stamp what it stores belongs to this cache alone. */
  readonly storage: CacheStorage;
  /** How long a value is fresh unless the write says otherwise, in milliseconds. Default one hour. */
  readonly ttlMs?: number;
  /** How long after that it may be served while it is computed anew, or when that fails. Default 0: not at all. */
  readonly staleMs?: number;
  /**
   * How many callers may wait for computations, and how many computations may run. Who comes then gets what is stale, if
   * he would have it after an error, or a `TooManyWaitersError`. Default 10 000.
   */
  readonly maxWaiters?: number;
  /** Epoch milliseconds, for a storage that does not stamp. Default `Date.now`. */
  readonly now?: () => number;
  /** Default: those of Node. */
  readonly timers?: Timers;
  /** 0 to 1. Default `Math.random`. */
  readonly random?: () => number;
  /** Called for a storage fault that a caller did not get to see. Default: counted only. */
  readonly onFault?: (fault: CacheError) => void;
}

export interface SetOptions extends FreshnessOptions {
  /** Names by which the entry can be found again. */
  readonly tags?: readonly string[];
}

/** What an entry that was found would be used for. */
export type EntryUse = 'fresh' | 'stale-while-revalidate' | 'stale-if-error';

export interface GetOrSetOptions<T = unknown> extends FreshnessOptions {
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
  /** Whether a stored entry will do for that use. Default: it does; in mode `cached` only if it is fresh. */
  readonly accept?: (entry: CacheEntry, use: EntryUse) => boolean;
  /** How long a caller waits for the computation before it gets a stale value, if there is one. Default 0. */
  readonly softTimeoutMs?: number;
  /** How long a caller waits where there is none. Default: as long as it takes. The computation goes on. */
  readonly hardTimeoutMs?: number;
  /**
   * How eagerly a value that is still fresh is computed anew, in the background: weighted by what its computation took.
   * 0: never. Default 1.
   */
  readonly eagerness?: number;
  /**
   * Called with each part of the running computation, from its first one on, in order; `run` (0, 1, …) rises when a
   * computation begins anew (whoever ran it has died, or Redis has), and its parts begin anew too. Not called after the
   * call has settled: what had not got through by then is in the value. One that throws is not called again.
   */
  readonly onPart?: PartListener;
  /** What becomes of a computation when all who waited have left, on whatever instance. Default `abort`. */
  readonly whenAbandoned?: 'abort' | 'finish';
}

export interface FactoryContext {
  /** Aborted when nobody waits for the value any more. */
  readonly signal: AbortSignal;
  /** What is stored already and not fresh any more. */
  readonly stale: CacheEntry | undefined;
  /** Overrides what the caller said: the life, the tags, and whether the value is stored at all. */
  readonly decide: (policy: ResultPolicy) => void;
  /** Tells a part of the value to all who wait for it, on whatever instance. */
  readonly emit: (part: string) => void;
}

/** Computes the value of a key. */
export type Factory<T> = (context: FactoryContext) => Promise<T> | T;

/** Computes the values of some keys, in their order. */
export type ManyFactory<T> = (keys: readonly string[]) => Promise<readonly T[]> | readonly T[];

/** How a call of `resolve` came by its value. */
export type Resolution<T> =
  | {
      readonly kind: 'hit';
      readonly entry: CacheEntry<T>;
      readonly tier: CacheTier;
      /** Absent: it is fresh. */
      readonly stale?: Exclude<EntryUse, 'fresh'>;
    }
  | { readonly kind: 'computed'; readonly entry: CacheEntry<T>; readonly write: WriteOutcome | 'none' }
  | { readonly kind: 'collapsed'; readonly entry: CacheEntry<T>; readonly write: WriteOutcome | 'none' };

type Hit<T> = Extract<Resolution<T>, { kind: 'hit' }>;
/** `isOfAnother`: another instance has computed it. */
type Computed<T> = Extract<Resolution<T>, { kind: 'computed' }> & { readonly isOfAnother?: boolean };

/** What a look at the storage came to: an entry that will do or has to, or a computation that runs now. */
type Landing =
  | { readonly hit: StoredEntry }
  /** There is no room for a computation. */
  | { readonly stale: StoredEntry }
  | { readonly computation: Flight<Computed<unknown>>; readonly renewed: StoredEntry | undefined };

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
  /** Hits that were not fresh any more: while the value was computed anew, and because that failed. */
  readonly staleWhileRevalidating: number;
  readonly staleIfError: number;
  /** Fresh values that were computed anew before their end. */
  readonly earlyRefreshes: number;
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

const MAX_WAITERS = 10_000;
const HOUR_MS = 3_600_000;

const NODE_TIMERS: Timers = {
  set: (ms, run) => setTimeout(run, ms),
  clear: (timer) => clearTimeout(timer as NodeJS.Timeout),
};

/**
 * What services inject: any key, any value that can be serialised, one computation at a time for a key. Values come
 * back as they went in and are shared: what can be frozen is frozen.
 */
export class Cache {
  private readonly storage: ReplicatedCacheStorage;
  private readonly freshness: Freshness;
  private readonly timers: Timers;
  private readonly random: () => number;
  private readonly onFault: (fault: CacheError) => void;
  /** Looks at the storage, and computations. While either runs, nobody begins another. */
  private readonly reads = new SingleFlight<Landing>();
  private readonly computations = new SingleFlight<Computed<unknown>>();
  /** Computations of what is stored already. */
  private readonly renewals = new WeakSet<Flight<Computed<unknown>>>();
  private readonly hitsByTier: Record<CacheTier, number> = { memory: 0, disk: 0, redis: 0 };
  private readonly counters = {
    misses: 0,
    computed: 0,
    collapsed: 0,
    staleWhileRevalidating: 0,
    staleIfError: 0,
    earlyRefreshes: 0,
    factoryErrors: 0,
    sets: 0,
    deletes: 0,
    invalidations: 0,
    faults: 0,
  };

  private readonly maxWaiters: number;
  private waiters = 0;

  /** @throws InvalidCacheOptionError */
  constructor(options: CacheOptions) {
    const { storage, ttlMs = HOUR_MS, staleMs = 0, now, random = Math.random } = options;
    const { maxWaiters = MAX_WAITERS } = options;
    if (!(maxWaiters >= 1)) throw new InvalidCacheOptionError('maxWaiters', 'at least 1', maxWaiters);
    this.maxWaiters = maxWaiters;
    this.storage = ReplicatedCacheStorage.over(storage, now);
    this.freshness = { ttlMs, staleMs, maxLifeMs: this.storage.maxLifeMs, random };
    checkFreshness({}, this.freshness);
    this.timers = options.timers ?? NODE_TIMERS;
    this.random = random;
    this.onFault = options.onFault ?? (() => {});
  }

  /** In milliseconds; nothing is kept longer, whatever its write says. */
  get maxLifeMs(): number {
    return this.storage.maxLifeMs;
  }

  /** The value, if it can be had without waiting; never asks the network. */
  peek<T>(key: string): T | undefined {
    const stored = this.storage.peek(checkKey(key));
    return stored !== undefined && this.isFresh(stored.entry) ? (stored.entry.value as T) : undefined;
  }

  /** The value, or undefined. Use `inspect` where undefined is a value. */
  async get<T>(key: string): Promise<T | undefined> {
    return this.counted(await this.storage.get(checkKey(key)))?.entry.value as T | undefined;
  }

  /** In the order of `keys`, in one round trip. */
  async getMany<T>(keys: readonly string[]): Promise<(T | undefined)[]> {
    const found = await this.storage.getMany(keys.map(checkKey));
    return found.map((stored) => this.counted(stored)?.entry.value as T | undefined);
  }

  /** What is stored under `keys`, with age, expiry and tier; a look that no statistics count. */
  async inspect<T>(keys: readonly string[]): Promise<(StoredEntry<T> | undefined)[]> {
    const found = (await this.storage.getMany(keys.map(checkKey))) as (StoredEntry<T> | undefined)[];
    return found.map((stored) => (stored !== undefined && this.isFresh(stored.entry) ? stored : undefined));
  }

  /**
   * Stores a value and says where it landed: in `redis`; in the `outbox` while Redis is away, to be merged when it is
   * back; `local` where none is configured; `superseded` if others wrote something newer meanwhile, again and again.
   * @throws InvalidCacheOptionError, ValueNotSerializableError, EntryTooLargeError, StorageClosedError
   */
  async set(key: string, value: unknown, options: SetOptions = {}): Promise<WriteOutcome> {
    checkKey(key);
    const draft = draftOf(value, options, this.freshness);
    this.closeFlights(key);
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
    checkKey(key);
    this.check(options);
    const { mode = 'default', signal } = options;
    signal?.throwIfAborted();
    if (mode === 'cached') return this.readOnly<T>(key, options);
    const budget = this.storage.budget();
    if (mode !== 'default') {
      const alone = new SingleFlight<Computed<T>>();
      return this.waiting(key, () => {
        const computation = alone.start(key, (flight) => this.compute(key, factory, options, flight));
        if (options.whenAbandoned === 'finish') computation.keep();
        return this.following(computation, options, () => computation.wait(signal));
      });
    }
    for (;;) {
      const running = this.computations.find(key) as Flight<Computed<T>> | undefined;
      if (running !== undefined) return this.share(key, running, options, budget);
      const reading = this.reads.find(key);
      const landing = await (
        reading ?? this.reads.start(key, (flight) => this.look(key, factory, options, flight, budget))
      ).wait(signal);
      if ('computation' in landing) {
        const computation = landing.computation as Flight<Computed<T>>;
        if (reading !== undefined) return this.share(key, computation, options, budget);
        return this.settle(key, computation, options, 'computed', landing.renewed);
      }
      if ('stale' in landing) {
        // Another caller may take what this one would not.
        if (!this.isAccepted(landing.stale.entry, 'stale-if-error', options)) throw this.tooMany(key);
        return this.hitOf<T>(landing.stale, reading !== undefined, 'stale-if-error');
      }
      // Another caller's look may have found what is good enough for him and not for this one.
      if (!this.isAccepted(landing.hit.entry, 'fresh', options)) continue;
      return this.hitOf<T>(landing.hit, reading !== undefined);
    }
  }

  /**
   * `getOrSet` of many keys: one look at the storage, and one run of the factory, for the keys that nobody has and
   * nobody computes. In the order of `keys`.
   * @throws as `getOrSet`, and InvalidCacheOptionError if the factory gives fewer or more values than it was asked for
   */
  async getOrSetMany<T>(
    keys: readonly string[],
    factory: ManyFactory<T>,
    options: Pick<GetOrSetOptions<T>, keyof FreshnessOptions | 'tags'> = {},
  ): Promise<T[]> {
    this.check(options);
    const distinct = [...new Set(keys.map(checkKey))];
    const idle = distinct.filter((key) => !this.computations.find(key) && !this.reads.find(key));
    const looked = Promise.withResolvers<ReadonlyMap<string, StoredEntry | undefined>>();
    looked.promise.catch(() => {});
    const batch = new Batch(factory);
    const landings = new Map(
      idle.map((key) => [
        key,
        this.reads.start(key, async () =>
          this.land(key, (await looked.promise).get(key), () => batch.valueOf(key), options),
        ),
      ]),
    );
    const values = distinct.map(async (key): Promise<readonly [string, T]> => {
      const reading = landings.get(key);
      if (reading === undefined) return [key, await this.getOrSet(key, () => batch.valueOf(key), options)];
      const landing = await reading.wait();
      if ('hit' in landing) return [key, this.hit<T>(landing.hit).entry.value];
      if ('stale' in landing) return [key, this.hitOf<T>(landing.stale, false, 'stale-if-error').entry.value];
      const computation = landing.computation as Flight<Computed<T>>;
      return [key, (await this.settle(key, computation, options, 'computed', landing.renewed)).entry.value];
    });
    try {
      const found = await this.storage.getMany(idle);
      looked.resolve(new Map(idle.map((key, index) => [key, found[index]])));
    } catch (error) {
      looked.reject(error);
    }
    const all = new Map(await Promise.all(values));
    return keys.map((key) => all.get(key) as T);
  }

  /**
   * Removes a value, and says where that landed and whether there was one. No older write brings it back, not that of
   * a factory that is running now either.
   */
  async delete(key: string): Promise<Written> {
    checkKey(key);
    this.closeFlights(key);
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
    this.closeFlights();
    const outcome = await this.storage.invalidateTags(tags);
    this.counters.invalidations += 1;
    return outcome;
  }

  /** Removes every entry of this cache's namespace and nothing else. */
  clear(): Promise<WriteOutcome> {
    this.closeFlights();
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
      computing: this.computations.size,
      storage: this.storage.stats(),
    };
  }

  private check(options: GetOrSetOptions<never>): void {
    checkFreshness(options, this.freshness);
    const { tags = [], softTimeoutMs = 0, hardTimeoutMs = 0, eagerness = 1 } = options;
    if (typeof tags !== 'function') checkTags(tags);
    checkTtlMs('softTimeoutMs', softTimeoutMs);
    checkTtlMs('hardTimeoutMs', hardTimeoutMs);
    if (!(eagerness >= 0 && eagerness <= 100)) {
      throw new InvalidCacheOptionError('eagerness', 'from 0 to 100', eagerness);
    }
  }

  private async readOnly<T>(key: string, options: GetOrSetOptions<T>): Promise<Hit<T> | undefined> {
    const stored = await this.storage.get(key);
    if (stored !== undefined) {
      if (this.isFresh(stored.entry)) {
        if (this.isAccepted(stored.entry, 'fresh', options)) return this.hit<T>(stored);
      } else if (options.accept?.(stored.entry, 'stale-while-revalidate') === true) {
        return this.hit<T>(stored, 'stale-while-revalidate');
      }
    }
    this.counters.misses += 1;
    return undefined;
  }

  /** One look at the storage for all who ask now. */
  private async look<T>(
    key: string,
    factory: Factory<T>,
    options: GetOrSetOptions<T>,
    { signal }: Flight<Landing>,
    budget: CallBudget,
  ): Promise<Landing> {
    const stored = await this.storage.get(key, budget);
    signal.throwIfAborted();
    return this.land(key, stored, factory, options, budget);
  }

  /** An entry that will do; or begins the computation, in the same moment, so that nobody slips in between. */
  private land<T>(
    key: string,
    stored: StoredEntry | undefined,
    factory: Factory<T>,
    options: GetOrSetOptions<T>,
    budget?: CallBudget,
  ): Landing {
    const start = (): Flight<Computed<unknown>> => {
      const computation = this.computations.start(key, (flight) =>
        this.compute(key, factory, options, flight, budget, stored?.entry),
      );
      if (stored !== undefined) this.renewals.add(computation);
      return computation;
    };
    if (
      stored === undefined ||
      !this.isFresh(stored.entry) ||
      !this.isAccepted(stored.entry, 'fresh', options)
    ) {
      if (!this.isFull) return { computation: start(), renewed: stored };
      if (stored !== undefined && this.isAccepted(stored.entry, 'stale-if-error', options))
        return { stale: stored };
      throw this.tooMany(key);
    }
    if (!this.isFull && isDueEarly(stored.entry, this.storage.time(), options.eagerness ?? 1, this.random)) {
      this.counters.earlyRefreshes += 1;
      start().keep();
    }
    return { hit: stored };
  }

  /** The outcome of a computation that another caller has begun. */
  private async share<T>(
    key: string,
    computation: Flight<Computed<T>>,
    options: GetOrSetOptions<T>,
    budget: CallBudget,
  ): Promise<Resolution<T>> {
    const renewed = this.renewals.has(computation) ? await this.storage.get(key, budget) : undefined;
    // It may have been begun early, or for a caller who asks for more than this one.
    const isFresh = renewed !== undefined && this.isFresh(renewed.entry);
    if (isFresh && this.isAccepted(renewed.entry, 'fresh', options)) return this.hit<T>(renewed);
    const resolution = await this.settle(key, computation, options, 'collapsed', renewed);
    if (resolution.kind !== 'collapsed') return resolution;
    return { ...resolution, entry: this.ownCopy(resolution.entry) };
  }

  /** Waits for a computation as long as the caller wants to; what is stale stands in, if it may. */
  private async settle<T>(
    key: string,
    computation: Flight<Computed<T>>,
    options: GetOrSetOptions<T>,
    kind: 'computed' | 'collapsed',
    renewed: StoredEntry | undefined,
  ): Promise<Resolution<T>> {
    const { softTimeoutMs = 0, hardTimeoutMs, signal } = options;
    const waiting = computation.wait(signal);
    // What comes of it may be of no interest any more.
    waiting.catch(() => {});
    if (options.whenAbandoned === 'finish') computation.keep();
    try {
      if (renewed !== undefined && this.isAccepted(renewed.entry, 'stale-while-revalidate', options)) {
        const inTime =
          softTimeoutMs > 0
            ? await this.following(computation, options, () => this.within(softTimeoutMs, waiting))
            : undefined;
        if (inTime !== undefined) return this.outcomeOf(inTime, kind);
        computation.keep();
        this.counters.staleWhileRevalidating += 1;
        return this.hit<T>(renewed, 'stale-while-revalidate');
      }
      if (kind === 'computed') this.counters.misses += 1;
      const inTime = await this.waiting(key, () =>
        this.following(computation, options, () =>
          hardTimeoutMs === undefined ? waiting : this.within(hardTimeoutMs, waiting),
        ),
      );
      if (inTime !== undefined) return this.outcomeOf(inTime, kind);
      computation.keep();
      throw new FactoryTimeoutError(key, hardTimeoutMs ?? 0);
    } catch (error) {
      signal?.throwIfAborted();
      // Read again, with time of its own: what was deleted meanwhile is no answer.
      const stale = this.renewals.has(computation) ? await this.storage.get(key) : undefined;
      if (stale === undefined || !this.isAccepted(stale.entry, 'stale-if-error', options)) throw error;
      return this.hitOf<T>(stale, false, 'stale-if-error');
    }
  }

  /** Waits, and tells the caller of the parts meanwhile. */
  private async following<T>(
    computation: Flight<unknown>,
    { onPart }: Pick<GetOrSetOptions, 'onPart'>,
    wait: () => Promise<T>,
  ): Promise<T> {
    if (onPart === undefined) return wait();
    const unfollow = computation.parts.follow(onPart);
    try {
      return await wait();
    } finally {
      unfollow();
    }
  }

  private get isFull(): boolean {
    return this.waiters >= this.maxWaiters || this.computations.size >= this.maxWaiters;
  }

  /** @throws TooManyWaitersError */
  private async waiting<T>(key: string, work: () => Promise<T>): Promise<T> {
    if (this.waiters >= this.maxWaiters) throw this.tooMany(key);
    this.waiters += 1;
    try {
      return await work();
    } finally {
      this.waiters -= 1;
    }
  }

  private tooMany(key: string): TooManyWaitersError {
    return new TooManyWaitersError(key, this.maxWaiters);
  }

  private outcomeOf<T>(
    { isOfAnother = false, ...computed }: Computed<T>,
    kind: 'computed' | 'collapsed',
  ): Resolution<T> {
    if (kind === 'computed' && !isOfAnother) return computed;
    this.counters.collapsed += 1;
    return { ...computed, kind: 'collapsed' };
  }

  /** Undefined if it takes longer. */
  private within<T>(maxMs: number, work: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      const timer = this.timers.set(maxMs, () => resolve(undefined));
      work.finally(() => this.timers.clear(timer)).then(resolve, reject);
    });
  }

  /** One computation over all instances; what another has computed meanwhile will do. */
  private async compute<T>(
    key: string,
    factory: Factory<T>,
    options: GetOrSetOptions<T>,
    flight: Flight<unknown>,
    budget = this.storage.budget(),
    stale?: CacheEntry,
  ): Promise<Computed<T>> {
    const run = (version: string | undefined): Promise<Computed<T>> =>
      this.run(key, factory, options, flight, budget, version, stale);
    if (options.mode === 'bypass') return run(undefined);
    // Who asks for a computation gets one: it joins nobody's.
    if (options.mode === 'refresh') return run(await this.storage.begin(key, budget));
    const token = randomUUID();
    let seen = stale?.version ?? '';
    let followed: FollowedParts | undefined;
    const lead = (lease: Held): Promise<Computed<T>> => {
      this.endFollowing(key, followed);
      flight.beginAnew();
      return this.storage.holding(key, lease, () => run(lease.version), flight);
    };
    try {
      for (let leaseBudget = budget; ; leaseBudget = this.storage.budget()) {
        const lease = await this.storage.lease(key, token, leaseBudget);
        if (lease.kind === 'theirs') {
          followed ??= this.storage.follow(key, flight.parts);
          await this.storage.released(lease, flight.signal);
        }
        // Its last holder may have ended since this look at the storage.
        else if (lease.known <= seen) return await lead(lease);
        flight.signal.throwIfAborted();
        const stored = (await this.storage.get(key)) as StoredEntry<T> | undefined;
        const isFresh = stored !== undefined && this.isFresh(stored.entry);
        const isOfAnother = isFresh && this.isAccepted(stored.entry, 'fresh', options);
        if (isOfAnother) {
          if (lease.kind === 'mine') await this.storage.holding(key, lease, async () => {});
          return { kind: 'computed', entry: stored.entry, write: 'none', isOfAnother };
        }
        if (lease.kind === 'mine') return await lead(lease);
        seen = stored?.entry.version ?? seen;
      }
    } finally {
      this.endFollowing(key, followed);
    }
  }

  private endFollowing(key: string, followed: FollowedParts | undefined): void {
    if (followed !== undefined) this.storage.unfollow(key, followed);
  }

  private async run<T>(
    key: string,
    factory: Factory<T>,
    options: GetOrSetOptions<T>,
    flight: Flight<unknown>,
    budget: CallBudget,
    version: string | undefined,
    stale: CacheEntry | undefined,
  ): Promise<Computed<T>> {
    const begunMs = performance.now();
    let decided: ResultPolicy = {};
    let value: T;
    try {
      const decide = (policy: ResultPolicy) => (decided = { ...decided, ...policy });
      // Whoever asked may be served it, too.
      const ownStale = stale && this.ownCopy(stale);
      const emit = (part: string): void => flight.emit(part);
      value = await factory({ signal: flight.signal, stale: ownStale, decide, emit });
    } catch (error) {
      this.counters.factoryErrors += 1;
      throw error;
    }
    this.counters.computed += 1;
    const costMs = performance.now() - begunMs;
    const draft = this.draftOfResult(value, options, decided, costMs);
    const isStored = version !== undefined && draft !== undefined && decided.store !== false;
    const write = isStored ? await this.store(key, draft, version, budget) : 'none';
    return { kind: 'computed', entry: this.entryOf(value, draft, version), write };
  }

  /** Undefined if it can't be stored as it was wanted; it was paid for, and is the caller's all the same. */
  private draftOfResult<T>(
    value: T,
    options: GetOrSetOptions<T>,
    decided: ResultPolicy,
    costMs: number,
  ): EntryDraft | undefined {
    const { tags = [] } = options;
    try {
      const own = typeof tags === 'function' ? tags(value) : tags;
      return draftOf(value, { ...options, tags: own, ...decided }, this.freshness, costMs);
    } catch (error) {
      this.noteFault(error);
      return undefined;
    }
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
      this.noteFault(error);
      return 'none';
    }
  }

  private noteFault(error: unknown): void {
    if (!(error instanceof CacheError)) throw error;
    this.counters.faults += 1;
    this.onFault(error);
  }

  /** What the caller gets to see of what he computed. */
  private entryOf<T>(value: T, draft: EntryDraft | undefined, version = ''): CacheEntry<T> {
    const { tags = [], freshMs = 0, lifeMs = 0 } = draft ?? {};
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

  /** For reads that compute nothing: what is not fresh is a miss. */
  private counted(stored: StoredEntry | undefined): StoredEntry | undefined {
    if (stored === undefined || !this.isFresh(stored.entry)) {
      this.counters.misses += 1;
      return undefined;
    }
    this.hitsByTier[stored.tier] += 1;
    return stored;
  }

  /** `isShared`: others get the same. */
  private hitOf<T>(stored: StoredEntry, isShared: boolean, stale?: Hit<T>['stale']): Hit<T> {
    if (stale === 'stale-if-error') this.counters.staleIfError += 1;
    const hit = this.hit<T>(stored, stale);
    return isShared ? { ...hit, entry: this.ownCopy(hit.entry) } : hit;
  }

  private hit<T>(stored: StoredEntry, stale?: Hit<T>['stale']): Hit<T> {
    this.hitsByTier[stored.tier] += 1;
    const { entry, tier } = stored as StoredEntry<T>;
    return stale === undefined ? { kind: 'hit', entry, tier } : { kind: 'hit', entry, tier, stale };
  }

  /** What several callers get at once none of them may change for the others. */
  private ownCopy<T>(entry: CacheEntry<T>): CacheEntry<T> {
    if (Object.isFrozen(entry)) return entry;
    try {
      const copy = isolate(entry.value);
      return { ...entry, value: (copy.kind === 'shared' ? copy.value : valueOf(copy.encoded)) as T };
    } catch (error) {
      // What can't be copied could not be stored either.
      if (error instanceof ValueNotSerializableError || error instanceof ValueTooLarge) return entry;
      throw error;
    }
  }

  private isAccepted(entry: CacheEntry, use: EntryUse, { accept }: Pick<GetOrSetOptions, 'accept'>): boolean {
    return accept === undefined || accept(entry, use);
  }

  private isFresh(entry: CacheEntry): boolean {
    return entry.freshUntil > this.storage.time();
  }

  private closeFlights(key?: string): void {
    this.reads.close(key);
    this.computations.close(key);
  }
}

const valueOf = (encoded: Buffer): unknown => {
  const decoded = decodeValue(encoded);
  return decoded.kind === 'value' ? decoded.value : undefined;
};

/** One run of a factory for all keys that turn out to need it in the same turn. */
class Batch<T> {
  private keys: string[] = [];
  private values: Promise<readonly T[]> | undefined;

  constructor(private readonly factory: ManyFactory<T>) {}

  async valueOf(key: string): Promise<T> {
    const index = this.keys.push(key) - 1;
    this.values ??= Promise.resolve().then(() => this.run());
    return (await this.values)[index] as T;
  }

  private async run(): Promise<readonly T[]> {
    const { keys } = this;
    this.keys = [];
    this.values = undefined;
    const values = await this.factory(keys);
    if (values.length === keys.length) return values;
    throw new InvalidCacheOptionError(
      'factory',
      `a function that gives ${keys.length} values`,
      values.length,
    );
  }
}

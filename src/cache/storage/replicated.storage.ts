import { randomBytes } from 'node:crypto';
import { StorageClosedError } from '../cache.errors.js';
import type { FollowedParts, PartSink } from '../redis/followed-parts.js';
import type { RelayNews } from '../redis/keyspace.js';
import type { LedComputation } from '../redis/led-parts.js';
import type { PartRelay } from '../redis/part-relay.js';
import type { RedisListener, RedisSide } from '../redis/redis-side.js';
import type { CallBudget } from '../replication/call-budget.js';
import { BACKGROUND_TIMERS } from '../replication/timers.js';
import { HybridLogicalClock } from '../replication/clock.js';
import type { Journal } from '../replication/journal.js';
import type { Busy, Held } from '../replication/lease.js';
import { LEASE_MS, RENEWAL } from '../replication/lease.js';
import type { EntryDraft, Found, ReplicaStats, Written } from '../replication/replica.js';
import { Replica, WEEK_MS } from '../replication/replica.js';
import type { ReplicaEvent } from '../replication/replica-state.js';
import { EnvelopeBatchCodec } from './batch-codec.js';
import type { CacheEntry } from './cache-entry.js';
import type { CacheStorage, StorageStats, StoredEntry, WriteOutcome } from './cache-storage.js';
import { NamespaceCodec } from './entry-codec.js';
import { EnvelopeCodec } from './envelope.js';

/** A storage of this instance. `journal` makes what Redis has not acknowledged survive the process. */
export interface LocalStorage extends CacheStorage {
  versionOf?(key: string): string | undefined;
  journal?(): Journal;
  namespace(name: string): LocalStorage;
}

export interface ReplicatedStorageOptions {
  /** Its `now` should be the clock's `time`. */
  readonly local: LocalStorage;
  readonly clock: HybridLogicalClock;
  readonly codec: EnvelopeCodec;
  /** Default none: this instance is alone. */
  readonly shared?: RedisSide | undefined;
  /** No entry lives longer. Default a week. */
  readonly maxLifeMs?: number;
  /** Of each namespace. Default 64 MiB. */
  readonly outboxMaxBytes?: number;
  /** Default 1000. */
  readonly heartbeatMs?: number;
  /** How long one call may wait for Redis in all; see `CallBudget`. */
  readonly callBudgetMs?: number;
  /** How long a computation is its holder's without a sign of life, which sets the pace of its parts too. Default 5 s. */
  readonly leaseMs?: number;
  /** How long `close` may take to send what waits. Default 1000. */
  readonly flushMs?: number;
  readonly onEvent?: (event: ReplicaEvent & { readonly namespace: string }) => void;
}

const DEFAULT_NAMESPACE = 'default';

/**
 * A storage of this instance and, if there is one, Redis, as one (`../replication/replica.ts`). It stamps what it is
 * given: writes, deletes, clears and invalidated tags have versions, the newest wins on every instance, and what is
 * written while Redis is away is merged when it is back. A fault of Redis never reaches the caller.
 */
export class ReplicatedCacheStorage implements CacheStorage, RedisListener {
  private readonly replica: Replica;
  private readonly codec: NamespaceCodec;
  private readonly batches: EnvelopeBatchCodec;
  private readonly relay: PartRelay | undefined;
  private readonly localTier: StoredEntry['tier'];
  /** Keys by the tokens of leases that computations have here. */
  private readonly held = new Map<string, string>();
  private opening: Promise<void> | undefined;

  constructor(
    private readonly options: ReplicatedStorageOptions,
    private readonly family: Family = { members: new Map(), closed: false, isArmed: false },
    namespaceName = DEFAULT_NAMESPACE,
  ) {
    const { local, clock, shared, onEvent = () => {} } = options;
    this.codec = new NamespaceCodec(options.codec, namespaceName);
    const { kind } = local.stats();
    this.localTier = kind === 'replicated' ? 'memory' : kind;
    this.replica = new Replica({
      ...options,
      clock,
      local,
      remote: shared?.namespace(namespaceName),
      journal: local.journal?.(),
      codec: this.codec,
      timers: BACKGROUND_TIMERS,
      random: Math.random,
      onEvent: (event) => onEvent({ ...event, namespace: namespaceName }),
    });
    this.batches = new EnvelopeBatchCodec(options.codec, namespaceName);
    this.relay = shared?.relay(namespaceName, this.batches, this.leaseMs);
    const isFirst = family.members.size === 0;
    family.members.set(namespaceName, this);
    if (family.isArmed) this.replica.armed();
    if (local.journal === undefined) {
      this.replica.start();
      if (shared?.available === true) this.connect();
    } else {
      this.opening = this.open();
      // Whoever uses it first learns of it.
      this.opening.catch(() => {});
    }
    if (isFirst) shared?.attach(this);
  }

  /** Any storage as the only one of an instance that is alone. */
  static over(local: CacheStorage, now: () => number = Date.now): ReplicatedCacheStorage {
    if (local instanceof ReplicatedCacheStorage) return local;
    const clock = new HybridLogicalClock(randomBytes(8).toString('hex'), now);
    return new ReplicatedCacheStorage({ local, clock, codec: new EnvelopeCodec() });
  }

  get maxLifeMs(): number {
    return this.options.maxLifeMs ?? WEEK_MS;
  }

  private get leaseMs(): number {
    return this.options.leaseMs ?? LEASE_MS;
  }

  /** Epoch milliseconds, as every instance sees them: by Redis where it was asked. */
  time(): number {
    return this.options.clock.time();
  }

  /** For several calls that are one to the caller. */
  budget(): CallBudget {
    return this.replica.budget();
  }

  /** A version for an entry that is stored by `set`. */
  stamp(): string {
    return this.options.clock.tick();
  }

  /** Resolves when what an earlier process left behind has been taken up; rejects if that can't be read. */
  async opened(): Promise<void> {
    this.checkOpen();
    await this.opening;
  }

  /** Resolves when what Redis and this instance have to tell each other at first has been said, or after `maxMs`. */
  settled(maxMs: number): Promise<void> {
    return within(maxMs, this.replica.settled());
  }

  /** Resolves when nothing waits to be sent, or Redis is away. */
  async idle(): Promise<void> {
    await Promise.all([...this.family.members.values()].map(({ replica }) => replica.idle()));
  }

  /** Redis answers; see `RedisConnection`. */
  connected(): void {
    for (const member of this.family.members.values()) member.connect();
  }

  disconnected(): void {
    for (const { replica } of this.family.members.values()) replica.disconnected();
  }

  /** Redis tells of every change from now on, in whatever namespace. */
  armed(): void {
    for (const { replica } of this.family.members.values()) replica.armed();
    this.family.isArmed = true;
  }

  disarmed(): void {
    for (const { replica } of this.family.members.values()) replica.disarmed();
    this.family.isArmed = false;
  }

  /** What Redis told of: a key of a namespace, or for undefined its marks. */
  changed(namespace: string, key: string | undefined, isLease: boolean): void {
    this.family.members.get(namespace)?.replica.changed(key, isLease);
  }

  /** What Redis told of concerns a computation that runs, here or elsewhere. */
  relayed(namespace: string, key: string, news: RelayNews): void {
    this.family.members.get(namespace)?.relay?.changed(key, news);
  }

  peek(key: string): StoredEntry | undefined {
    this.checkOpen();
    const entry = this.opening === undefined ? this.replica.peek(key) : undefined;
    return entry && { entry, tier: this.localTier };
  }

  async get(key: string, budget?: CallBudget): Promise<StoredEntry | undefined> {
    if (this.mustWait) await this.opened();
    const found = this.peek(key);
    if (found !== undefined || this.replica.answersAtOnce) return found;
    return (await this.getMany([key], budget))[0];
  }

  async getMany(keys: readonly string[], budget?: CallBudget): Promise<(StoredEntry | undefined)[]> {
    if (this.mustWait) await this.opened();
    if (keys.length === 0) return [];
    return (await this.replica.read(keys, budget)).map((found) => this.stored(found));
  }

  /** Stores the entry as it is stamped, unless something newer is known. `write` stamps. */
  async set(key: string, entry: CacheEntry): Promise<WriteOutcome> {
    if (this.mustWait) await this.opened();
    return this.replica.replay(key, entry);
  }

  /** @throws ValueNotSerializableError, EntryTooLargeError */
  async write(key: string, draft: EntryDraft): Promise<WriteOutcome> {
    if (this.mustWait) await this.opened();
    return this.replica.set(key, draft);
  }

  /** Before a factory runs: the version that its result will have. */
  async begin(key: string, budget?: CallBudget): Promise<string> {
    if (this.mustWait) await this.opened();
    return this.replica.begin(key, budget);
  }

  /** `begin`, for one instance at a time. `token`: of this computation and no other. */
  async lease(key: string, token: string, budget?: CallBudget): Promise<Held | Busy> {
    if (this.mustWait) await this.opened();
    return this.replica.lease(key, token, budget);
  }

  /** Runs `work` for the holder of a lease, and keeps the lease until it has ended; others may follow `computation`. */
  async holding<T>(
    key: string,
    { token }: Held,
    work: () => Promise<T>,
    computation?: LedComputation,
  ): Promise<T> {
    if (token === undefined) return work();
    this.held.set(token, key);
    const led = computation && this.relay?.lead(key, token, computation);
    const timer = setInterval(() => {
      void this.replica.renew(key, token);
      led?.renewed();
    }, this.leaseMs * RENEWAL).unref();
    try {
      return await work();
    } finally {
      clearInterval(timer);
      if (led !== undefined) this.relay?.end(key, led);
      void this.giveUp(token);
    }
  }

  /** Once: others need not wait for its end. */
  private async giveUp(token: string): Promise<void> {
    const key = this.held.get(token);
    if (this.held.delete(token) && key !== undefined) await this.replica.release(key, token);
  }

  /** Until it is ended: takes part in the computation of another instance. */
  follow(key: string, sink: PartSink): FollowedParts | undefined {
    return this.relay?.follow(key, sink);
  }

  unfollow(key: string, followed: FollowedParts): void {
    this.relay?.end(key, followed);
  }

  /** Resolves when another instance has ended its computation of the key, or it is time to look again. */
  released(busy: Busy, signal: AbortSignal): Promise<void> {
    return this.replica.released(busy, signal);
  }

  /** A factory's result; it gives way to whatever came since `begin`. */
  async complete(
    key: string,
    draft: EntryDraft,
    version: string,
    budget?: CallBudget,
  ): Promise<WriteOutcome> {
    if (this.mustWait) await this.opened();
    return this.replica.complete(key, draft, version, budget);
  }

  async delete(key: string): Promise<boolean> {
    return (await this.remove(key)).existed;
  }

  /** `delete`, with where it landed. */
  async remove(key: string): Promise<Written> {
    if (this.mustWait) await this.opened();
    return this.replica.delete(key);
  }

  /** Makes every entry that carries one of these tags a miss, on all instances. O(1), however many there are. */
  async invalidateTags(tags: readonly string[]): Promise<WriteOutcome> {
    if (this.mustWait) await this.opened();
    return this.replica.invalidateTags(tags);
  }

  async clear(): Promise<WriteOutcome> {
    if (this.mustWait) await this.opened();
    return this.replica.clear();
  }

  async *keys(prefix = ''): AsyncIterable<string> {
    await this.opened();
    yield* this.replica.keys(prefix);
  }

  async size(): Promise<number> {
    let count = 0;
    for await (const _ of this.keys()) count += 1;
    return count;
  }

  stats(): StorageStats {
    const own = this.options.local.stats();
    const replication: ReplicaStats = this.replica.stats();
    const corrupt = own.corrupt + this.codec.corrupt + this.batches.corrupt;
    if (this.options.shared === undefined) return { ...own, corrupt, replication };
    const { faults: ofParts = 0 } = this.relay ?? {};
    const faults = replication.remoteFaults + replication.localFaults + ofParts;
    const coherence = this.options.shared.stats();
    const { evictions } = own;
    const told = coherence === undefined ? {} : { coherence };
    return { kind: 'replicated', evictions, corrupt, faults, parts: [own], replication, ...told };
  }

  namespace(name: string): ReplicatedCacheStorage {
    const member = this.family.members.get(name);
    if (member !== undefined) return member;
    const local = this.options.local.namespace(name);
    return new ReplicatedCacheStorage({ ...this.options, local }, this.family, name);
  }

  /** Sends what waits, within `flushMs`; what remains is in the journal, if there is one. */
  close(): Promise<void> {
    this.family.closing ??= this.closeAll();
    return this.family.closing;
  }

  private async closeAll(): Promise<void> {
    this.family.closed = true;
    const { local, shared, flushMs = 1000 } = this.options;
    await Promise.all([...this.family.members.values()].map((member) => member.end(flushMs)));
    await shared?.close();
    await local.close();
  }

  private async open(): Promise<void> {
    await this.replica.open();
    this.opening = undefined;
    if (this.options.shared?.available === true) this.connect();
  }

  private connect(): void {
    if (this.opening === undefined && !this.family.closed) this.replica.connected();
  }

  private async end(flushMs: number): Promise<void> {
    this.relay?.close();
    // Nothing that is computed from now on can be stored.
    await Promise.all([...this.held.keys()].map((token) => this.giveUp(token)));
    await this.opening?.catch(() => {});
    await within(flushMs, this.replica.idle());
    await this.replica.close();
  }

  private stored(found: Found | undefined): StoredEntry | undefined {
    return found && { entry: found.entry, tier: found.from === 'redis' ? 'redis' : this.localTier };
  }

  /** Otherwise calls take effect in their order, from their first moment. */
  private get mustWait(): boolean {
    return this.opening !== undefined || this.family.closed;
  }

  private checkOpen(): void {
    if (this.family.closed) throw new StorageClosedError('replicated');
  }
}

/** The namespaces of one storage. */
interface Family {
  readonly members: Map<string, ReplicatedCacheStorage>;
  closed: boolean;
  closing?: Promise<void>;
  isArmed: boolean;
}

async function within(maxMs: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, maxMs);
  });
  await Promise.race([work, limit]);
  clearTimeout(timer);
}

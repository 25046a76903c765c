import { EntryTooLargeError, StorageUnavailableError } from '../cache.errors.js';
import type { CacheEntry } from '../storage/cache-entry.js';
import type { HybridLogicalClock } from './clock.js';
import { isAligned } from './clock.js';
import type { Journal } from './journal.js';
import type { LocalStore } from './local-copy.js';
import { Marks } from './marks.js';
import type { ApplyOutcome, Mutation } from './mutation.js';
import type { OutboxCounts } from './outbox.js';
import { Outbox } from './outbox.js';
import type { Remote, RemoteValue } from './remote.js';
import type { EntryCodec, ReplicaCounts } from './replica-state.js';
import { ReplicaState } from './replica-state.js';
import type { ReplicaEvent, Timers } from './session.js';
import { Session } from './session.js';

export interface ReplicaOptions {
  readonly local: LocalStore;
  readonly remote: Remote;
  /** Without one, what Redis has not acknowledged dies with the process. */
  readonly journal?: Journal | undefined;
  readonly codec: EntryCodec;
  readonly clock: HybridLogicalClock;
  readonly timers: Timers;
  /** 0 to 1. */
  readonly random: () => number;
  /** Nothing lives longer than this from its version. Default a week. */
  readonly maxLifeMs?: number;
  /** Default 64 MiB. */
  readonly outboxMaxBytes?: number;
  /** Default 100 000. */
  readonly outboxMaxEntries?: number;
  /** Default 10 000. */
  readonly maxTagMarks?: number;
  /** Default 1000. */
  readonly heartbeatMs?: number;
  /** How long an acknowledged write is offered again at a reconnect: more than a failover takes. Default 30 s. */
  readonly ackWindowMs?: number;
  /** Default 5 s. */
  readonly drainTimeoutMs?: number;
  readonly onEvent?: (event: ReplicaEvent) => void;
}

/** What a write is made of; version and times are the replica's. */
export interface EntryDraft {
  readonly value: unknown;
  readonly tags: readonly string[];
  /** How long it is fresh, and how long it lives. */
  readonly freshMs: number;
  readonly lifeMs: number;
}

/** Where a write landed; `superseded`: something newer is there. */
export type Landing = 'redis' | 'outbox' | 'superseded';

export interface Written {
  readonly landed: Landing;
  /** There was a live value before. */
  readonly existed: boolean;
}

export interface Found {
  readonly entry: CacheEntry;
  readonly from: 'local' | 'redis';
}

export interface ReplicaStats extends ReplicaCounts {
  readonly online: boolean;
  readonly outbox: OutboxCounts;
  readonly tagMarks: number;
}

const WEEK_MS = 7 * 86_400_000;
const MIB = 1024 * 1024;
/** A live write that Redis knows something newer than is stamped anew, so often. */
const RESTAMPS = 2;
/** Longer than any factory may run. */
const FENCE_MS = 10 * 60_000;
/** One value may take this part of the outbox. */
const LARGEST_PART = 1 / 4;

/**
 * A local storage and Redis as one: the newest version of a key wins on both sides, whatever becomes of Redis between.
 * `docs/adr/0006` has the design.
 */
export class Replica {
  private readonly state: ReplicaState;
  private readonly session: Session;
  private readonly remote: Remote;
  private readonly largest: number;

  constructor(options: ReplicaOptions) {
    const { clock, codec, local, journal, remote, timers, random } = options;
    const { outboxMaxBytes = 64 * MIB, outboxMaxEntries = 100_000, maxTagMarks = 10_000 } = options;
    const outbox = new Outbox({ maxBytes: outboxMaxBytes, maxEntries: outboxMaxEntries });
    this.state = new ReplicaState(clock, new Marks(maxTagMarks), outbox, codec, local, journal);
    this.remote = remote;
    this.largest = Math.floor(outboxMaxBytes * LARGEST_PART);
    this.session = new Session(this.state, {
      remote,
      timers,
      random,
      maxLifeMs: options.maxLifeMs ?? WEEK_MS,
      heartbeatMs: options.heartbeatMs ?? 1000,
      ackWindowMs: options.ackWindowMs ?? 30_000,
      drainTimeoutMs: options.drainTimeoutMs ?? 5000,
      drainBatchBytes: MIB,
      drainBatchEntries: 500,
      onEvent: options.onEvent ?? (() => {}),
    });
  }

  /** Before anything else: takes up what the journal has. */
  async open(): Promise<void> {
    this.session.resume(await this.state.open());
  }

  /** Redis answers. */
  connected(): void {
    this.session.connected();
  }

  /** Redis is away, or does not answer. */
  disconnected(): void {
    this.session.disconnected();
  }

  idle(): Promise<void> {
    return this.session.idle();
  }

  close(): void {
    this.session.close();
  }

  /** At once, from here; undefined while Redis is to be asked. */
  peek(key: string): CacheEntry | undefined {
    return this.session.online ? undefined : this.state.visible(this.state.peek(key)?.entry);
  }

  /** In the order of `keys`. Never rejects because of Redis. */
  async read(keys: readonly string[]): Promise<(Found | undefined)[]> {
    const { session, state } = this;
    if (!session.online) return this.readLocal(keys);
    const number = session.current;
    const begun = state.clock.last();
    try {
      const { values, marks } = await this.remote.read(keys);
      if (!(await session.confirms(marks, number))) return await this.readLocal(keys);
      return await Promise.all(keys.map((key, index) => this.reconcile(key, values[index], begun)));
    } catch (error) {
      if (!(error instanceof StorageUnavailableError)) throw error;
      return this.readLocal(keys);
    }
  }

  /** @throws ValueNotSerializableError, EntryTooLargeError */
  async set(key: string, draft: EntryDraft): Promise<Landing> {
    return (await this.write(key, draft, undefined)).landed;
  }

  delete(key: string): Promise<Written> {
    return this.write(key, undefined, undefined);
  }

  /**
   * Before a factory runs, after its miss: the version that its result will have. It is announced in Redis, so that
   * whoever writes or deletes the key meanwhile gets a version above it.
   */
  async begin(key: string): Promise<string> {
    const { clock } = this.state;
    let version = clock.tick();
    for (let attempt = 0; this.session.online && attempt <= RESTAMPS; attempt += 1) {
      try {
        const outcome = await this.remote.fence(key, version, FENCE_MS);
        if (outcome.kind === 'fenced') break;
        if (outcome.kind === 'behind') clock.observe(outcome.version);
        else this.session.realign(outcome.redisMs);
      } catch (error) {
        if (!(error instanceof StorageUnavailableError)) throw error;
        break;
      }
      version = clock.tick();
    }
    return version;
  }

  /** A factory's result. Never stamped anew: what came during its run wins. */
  async complete(key: string, draft: EntryDraft, version: string): Promise<Landing> {
    // Begun before the first connection: its place among the others is not known. It costs one cached value.
    if (this.state.clock.aligned && !isAligned(version)) return 'superseded';
    const { landed } = await this.write(key, draft, version);
    if (landed === 'superseded') this.state.counts.resurrectionsPrevented += 1;
    return landed;
  }

  async clear(): Promise<Landing> {
    const { state } = this;
    const version = this.markVersion();
    state.marks.setClear(version);
    state.save(state.outbox.clearUpTo(version));
    const [landed] = await Promise.all([
      this.tellMarks(),
      state.local.clear().catch((error: unknown) => state.swallow(error)),
    ]);
    return landed;
  }

  invalidateTags(tags: readonly string[]): Promise<Landing> {
    this.state.marks.setTags(tags, this.markVersion());
    return this.tellMarks();
  }

  stats(): ReplicaStats {
    const { counts, outbox, marks } = this.state;
    return { ...counts, online: this.session.online, outbox: outbox.counts(), tagMarks: marks.size };
  }

  /** No conflict shows that a mark came too early: it is put after everything that any clock can have stamped yet. */
  private markVersion(): string {
    const { clock } = this.state;
    return clock.tick(2 * clock.errorMs);
  }

  private async tellMarks(): Promise<Landing> {
    const { state, session } = this;
    if (session.online) {
      try {
        await session.exchangeMarks();
        state.saveMarks();
        return 'redis';
      } catch (error) {
        if (!(error instanceof StorageUnavailableError)) throw error;
      }
    }
    await state.persistence.saveMarks(state.marks.record()).catch((error: unknown) => state.swallow(error));
    return 'outbox';
  }

  private async readLocal(keys: readonly string[]): Promise<(Found | undefined)[]> {
    const known = await Promise.all(keys.map((key) => this.state.known(key)));
    return known.map((own) => found(this.state.visible(own?.entry), 'local'));
  }

  /** What is served of what Redis says and what is known here; and what the two learn of each other by it. */
  private async reconcile(
    key: string,
    value: RemoteValue | undefined,
    begun: string,
  ): Promise<Found | undefined> {
    const { state, session } = this;
    const own = await state.known(key);
    const version = value?.version;
    if (version === undefined) return this.reconcileAbsent(key, own, begun);
    const entry = value?.bytes && state.codec.decode(key, value.bytes);
    if (own === undefined || version > own.version) {
      await state.learn(key, version, entry);
      return found(state.visible(entry), 'redis');
    }
    if (version < own.version) {
      if (!own.pending && own.entry !== undefined) this.repair(own.entry, key);
      if (own.pending) session.drain();
      return found(state.visible(own.entry), 'local');
    }
    if (value?.bytes === undefined && !session.restoring) {
      await state.storeLocally(key, version, () => undefined);
      return undefined;
    }
    // Of the same version, the object that is here already is shared; a delete here wins.
    if (own.entry !== undefined || own.pending) return found(state.visible(own.entry), 'redis');
    await state.storeLocally(key, version, () => entry);
    return found(state.visible(entry), 'redis');
  }

  /** Redis knows nothing of the key. What was written here since the read began, or waits to be sent, it can't know. */
  private async reconcileAbsent(
    key: string,
    own: Awaited<ReturnType<ReplicaState['known']>>,
    begun: string,
  ): Promise<Found | undefined> {
    if (own === undefined) return undefined;
    if (own.pending || own.version > begun || this.session.restoring) {
      return found(this.state.visible(own.entry), 'local');
    }
    await this.state.storeLocally(key, own.version, () => undefined);
    return undefined;
  }

  /** Redis has an older version than is known here: it lost the newer one. */
  private repair(entry: CacheEntry, key: string): void {
    const { outbox, codec, clock, counts } = this.state;
    counts.offered += 1;
    const { version, expiresAt } = entry;
    this.state.settleOverflow(
      outbox.add({ key, version, bytes: codec.encode(key, entry), expiresAt }, clock.machineTime()),
    );
    this.session.drain();
  }

  /** `begun`: the version of a factory's result; undefined for a caller's write, which is stamped above all that is known. */
  private async write(
    key: string,
    draft: EntryDraft | undefined,
    begun: string | undefined,
  ): Promise<Written> {
    const { state } = this;
    const own = await state.known(key);
    if (own !== undefined) state.clock.observe(own.version);
    const existed = state.visible(own?.entry) !== undefined;
    for (let attempt = 0; ; attempt += 1) {
      const version = begun ?? state.clock.tick();
      const hidden = begun !== undefined && state.marks.hides({ version, tags: draft?.tags ?? [] });
      if (hidden || (begun !== undefined && own !== undefined && own.version >= begun)) {
        return { landed: 'superseded', existed };
      }
      const mutation = this.mutationOf(key, draft, version);
      const outcome = await this.send(mutation, begun === undefined);
      if (outcome === undefined) return { landed: 'outbox', existed };
      if (outcome.kind === 'applied') return { landed: 'redis', existed: existed || outcome.existed };
      if (begun !== undefined || attempt === RESTAMPS) return { landed: 'superseded', existed };
    }
  }

  private mutationOf(key: string, draft: EntryDraft | undefined, version: string): Mutation {
    if (draft === undefined) return { key, version, bytes: undefined, expiresAt: 0 };
    const { value, tags, freshMs, lifeMs } = draft;
    const createdAt = this.state.clock.time();
    const times = { createdAt, freshUntil: createdAt + freshMs, expiresAt: createdAt + lifeMs };
    const bytes = this.state.codec.encode(key, { value, tags, version, ...times });
    if (bytes.length > this.largest) throw new EntryTooLargeError(key, bytes.length, this.largest);
    return { key, version, bytes, expiresAt: times.expiresAt };
  }

  /** Undefined: accepted here, and sent when Redis takes it. */
  private async send(
    mutation: Mutation,
    live: boolean,
  ): Promise<Extract<ApplyOutcome, { kind: 'applied' | 'superseded' | 'ahead' }> | undefined> {
    const { state, session } = this;
    const { key, version, bytes } = mutation;
    const { outbox, clock } = state;
    if (state.settleOverflow(outbox.add(mutation, clock.machineTime()))) void this.tellMarks();
    const stored = state.storeLocally(key, version, () => bytes && state.codec.decode(key, bytes));
    if (session.online) {
      outbox.hold(mutation, true);
      const outcome = await this.attempt(mutation, live);
      outbox.hold(mutation, false);
      await stored;
      if (outcome?.kind === 'applied') {
        outbox.acknowledge(mutation, clock.machineTime());
        state.save([key]);
        return outcome;
      }
      if (outcome !== undefined && outcome.kind !== 'refused') {
        await this.giveWay(mutation, outcome);
        return outcome;
      }
    }
    await stored;
    await state.persistence.saveItems([key]).catch((error: unknown) => state.swallow(error));
    session.drain();
    return undefined;
  }

  private async attempt(mutation: Mutation, live: boolean): Promise<ApplyOutcome | undefined> {
    try {
      const [outcome] = await this.remote.apply([mutation], { live });
      if (outcome?.kind === 'refused') this.state.counts.refused += 1;
      return outcome;
    } catch (error) {
      if (!(error instanceof StorageUnavailableError)) throw error;
      return undefined;
    }
  }

  private async giveWay(
    mutation: Mutation,
    outcome: Extract<ApplyOutcome, { kind: 'superseded' | 'ahead' }>,
  ): Promise<void> {
    const { state } = this;
    const { key, version } = mutation;
    state.outbox.remove(mutation);
    await state.storeLocally(key, version, () => undefined);
    if (outcome.kind === 'ahead') return this.session.realign(outcome.redisMs);
    state.counts.superseded += 1;
    state.clock.observe(outcome.version);
  }
}

function found(entry: CacheEntry | undefined, from: Found['from']): Found | undefined {
  return entry && { entry, from };
}

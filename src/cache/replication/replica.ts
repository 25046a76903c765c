import { EntryTooLargeError, StorageUnavailableError } from '../cache.errors.js';
import type { CacheEntry } from '../storage/cache-entry.js';
import { CallBudget } from './call-budget.js';
import type { HybridLogicalClock } from './clock.js';
import { isAligned } from './clock.js';
import type { Journal } from './journal.js';
import type { Busy, Held } from './lease.js';
import { LEASE_MS, LeaseWaiters } from './lease.js';
import type { LocalStore } from './local-copy.js';
import { CLEAR, Marks } from './marks.js';
import { liveKeys } from './live-keys.js';
import type { Mutation } from './mutation.js';
import { CLOCK_AHEAD_MS, versionMs } from './mutation.js';
import type { OutboxCounts } from './outbox.js';
import { Outbox } from './outbox.js';
import type { ApplyOutcome, FenceOutcome, LeaseOutcome, Remote, RemoteValue } from './remote.js';
import { NO_REMOTE } from './remote.js';
import type { EntryCodec, Known, ReplicaCounts, ReplicaEvent } from './replica-state.js';
import { ReplicaState, stampedAnew } from './replica-state.js';
import { Session } from './session.js';
import type { Timers } from './timers.js';

export interface ReplicaOptions {
  readonly local: LocalStore;
  /** Without one, this instance is alone: what is written is where it belongs. */
  readonly remote?: Remote | undefined;
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
  /** Default 250 000, which bytes bound before. */
  readonly outboxMaxEntries?: number;
  /** Default 10 000. */
  readonly maxTagMarks?: number;
  /** Default 1000. */
  readonly heartbeatMs?: number;
  /** How long one call may wait for Redis in all. Default: each of its commands as long as it takes. */
  readonly callBudgetMs?: number;
  /** How long an acknowledged write is offered again at a reconnect: more than a failover takes. Default 30 s. */
  readonly ackWindowMs?: number;
  /** Default 5 s. */
  readonly drainTimeoutMs?: number;
  /** How long a computation is its holder's without a sign of life. Default 5 s. */
  readonly leaseMs?: number;
  readonly onEvent?: (event: ReplicaEvent) => void;
}

/** What a write is made of; version and times are the replica's. */
export interface EntryDraft {
  readonly value: unknown;
  readonly tags: readonly string[];
  /** How long it is fresh, and how long it lives. */
  readonly freshMs: number;
  readonly lifeMs: number;
  /** What its computation took, in milliseconds. */
  readonly costMs?: number | undefined;
}

/** Where a write landed; `superseded`: something newer is there. `local`: this instance is alone. */
export type Landing = 'redis' | 'outbox' | 'local' | 'superseded';

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
  /** Redis answers, and its marks are known here. */
  readonly online: boolean;
  readonly outbox: OutboxCounts;
  readonly tagMarks: number;
}

/** Default of `maxLifeMs`. */
export const WEEK_MS = 7 * 86_400_000;
/** Default of `maxTagMarks`. */
export const MAX_TAG_MARKS = 10_000;
const MIB = 1024 * 1024;
/** A live write that Redis knows something newer than is stamped anew, so often. */
const RESTAMPS = 2;
/** Longer than any factory may run. */
const FENCE_MS = 10 * 60_000;
/** How often the end of another's computation is looked for, where Redis tells of it and where not; and how far apart. */
const TOLD_LOOK_MS = 1000;
const UNTOLD_LOOK_MS = 250;
const LOOK_SPREAD_MS = 100;
/** What is beyond expires by itself. */
const MAX_UNRELEASED = 1000;
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
  private readonly alone: boolean;
  private readonly waiters: LeaseWaiters;
  /** Reads that compare a key with Redis, until they end. */
  private readonly comparing = new Map<string, Promise<void>>();
  /** Keys by tokens that Redis may still have. */
  private readonly unreleased = new Map<string, string>();
  private readonly random: () => number;
  private readonly callBudgetMs: number;
  private readonly timers: Timers;
  /** Of an instance that is alone. */
  private ownClear: string | undefined;
  private readonly maxLifeMs: number;
  private readonly leaseMs: number;
  private readonly largest: number;

  constructor(options: ReplicaOptions) {
    const { clock, codec, local, journal, remote = NO_REMOTE, timers, random } = options;
    const {
      maxLifeMs = WEEK_MS,
      outboxMaxBytes = 64 * MIB,
      outboxMaxEntries = 250_000,
      maxTagMarks = MAX_TAG_MARKS,
    } = options;
    const outbox = new Outbox({ maxBytes: outboxMaxBytes, maxEntries: outboxMaxEntries });
    this.state = new ReplicaState(
      clock,
      new Marks(maxTagMarks),
      outbox,
      codec,
      local,
      journal,
      options.onEvent,
    );
    this.callBudgetMs = options.callBudgetMs ?? Infinity;
    this.timers = timers;
    this.random = random;
    this.waiters = new LeaseWaiters(timers);
    this.remote = remote;
    this.alone = remote === NO_REMOTE;
    this.maxLifeMs = maxLifeMs;
    this.leaseMs = options.leaseMs ?? LEASE_MS;
    this.largest = Math.floor(outboxMaxBytes * LARGEST_PART);
    this.session = new Session(this.state, {
      onOnline: () => void this.releaseAll(),
      remote,
      timers,
      random,
      maxLifeMs,
      // Alone, nothing arrives that is older than a running factory.
      seenLifeMs: FENCE_MS,
      tombstoneLifeMs: this.alone ? FENCE_MS : maxLifeMs + CLOCK_AHEAD_MS,
      heartbeatMs: options.heartbeatMs ?? 1000,
      ackWindowMs: options.ackWindowMs ?? 30_000,
      drainTimeoutMs: options.drainTimeoutMs ?? 5000,
      drainBatchBytes: MIB,
      drainBatchEntries: 500,
    });
  }

  /** Before anything else: takes up what the journal has. */
  async open(): Promise<void> {
    this.session.resume(await this.state.open());
  }

  /** `open`, at once, where there is no journal. */
  start(): void {
    this.session.resume(undefined);
  }

  /** Redis answers. */
  connected(): void {
    this.session.connected();
  }

  /** Redis is away, or does not answer. */
  disconnected(): void {
    this.waiters.wakeAll();
    this.session.disconnected();
  }

  /** Resolves when the first dealings with Redis after `connected` have come to an end, good or bad. */
  settled(): Promise<void> {
    return this.session.settled();
  }

  /** Resolves when there is nothing left to send, or nowhere to send it. */
  idle(): Promise<void> {
    return this.session.idle();
  }

  /** What was accepted is in the journal, if there is one. */
  async close(): Promise<void> {
    await this.session.close();
  }

  /** For one call, or for several that are one to the caller. */
  budget(): CallBudget {
    const { clock } = this.state;
    return new CallBudget(this.callBudgetMs, this.timers, () => clock.machineTime());
  }

  /** Whether `peek` says all that `read` would. */
  get answersAtOnce(): boolean {
    return !this.session.online && this.state.local.writesAtOnce;
  }

  /** At once, from here; undefined where Redis is to be asked. */
  peek(key: string): CacheEntry | undefined {
    const { session, state } = this;
    if (session.online && !(session.coherent && state.coherence.isChecked(key))) return undefined;
    return state.visible(state.peek(key)?.entry);
  }

  /** Redis tells of every change from now on; see `Coherence`. */
  armed(): void {
    this.state.coherence.arm();
  }

  /** It does not any more. */
  disarmed(): void {
    this.waiters.wakeAll();
    this.state.coherence.disarm();
  }

  /** What Redis told of: a key, or the record of the marks. */
  changed(key: string | undefined, isLease = false): void {
    if (isLease && key !== undefined) {
      this.waiters.wake(key);
      return;
    }
    if (key === undefined) this.session.marksChanged();
    else this.state.coherence.changed(key);
  }

  /** In the order of `keys`. Never rejects because of Redis. */
  async read(keys: readonly string[], budget = this.budget()): Promise<(Found | undefined)[]> {
    if (!this.session.online) return this.readLocal(keys);
    const ended = Promise.withResolvers<void>();
    try {
      const found = await this.readChecked(keys, budget, ended.promise);
      const rest = [...new Set(keys)].filter((key) => !found.has(key));
      if (rest.length > 0) await this.readThrough(rest, found, budget);
      return keys.map((key) => found.get(key));
    } catch (error) {
      if (error !== NOT_CONFIRMED) this.state.noteUnavailable(error);
      return this.readLocal(keys);
    } finally {
      ended.resolve();
      for (const key of keys) if (this.comparing.get(key) === ended.promise) this.comparing.delete(key);
    }
  }

  /** @throws ValueNotSerializableError, EntryTooLargeError */
  async set(key: string, draft: EntryDraft): Promise<Landing> {
    return (await this.write(key, (version) => this.entryOf(draft, version))).landed;
  }

  delete(key: string): Promise<Written> {
    return this.write(key, undefined);
  }

  /** An entry that was stamped before, by this clock or another. Never stamped anew: what is newer wins. */
  async replay(key: string, entry: CacheEntry): Promise<Landing> {
    return (await this.write(key, () => entry, entry.version)).landed;
  }

  /**
   * Before a factory runs, after its miss: the version that its result will have. It is announced in Redis, so that
   * whoever writes or deletes the key meanwhile gets a version above it.
   */
  async begin(key: string, budget = this.budget()): Promise<string> {
    const ask = (version: string) => budget.spend(() => this.remote.fence(key, version, FENCE_MS));
    return (await this.announce(ask)).version;
  }

  /**
   * `begin`, for one instance at a time. Where Redis is away, or answers too late, every instance computes for itself.
   */
  async lease(key: string, token: string, budget = this.budget()): Promise<Held | Busy> {
    const watch = this.waiters.watch(key);
    let hasAsked = false;
    const { version, outcome } = await this.announce((next) => {
      hasAsked = true;
      const deadlineMs = this.state.clock.time() + Math.min(budget.leftMs, this.leaseMs);
      const request = { version: next, fenceMs: FENCE_MS, token, leaseMs: this.leaseMs, deadlineMs };
      return budget.spend(() => this.remote.lease(key, request));
    });
    if (outcome?.kind === 'held') return { kind: 'theirs', forMs: outcome.forMs, watch };
    watch.end();
    const known = outcome?.kind === 'fenced' ? outcome.known : '';
    return { kind: 'mine', version, token: hasAsked ? token : undefined, known };
  }

  /** A version that Redis takes as that of a result to come; without an answer of it, one that nobody knows of. */
  private async announce<O extends FenceOutcome | LeaseOutcome>(
    ask: (version: string) => Promise<O>,
  ): Promise<{ version: string; outcome: Exclude<O, { kind: 'behind' | 'ahead' }> | undefined }> {
    const { clock } = this.state;
    let version = clock.tick();
    for (let attempt = 0; this.session.online && attempt <= RESTAMPS; attempt += 1) {
      try {
        const outcome: FenceOutcome | LeaseOutcome = await ask(version);
        if (outcome.kind === 'behind') clock.resumeAbove(outcome.version);
        else if (outcome.kind === 'ahead') this.session.realign(outcome.redisMs);
        else {
          if (outcome.kind === 'fenced') clock.observe(version);
          return { version, outcome: outcome as Exclude<O, { kind: 'behind' | 'ahead' }> };
        }
      } catch (error) {
        this.state.noteUnavailable(error);
        break;
      }
      version = clock.tick();
    }
    return { version, outcome: undefined };
  }

  /** While the factory runs. Where it is lost, another may compute too; the newer result wins. */
  async renew(key: string, token: string): Promise<void> {
    if (!this.session.online) return;
    await this.remote.renew(key, token, this.leaseMs).catch((error: unknown) => this.session.fault(error));
  }

  /** Where Redis is away it is done when that is back: others must not wait for a lease that nobody uses. */
  async release(key: string, token: string): Promise<void> {
    this.unreleased.set(token, key);
    if (this.unreleased.size > MAX_UNRELEASED) this.unreleased.delete(firstOf(this.unreleased) ?? token);
    if (this.session.online) await this.sendRelease(key, token);
  }

  private async releaseAll(): Promise<void> {
    await Promise.all([...this.unreleased].map(([token, key]) => this.sendRelease(key, token)));
  }

  private async sendRelease(key: string, token: string): Promise<void> {
    try {
      await this.remote.release(key, token);
      this.unreleased.delete(token);
    } catch (error) {
      this.session.fault(error);
    }
  }

  /** Resolves when another instance has ended the computation of the key, or it is time to look; or at an abort. */
  released({ forMs, watch }: Busy, signal: AbortSignal): Promise<void> {
    const { random } = this;
    // A push may be late, or lost with its channel. Who wakes by time does not wake with all the others.
    const maxMs = Math.min(forMs, this.session.coherent ? TOLD_LOOK_MS : UNTOLD_LOOK_MS);
    return watch.until(maxMs + 1 + random() * LOOK_SPREAD_MS, signal);
  }

  /** A factory's result. Never stamped anew: what came during its run wins. */
  async complete(key: string, draft: EntryDraft, version: string, budget = this.budget()): Promise<Landing> {
    // Begun by a clock that was wrong and has been set: its place among the others is not known. It costs one value.
    if (!this.state.clock.hasMade(version)) return 'superseded';
    const { landed } = await this.write(key, () => this.entryOf(draft, version), version, budget);
    if (landed === 'superseded') this.state.counts.resurrectionsPrevented += 1;
    return landed;
  }

  async clear(): Promise<Landing> {
    const { state } = this;
    const version = this.markVersion();
    if (this.alone) return this.clearAlone(version);
    state.clearUpTo(version);
    const cleared = state.local.clear();
    const [landed] = await Promise.all([
      this.tellMarks(),
      cleared.catch((error: unknown) => state.swallow(error)),
    ]);
    this.session.reclaim();
    return landed;
  }

  /**
   * What is here is gone, and the mark is for running factories only: should there be a Redis one day, the entries of
   * others are not concerned. What an earlier process has deleted and not sent stays to be sent.
   */
  private async clearAlone(version: string): Promise<'local'> {
    const { state } = this;
    state.marks.setClear(version);
    this.ownClear = version;
    const values = [...state.outbox.all()].filter(({ mutation }) => mutation.bytes !== undefined);
    for (const { mutation } of values) state.outbox.shrink(mutation);
    await Promise.all([
      state.local.clear(),
      state.persistence.saveItems(values.map(({ mutation }) => mutation.key)),
    ]);
    return 'local';
  }

  /** Every entry that carries one of these tags is a miss from now on. */
  async invalidateTags(tags: readonly string[]): Promise<Landing> {
    this.state.marks.setTags(tags, this.markVersion());
    const landed = await this.tellMarks();
    this.session.reclaim();
    return landed;
  }

  /** Live keys, each once, in no order; O(n) and no snapshot. */
  keys(prefix = ''): AsyncIterable<string> {
    return liveKeys(this.state, this.session.online ? this.remote : undefined, prefix);
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
        await this.budget().spend(() => session.exchangeMarks(), 'several');
        state.saveMarks();
        return 'redis';
      } catch (error) {
        this.state.noteUnavailable(error);
      }
    }
    session.tellMarksLater();
    const record = state.marks.record();
    if (record.get(CLEAR) === this.ownClear) record.delete(CLEAR);
    await state.persistence.saveMarks(record).catch((error: unknown) => state.swallow(error));
    return this.alone ? 'local' : 'outbox';
  }

  private async readLocal(keys: readonly string[]): Promise<(Found | undefined)[]> {
    const known = await Promise.all(keys.map((key) => this.state.known(key)));
    return known.map((own) => found(this.state.visible(own?.entry), 'local'));
  }

  /**
   * What is here and is what Redis has: because it would have told, or because the versions are the same. After a gap
   * everything is unchecked, and all who ask for a popular key would compare it: the first does, and the others wait for
   * his read. Once: what it found may have changed again. Where Redis tells nothing, each has to look for himself.
   */
  private async readChecked(
    keys: readonly string[],
    budget: CallBudget,
    ended: Promise<void>,
    mayWait = this.session.coherent,
  ): Promise<Map<string, Found | undefined>> {
    const { session, state } = this;
    const found = new Map<string, Found | undefined>();
    const unchecked: CacheEntry[] = [];
    const uncheckedKeys: string[] = [];
    const known = await Promise.all(keys.map((key) => state.known(key)));
    for (const [index, key] of keys.entries()) {
      const own = known[index];
      const entry = own?.pending === false ? state.visible(own.entry) : undefined;
      if (entry === undefined || found.has(key)) continue;
      if (session.coherent && state.coherence.isChecked(key)) {
        found.set(key, { entry, from: 'local' });
      } else {
        unchecked.push(entry);
        uncheckedKeys.push(key);
      }
    }
    if (unchecked.length === 0) return found;
    const others = mayWait ? uncheckedKeys.flatMap((key) => this.comparing.get(key) ?? []) : [];
    if (others.length > 0) {
      await budget.spend(() => Promise.all(others), 'several');
      return this.readChecked(keys, budget, ended, false);
    }
    for (const key of uncheckedKeys) this.comparing.set(key, ended);
    await this.filling(uncheckedKeys, async () => {
      const number = session.current;
      const { versions, marks } = await budget.spend(() => this.remote.check(uncheckedKeys));
      if (!(await session.confirms(marks, number, budget))) throw NOT_CONFIRMED;
      return unchecked.map((entry, index) => {
        const isSame = versions[index] === entry.version;
        const served = isSame ? state.visible(entry) : undefined;
        if (served !== undefined) found.set(uncheckedKeys[index] ?? '', { entry: served, from: 'local' });
        return isSame;
      });
    });
    return found;
  }

  private readThrough(
    keys: readonly string[],
    found: Map<string, Found | undefined>,
    budget: CallBudget,
  ): Promise<void> {
    const { session, state } = this;
    const number = session.current;
    const begun = state.clock.tick();
    return this.filling(keys, async () => {
      const { values, marks } = await budget.spend(() => this.remote.read(keys));
      if (!(await session.confirms(marks, number, budget))) throw NOT_CONFIRMED;
      return Promise.all(
        keys.map(async (key, index) => {
          const value = values[index];
          const served = await this.reconcile(key, value, begun);
          found.set(key, served);
          return served !== undefined && served.entry.version === value?.version;
        }),
      );
    });
  }

  /** Registers the keys before Redis is asked; `work` says of each whether what is here is what Redis has. */
  private async filling(keys: readonly string[], work: () => Promise<readonly boolean[]>): Promise<void> {
    const { coherence } = this.state;
    const fills = keys.map((key) => coherence.begin(key));
    let same: readonly boolean[] = [];
    try {
      same = await work();
    } finally {
      for (const [index, fill] of fills.entries()) {
        if (same[index] === true) coherence.confirm(fill);
        else coherence.abandon(fill);
      }
    }
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
    if (own === undefined || version > own.version) {
      const entry = this.decode(key, value?.bytes);
      const known = entry && value?.bytes;
      await state.learn(key, version, known ?? (value?.bytes === undefined ? 'gone' : 'unknown'));
      return found(state.visible(entry), 'redis');
    }
    if (version < own.version) {
      // What was written here since the read began, Redis may have by now.
      if (!own.pending && !this.isNews(own, begun)) this.repair(key, own);
      session.drain();
      return found(state.visible(own.entry), 'local');
    }
    if (value?.bytes === undefined && !session.restoring) {
      await state.storeLocally(key, version, () => undefined);
      return undefined;
    }
    // Of the same version, the object that is here already is shared; a delete here wins.
    if (own.entry !== undefined || own.pending) return found(state.visible(own.entry), 'redis');
    const entry = this.decode(key, value?.bytes);
    await state.storeLocally(key, version, state.entryOf(key, entry && value?.bytes));
    return found(state.visible(entry), 'redis');
  }

  /** What is damaged in Redis is removed there, if it is still the same. */
  private decode(key: string, bytes: Uint8Array | undefined): CacheEntry | undefined {
    const { codec } = this.state;
    const entry = bytes && codec.decode(key, bytes);
    if (bytes !== undefined && entry === undefined && codec.isDamaged(key, bytes)) {
      this.remote.discard(key, bytes).catch((error: unknown) => this.session.fault(error));
    }
    return entry;
  }

  /** Redis knows nothing of the key. What was written here since the read began, or waits to be sent, it can't know. */
  private async reconcileAbsent(
    key: string,
    own: Known | undefined,
    begun: string,
  ): Promise<Found | undefined> {
    if (own === undefined) return undefined;
    if (own.pending || this.isNews(own, begun) || this.session.restoring) {
      return found(this.state.visible(own.entry), 'local');
    }
    await this.state.storeLocally(key, own.version, () => undefined);
    return undefined;
  }

  /** Written by this process since then; what others have stamped may be from any time, by a clock that was ahead. */
  private isNews({ version }: Known, begun: string): boolean {
    return version > begun && this.state.clock.hasMade(version);
  }

  /** Redis has an older version than is known here: it lost the newer one. */
  private repair(key: string, { version, entry }: Known): void {
    const { outbox, codec, clock, counts } = this.state;
    const item = outbox.get(key);
    const isGone = item?.state === 'acknowledged' && item.mutation.expiresAt <= clock.time();
    if (entry === undefined && !isGone) return;
    counts.offered += 1;
    const bytes = entry && codec.encode(key, entry);
    const overflow = outbox.add(
      { key, version, bytes, expiresAt: entry?.expiresAt ?? 0 },
      clock.machineTime(),
    );
    if (this.state.settleOverflow(overflow)) void this.tellMarks();
  }

  /**
   * `entryOf` makes the entry of a version; undefined: a delete. `given`: the version of a factory's result or a replay;
   * undefined for a caller's write, which is stamped above all that is known.
   */
  private async write(
    key: string,
    entryOf: ((version: string) => CacheEntry) | undefined,
    given?: string,
    budget = this.budget(),
  ): Promise<Written> {
    const { state } = this;
    const { clock } = state;
    // At once: what is called later is newer, also where the calls before it still wait for the local storage.
    let version = given ?? clock.tick();
    let entry = entryOf?.(version);
    let { offset } = clock;
    // And from a copy: the value is the caller's again when the call has returned. A memory that is alone makes its own.
    let bytes = this.alone && state.local.writesAtOnce ? undefined : this.seal(key, entry);
    let existed = false;
    for (let attempt = 0; ; attempt += 1) {
      const own = state.local.writesAtOnce ? state.peek(key) : await state.known(key);
      if (attempt === 0) existed = state.visible(own?.entry) !== undefined;
      if (attempt > 0 || (given === undefined && this.isStale(version, own))) {
        version = clock.tick();
        const kept = bytes === undefined ? entry : state.codec.decode(key, bytes);
        entry = kept && stampedAnew(kept, version, clock.offset - offset);
        ({ offset } = clock);
        if (bytes !== undefined) bytes = this.seal(key, entry);
      }
      const isHidden = entry !== undefined && state.marks.hides(entry);
      // What is as old as something forgotten may have been deleted.
      const isTooOld = given !== undefined && version <= state.outbox.forgottenUpTo;
      if (isHidden || isTooOld || (own !== undefined && own.version >= version)) {
        return { landed: 'superseded', existed };
      }
      if (this.alone) return { landed: await this.keep(key, version, entry, bytes), existed };
      const mutation = { key, version, bytes, expiresAt: entry?.expiresAt ?? 0 };
      const isLast = given !== undefined || attempt === RESTAMPS;
      const outcome = await this.send(mutation, entry, given === undefined, isLast, budget);
      if (outcome === undefined) return { landed: 'outbox', existed };
      if (outcome.kind === 'applied') {
        existed ||= outcome.existed;
        // A mark that was set before the call, and is stamped ahead of its time, would hide what came after it.
        if (given === undefined && outcome.marks !== undefined) {
          await this.session.learnMarks(outcome.marks, budget);
        }
        const isHiddenNow = given === undefined && entry !== undefined && state.marks.hides(entry);
        if (!isHiddenNow || attempt === RESTAMPS) return { landed: 'redis', existed };
        continue;
      }
      if (isLast) return { landed: 'superseded', existed };
    }
  }

  /**
   * Whether a caller's write needs a new stamp: others know something newer, whose clock may be wrong (of this instance,
   * what is newer was called later); or this clock knows Redis `TIME` since.
   */
  private isStale(version: string, own: Known | undefined): boolean {
    const { clock } = this.state;
    if (own !== undefined && own.version >= version && !clock.hasMade(own.version)) {
      clock.observe(own.version);
      return true;
    }
    return clock.aligned && !isAligned(version);
  }

  private entryOf({ value, tags, freshMs, lifeMs, costMs }: EntryDraft, version: string): CacheEntry {
    const createdAt = this.state.clock.time();
    // From its version on, which is long past where a factory took its time.
    const expiresAt = Math.min(createdAt + lifeMs, versionMs(version) + this.maxLifeMs);
    const freshUntil = Math.min(createdAt + freshMs, expiresAt);
    const cost = costMs === undefined ? {} : { costMs };
    return { value, version, createdAt, freshUntil, expiresAt, tags, ...cost };
  }

  private seal(key: string, entry: CacheEntry | undefined): Uint8Array | undefined {
    if (entry === undefined) return undefined;
    const bytes = this.state.codec.encode(key, entry);
    const size = bytes.length + 2 * key.length;
    if (size > this.largest) throw new EntryTooLargeError(key, size, this.largest);
    return bytes;
  }

  /** A write of an instance that is alone: nobody else has to know, but a factory that runs here. */
  private async keep(
    key: string,
    version: string,
    entry: CacheEntry | undefined,
    bytes: Uint8Array | undefined,
  ): Promise<'local'> {
    const { state } = this;
    // First: a factory's result that is written meanwhile sees it.
    const overflow =
      entry === undefined ? state.outbox.see(key, version, 'seen', state.clock.machineTime()) : undefined;
    if (overflow !== undefined) state.settleOverflow(overflow);
    await state.local.put(key, version, this.snapshot(key, entry, bytes));
    state.outbox.see(key, version, 'seen', state.clock.machineTime());
    // What an earlier process has left for Redis is older.
    await state.persistence.saveItems([key]);
    return 'local';
  }

  /** A storage that writes later must not see what the caller does to the value meanwhile. */
  private snapshot(
    key: string,
    entry: CacheEntry | undefined,
    bytes: Uint8Array | undefined,
  ): () => CacheEntry | undefined {
    const { state } = this;
    return bytes === undefined || state.local.writesAtOnce ? () => entry : state.entryOf(key, bytes);
  }

  /** Undefined: accepted here, and sent when Redis takes it. */
  private async send(
    mutation: Mutation,
    entry: CacheEntry | undefined,
    live: boolean,
    isLast: boolean,
    budget: CallBudget,
  ): Promise<Extract<ApplyOutcome, { kind: 'applied' | 'superseded' | 'ahead' }> | undefined> {
    const { state, session } = this;
    const { key, version, bytes } = mutation;
    const { outbox, clock } = state;
    if (state.settleOverflow(outbox.add(mutation, clock.machineTime()))) void this.tellMarks();
    const stored = state.storeLocally(key, version, this.snapshot(key, entry, bytes));
    if (session.online) {
      const { losses } = session;
      outbox.hold(mutation, true);
      const fill = state.coherence.begin(key);
      const outcome = await this.attempt(mutation, live, budget).finally(() => outbox.hold(mutation, false));
      await stored;
      if (outcome?.kind === 'applied' && bytes !== undefined) state.coherence.confirm(fill);
      else state.coherence.abandon(fill);
      if (outcome?.kind === 'applied') {
        clock.observe(version);
        if (losses === session.losses) outbox.acknowledge(mutation, clock.machineTime());
        else session.drain();
        state.save([key]);
        return outcome;
      }
      if (outcome !== undefined && outcome.kind !== 'refused') {
        await this.giveWay(mutation, outcome, live, isLast);
        return outcome;
      }
    }
    // Together, so that a disk commits them together.
    const journaled = state.persistence.saveItems([key]).catch((error: unknown) => state.swallow(error));
    await Promise.all([stored, journaled]);
    session.drain();
    return undefined;
  }

  private async attempt(
    mutation: Mutation,
    live: boolean,
    budget: CallBudget,
  ): Promise<ApplyOutcome | undefined> {
    try {
      const [outcome] = await budget.spend(() => this.remote.apply([mutation], { live }));
      if (outcome?.kind === 'refused') this.state.counts.refused += 1;
      return outcome;
    } catch (error) {
      this.state.noteUnavailable(error);
      return undefined;
    }
  }

  private async giveWay(
    mutation: Mutation,
    outcome: Extract<ApplyOutcome, { kind: 'superseded' | 'ahead' }>,
    live: boolean,
    isLast: boolean,
  ): Promise<void> {
    const { state } = this;
    const { key, version } = mutation;
    if (outcome.kind === 'superseded') {
      state.clock.resumeAbove(outcome.version);
      // A live write may have met a fence only, of which nothing is known of the key.
      if (!live) return state.learn(key, outcome.version, 'unknown', version);
      state.counts.superseded += 1;
      // What it has replaced here is not back until its next version is sent.
      if (!isLast) return;
    }
    state.outbox.remove(mutation);
    await state.storeLocally(key, version, () => undefined);
    if (outcome.kind === 'ahead') this.session.realign(outcome.redisMs);
  }
}

function found(entry: CacheEntry | undefined, from: Found['from']): Found | undefined {
  return entry && { entry, from };
}

/** The connection is not the same any more, or may not be believed yet. */
const NOT_CONFIRMED = new StorageUnavailableError('redis', 'its marks could not be merged');

const firstOf = <K>(map: ReadonlyMap<K, unknown>): K | undefined => map.keys().next().value;

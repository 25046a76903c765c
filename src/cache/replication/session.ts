import { StorageUnavailableError } from '../cache.errors.js';
import type { CallBudget } from './call-budget.js';
import { isAligned } from './clock.js';
import type { Mutation } from './mutation.js';
import { CLOCK_AHEAD_MS, versionMs } from './mutation.js';
import { tombstoneOf } from './outbox.js';
import type { Acquaintance } from './persistence.js';
import type { ApplyOutcome, MarksExchange, MarksState, Remote } from './remote.js';
import type { ReplicaState } from './replica-state.js';
import { stampedAnew } from './replica-state.js';
import type { Timers } from './timers.js';

export interface SessionOptions {
  /** Called each time that it is online again. */
  readonly onOnline: () => void;
  readonly remote: Remote;
  readonly timers: Timers;
  /** 0 to 1. */
  readonly random: () => number;
  readonly maxLifeMs: number;
  /** How long it is remembered that something was deleted. */
  readonly tombstoneLifeMs: number;
  /** How long it is remembered what others have written: longer than a factory runs. */
  readonly seenLifeMs: number;
  readonly heartbeatMs: number;
  readonly ackWindowMs: number;
  readonly drainTimeoutMs: number;
  readonly drainBatchBytes: number;
  readonly drainBatchEntries: number;
}

/** Refused so often while others were taken, a value is given up. */
const REFUSALS_UNTIL_PARKED = 3;
/** From the beginning of one sweep through all values to that of the next; and the longest rest between its steps. */
const RECLAIM_INTERVAL_MS = 60_000;
const RECLAIM_REST_MS = 20;
const PROGRESS_EVERY_MS = 5000;
/** Corrections below this are the measurement's own. */
const CORRECTION_NOTED_MS = 100;

/**
 * The dealings with one Redis: what happens at a connect, at each heartbeat, and in the background between them. The
 * replica is `online` when the marks have been merged on this connection; nothing read from Redis is served before.
 */
export class Session {
  online = false;
  /** How often Redis was found to have lost its data. What it took before says nothing after. */
  losses = 0;
  private wanted = false;
  private number = 0;
  private marksState: MarksState | undefined;
  /** Redis does not have all that is marked here, though it answers: it was read-only, or there was too much to keep. */
  private marksUntold = false;
  /** What Redis is known to have. */
  private readonly toldMarks = new Map<string, string>();
  /** A failover may have lost the last of what the former had, under the same name. */
  private isNewServer = true;
  private acquaintance: Acquaintance | undefined;
  private dataLost = false;
  private cold = false;
  private beginning = false;
  private introduction: Promise<void> = Promise.resolve();
  private heartbeat: unknown;
  private draining: Promise<void> | undefined;
  private offering: Promise<void> | undefined;
  private reclaiming: Promise<void> | undefined;
  private reclaimWanted = false;
  private reclaimNotBeforeMs = 0;
  private exchanging: Promise<unknown> = Promise.resolve();
  private waitingExchange: Promise<MarksExchange> | undefined;
  private closed = false;
  private savedVersion = '';
  private hasToldOfFailure = false;
  private hasRestamped = false;
  /** How often Redis told that the marks have changed, and how often of these they have been looked at since. */
  private marksTold = 0;
  private marksSeen = 0;
  private followingMarks = false;

  constructor(
    private readonly state: ReplicaState,
    private readonly options: SessionOptions,
  ) {}

  /** While what Redis has lost is not all back, what is missing there says nothing. */
  get restoring(): boolean {
    return this.dataLost || this.cold;
  }

  resume(acquaintance: Acquaintance | undefined): void {
    this.acquaintance = acquaintance;
    this.schedule();
  }

  connected(): void {
    if (this.wanted || this.closed) return;
    this.wanted = true;
    this.number += 1;
    this.introduction = this.begin(this.number);
  }

  settled(): Promise<void> {
    return this.introduction;
  }

  disconnected(): void {
    this.wanted = false;
    this.online = false;
    this.number += 1;
  }

  async close(): Promise<void> {
    this.closed = true;
    this.disconnected();
    this.options.timers.clear(this.heartbeat);
    await this.saveState();
  }

  /** Resolves when there is nothing left to send, or nowhere to send it. */
  async idle(): Promise<void> {
    for (;;) {
      await this.introduction;
      await this.exchanging.catch(() => {});
      await this.offering;
      await this.draining;
      if (!this.online || (this.draining === undefined && this.offering === undefined)) return;
    }
  }

  /**
   * Whether what was read, together with this state of the marks, may be served: merges the marks first if they have
   * changed. False if the connection is not the same any more.
   */
  async confirms(marks: MarksState | undefined, number: number, budget: CallBudget): Promise<boolean> {
    if (number !== this.number || !this.online) return false;
    if (!(await this.learnMarks(marks, budget))) return false;
    return number === this.number && this.online && !this.cold;
  }

  /** Whether everything that changes in Redis is known here in a moment: keys, and the marks that hide them. */
  get coherent(): boolean {
    return this.online && !this.cold && this.marksSeen === this.marksTold && this.state.coherence.isArmed;
  }

  /** The record of the marks has changed, here or by others. */
  marksChanged(): void {
    this.marksTold += 1;
    if (!this.online || this.followingMarks) return;
    this.followingMarks = true;
    this.followMarks()
      .catch((error: unknown) => this.fault(error))
      .finally(() => {
        this.followingMarks = false;
      });
  }

  private async followMarks(): Promise<void> {
    while (this.online && this.marksSeen !== this.marksTold) {
      const told = this.marksTold;
      const { marks } = await this.options.remote.check([]);
      if (!this.hasMarks(marks)) await this.exchangeMarks();
      this.marksSeen = told;
    }
  }

  /** Merges the marks, if they are not those that are known here. False if that can't be done. */
  async learnMarks(marks: MarksState | undefined, budget: CallBudget): Promise<boolean> {
    if (this.hasMarks(marks)) return true;
    try {
      await budget.spend(() => this.exchangeMarks(), 'several');
      return true;
    } catch (error) {
      this.state.noteUnavailable(error);
      return false;
    }
  }

  get current(): number {
    return this.number;
  }

  /** Tells Redis our marks, and learns its own. Calls that come while one waits share it. */
  exchangeMarks(): Promise<MarksExchange> {
    this.waitingExchange ??= this.exchanging
      .catch(() => {})
      .then(() => {
        this.waitingExchange = undefined;
        return this.exchange();
      });
    this.exchanging = this.waitingExchange;
    return this.waitingExchange;
  }

  /** There is a mark that Redis does not have: it is told at the connect, also if that has begun, or at a heartbeat. */
  tellMarksLater(): void {
    this.marksUntold = true;
  }

  /** Sends what waits, in the background. */
  drain(): void {
    if (!this.online || this.draining !== undefined || this.state.outbox.pendingCount === 0) return;
    this.draining = this.drainAll(this.number)
      .catch((error: unknown) => this.fault(error))
      .finally(() => {
        this.draining = undefined;
      });
  }

  /** Frees the memory of what was marked here, in the background, at a heartbeat. */
  reclaim(): void {
    this.reclaimWanted = true;
  }

  /** Redis went away, or was not able to: the connection tells of it, and the next heartbeat tries again. */
  fault(error: unknown): void {
    if (error instanceof StorageUnavailableError) this.state.noteUnavailable(error);
    else this.state.swallow(error);
  }

  /** A stamp of ours was too far ahead for Redis: the clock goes by its answer from now on. */
  realign(redisMs: number): void {
    const { clock } = this.state;
    const correctionMs = clock.align(redisMs, clock.machineTime());
    this.noteCorrection(correctionMs);
    const limit = clock.time() + CLOCK_AHEAD_MS;
    this.restamp((version) => versionMs(version) > limit, correctionMs);
  }

  private async begin(number: number): Promise<void> {
    if (this.beginning) return;
    this.beginning = true;
    try {
      await this.introduce(number);
    } catch (error) {
      this.fault(error);
      if (number === this.number) this.tellOfFailure(error);
    } finally {
      this.beginning = false;
    }
    // The connection may have come anew meanwhile.
    if (this.wanted && number !== this.number) await this.begin(this.number);
  }

  /** Once, until it is online; a connection that was lost tells of itself. */
  private tellOfFailure(error: unknown): void {
    if (this.hasToldOfFailure || !this.options.remote.available) return;
    this.hasToldOfFailure = true;
    const reason = error instanceof Error ? error.message : String(error);
    this.state.onEvent({ type: 'merge_failed', reason });
  }

  private async introduce(number: number): Promise<void> {
    const { state, options } = this;
    const told = this.marksTold;
    this.isNewServer = true;
    const begunMs = state.clock.machineTime();
    const { runId, redisMs } = await options.remote.hello();
    const correctionMs = state.clock.align(redisMs, begunMs);
    // The clock may have been aligned by another namespace, before or after what waits here was stamped.
    if (this.hasRestamped) this.noteCorrection(correctionMs);
    else this.restamp((version) => !isAligned(version), state.clock.firstCorrectionMs);
    this.hasRestamped = true;
    await this.exchangeMarks();
    if (number !== this.number || this.marksState === undefined) return;
    const { incarnation } = this.marksState;
    const otherProcess = this.acquaintance !== undefined && this.acquaintance.runId !== runId;
    // What lay on this disk before there was a Redis is offered to it.
    const neverMet = this.acquaintance === undefined && state.persistence.isDurable;
    // Another process may have come back with what it had saved long ago.
    if (neverMet || otherProcess) this.dataLost = true;
    this.acquaintance = { runId, incarnation };
    await this.reopen();
    if (number !== this.number) return;
    this.marksSeen = told;
    this.online = true;
    this.hasToldOfFailure = false;
    options.onOnline();
    void this.saveState();
    const pending = state.outbox.pendingCount;
    if (pending > 0 || this.dataLost) {
      state.onEvent({ type: 'merge_begun', pending, dataLost: this.dataLost });
    }
    // What was marked since the exchange above.
    if (this.marksUntold) this.exchangeMarks().catch((error: unknown) => this.fault(error));
    this.drain();
    this.offer();
  }

  /**
   * Acknowledged is not kept: what Redis took a moment ago it may have lost with its process, and all of it with its
   * data. Values are not kept here once Redis has them, so they come from the local storage.
   */
  private async reopen(): Promise<void> {
    const { outbox, clock, local, codec } = this.state;
    const nowMs = clock.machineTime();
    const since = this.dataLost ? 0 : nowMs - this.options.ackWindowMs;
    const acknowledged = [...outbox.all()].filter(({ state }) => state === 'acknowledged');
    // The newest first: they are the likeliest to be lost, and there may not be room for all.
    for (const [index, { mutation, sinceMs }] of acknowledged.toReversed().entries()) {
      if (sinceMs < since) continue;
      if (index % 100 === 99) await this.pause(0);
      const { key, version, expiresAt } = mutation;
      const entry = expiresAt === 0 ? undefined : await local.get(key);
      // What has expired still replaces what is older.
      if (expiresAt <= clock.time()) outbox.reopen(key, version, undefined, nowMs);
      else if (entry?.version === version && !outbox.reopen(key, version, codec.encode(key, entry), nowMs))
        return;
    }
  }

  private async exchange(): Promise<MarksExchange> {
    const { state, options } = this;
    const former = this.marksState?.incarnation ?? this.acquaintance?.incarnation;
    // Its birth stands in its name: whoever has no memory of it knows how young it is.
    const nowMs = Math.floor(state.clock.time());
    const fresh = `${nowMs.toString(16)}-${options.random().toString(16).slice(2)}`;
    const { number } = this;
    const since = this.isNewServer ? undefined : this.marksState;
    if (since === undefined) this.toldMarks.clear();
    const ours = state.marks.beyond(this.toldMarks);
    this.marksUntold = true;
    const answer = await options.remote.exchangeMarks(ours, fresh, since);
    if (number === this.number) this.isNewServer = false;
    const limit = answer.redisMs + CLOCK_AHEAD_MS;
    const notTaken = [...ours.values()].some((version) => versionMs(version) > limit);
    if (notTaken) this.realign(answer.redisMs);
    for (const version of answer.marks.values()) state.clock.observe(version);
    if (state.marks.merge(answer.marks)) state.saveMarks();
    if (answer.isWhole) this.toldMarks.clear();
    for (const [name, version] of answer.marks) this.toldMarks.set(name, version);
    if (this.toldMarks.size > 2 * state.marks.size + 100) this.forgetToldMarks();
    const isMissing = state.marks.beyond(this.toldMarks).size > 0;
    this.marksUntold = isMissing;
    this.marksState = { incarnation: answer.incarnation, revision: answer.revision };
    if (former === undefined) this.beCold(nowMs - Number.parseInt(answer.incarnation, 16));
    else if (former !== answer.incarnation) this.noteLoss();
    // It is another record, which does not have what the last one had.
    return notTaken || (isMissing && answer.isWhole && ours.size < state.marks.record().size)
      ? this.exchange()
      : answer;
  }

  /** Of what has been folded or has expired. */
  private forgetToldMarks(): void {
    const record = this.state.marks.record();
    for (const name of this.toldMarks.keys()) if (!record.has(name)) this.toldMarks.delete(name);
  }

  /**
   * A cold joiner believes nothing for a heartbeat, in which those who remember more restore it. In a Redis that was
   * empty there was nothing to remember.
   */
  private beCold(ageMs: number): void {
    const forMs = 2 * this.options.heartbeatMs - Math.max(0, ageMs);
    if (!(forMs > 0)) return;
    this.cold = true;
    this.options.timers.set(forMs, () => {
      this.cold = false;
    });
  }

  private noteLoss(): void {
    if (!this.dataLost) this.state.onEvent({ type: 'data_lost' });
    this.dataLost = true;
    this.losses += 1;
    const { marksState, acquaintance } = this;
    if (marksState !== undefined && acquaintance !== undefined) {
      this.acquaintance = { ...acquaintance, incarnation: marksState.incarnation };
      void this.saveState();
    }
    if (!this.online) return;
    void this.reopen().then(
      () => this.drain(),
      (error: unknown) => this.fault(error),
    );
    this.offer();
  }

  private hasMarks(marks: MarksState | undefined): boolean {
    return (
      marks !== undefined &&
      marks.incarnation === this.marksState?.incarnation &&
      marks.revision === this.marksState.revision
    );
  }

  /** Everything that is due at intervals, connected or not. */
  private schedule(): void {
    if (this.closed) return;
    this.heartbeat = this.options.timers.set(this.options.heartbeatMs, () => {
      void this.beat()
        .catch((error: unknown) => this.fault(error))
        .finally(() => this.schedule());
    });
  }

  private async beat(): Promise<void> {
    const { state, options } = this;
    this.forget();
    if (this.wanted && !this.online) return this.begin(this.number);
    if (!this.online) return;
    const number = this.number;
    const sentMs = state.clock.machineTime();
    const told = this.marksTold;
    const { redisMs, marks } = await options.remote.beat();
    if (number !== this.number) return;
    this.noteCorrection(state.clock.align(redisMs, sentMs));
    if (this.marksUntold || !this.hasMarks(marks)) await this.exchangeMarks();
    this.marksSeen = told;
    if (state.clock.last() > this.savedVersion) await this.saveState();
    this.drain();
    this.offer();
    this.sweep();
  }

  private forget(): void {
    const { outbox, marks, clock } = this.state;
    const { ackWindowMs, seenLifeMs, tombstoneLifeMs, maxLifeMs } = this.options;
    const nowMs = clock.machineTime();
    const oldest = this.versionBefore(tombstoneLifeMs);
    this.state.save(outbox.expire(nowMs - ackWindowMs, nowMs - seenLifeMs, oldest));
    marks.expire(this.versionBefore(maxLifeMs + CLOCK_AHEAD_MS));
  }

  /** Below every version of the last `ms`. */
  private versionBefore(ms: number): string {
    const atMs = Math.max(0, Math.floor(this.state.clock.time() - ms));
    return atMs.toString(16).padStart(12, '0');
  }

  private async drainAll(number: number): Promise<void> {
    const { state, options } = this;
    const begunMs = state.clock.machineTime();
    const before = { ...state.counts };
    let toldMs = begunMs;
    let [maxBytes, maxEntries] = [options.drainBatchBytes, options.drainBatchEntries];
    while (number === this.number && this.online) {
      const batch = state.outbox.batch(maxBytes, maxEntries).map((mutation) => this.asSent(mutation));
      if (batch.length === 0) break;
      try {
        if (!(await this.send(batch))) break;
      } catch (error) {
        this.fault(error);
        // Where the connection is sound, the batch was too much for the time that it had.
        if (batch.length === 1) break;
        [maxBytes, maxEntries] = [maxBytes / 2, Math.ceil(batch.length / 2)];
      }
      const nowMs = state.clock.machineTime();
      if (nowMs - toldMs < PROGRESS_EVERY_MS) continue;
      toldMs = nowMs;
      const merged = state.counts.merged - before.merged;
      state.onEvent({ type: 'merge_progress', merged, pending: state.outbox.pendingCount });
    }
    if (state.outbox.pendingCount > 0) return;
    state.overflowing = false;
    const merged = state.counts.merged - before.merged;
    const superseded = state.counts.superseded - before.superseded;
    const ms = Math.round(state.clock.machineTime() - begunMs);
    if (merged + superseded > 0) state.onEvent({ type: 'merge_done', merged, superseded, ms });
  }

  /** A value that has expired goes as the tombstone of its version: it still replaces what is older. */
  private asSent(mutation: Mutation): Mutation {
    if (mutation.bytes === undefined || mutation.expiresAt > this.state.clock.time()) return mutation;
    this.state.counts.expired += 1;
    this.state.outbox.shrink(mutation);
    return tombstoneOf(mutation);
  }

  /** False if there is no use in going on now. */
  private async send(batch: readonly Mutation[]): Promise<boolean> {
    const { state, options, losses } = this;
    const outcomes = await options.remote.apply(batch, { live: false, timeoutMs: options.drainTimeoutMs });
    const taken = outcomes.filter(({ kind }) => kind !== 'refused').length;
    for (const [index, mutation] of batch.entries()) {
      const outcome = outcomes[index];
      switch (outcome?.kind) {
        case 'applied':
          state.counts.merged += 1;
          state.clock.observe(mutation.version);
          if (losses === this.losses) state.outbox.acknowledge(mutation, state.clock.machineTime());
          break;
        case 'superseded':
          await state.learn(mutation.key, outcome.version, 'unknown', mutation.version);
          break;
        case 'ahead':
          this.realign(outcome.redisMs);
          break;
        case 'refused':
          state.counts.refused += 1;
          // A full Redis takes deletes, and refuses every set.
          if (outcome.ofAll === undefined ? taken > 0 : !outcome.ofAll) this.park(mutation, outcome.reason);
          break;
        case undefined:
      }
    }
    state.save(batch.map(({ key }) => key));
    return taken > 0;
  }

  private park(mutation: Mutation, reason: string): void {
    const { outbox, counts, onEvent } = this.state;
    if (outbox.refused(mutation) < REFUSALS_UNTIL_PARKED || mutation.bytes === undefined) return;
    counts.parked += 1;
    onEvent({ type: 'parked', bytes: mutation.bytes.length, reason });
    outbox.shrink(mutation);
  }

  /** Gives back to a Redis that has lost its data what is still alive here, at a pace that leaves room for others. */
  private offer(): void {
    if (!this.dataLost || !this.online || this.offering !== undefined) return;
    this.offering = this.offerAll(this.number)
      .catch((error: unknown) => this.fault(error))
      .finally(() => {
        this.offering = undefined;
      });
  }

  private async offerAll(number: number): Promise<void> {
    const { state, options } = this;
    const { evictedKeys } = await options.remote.beat();
    let batch: Mutation[] = [];
    let bytes = 0;
    let offered = 0;
    for await (const key of state.local.keys()) {
      if (number !== this.number || !this.online) return;
      const known = await state.known(key);
      const entry = known?.pending === false ? state.visible(known.entry) : undefined;
      if (entry === undefined) continue;
      const { version, expiresAt } = entry;
      const body = state.codec.encode(key, entry);
      batch.push({ key, version, bytes: body, expiresAt });
      bytes += body.length;
      if (batch.length < options.drainBatchEntries && bytes < options.drainBatchBytes) continue;
      const taken = await this.offerBatch(batch);
      if (taken === undefined) return;
      offered += taken;
      [batch, bytes] = [[], 0];
      // It makes room by dropping what others want: no more of that.
      if ((await options.remote.beat()).evictedKeys > evictedKeys) break;
      await this.pause(options.random() * 20);
    }
    const taken = await this.offerBatch(batch);
    if (taken === undefined || number !== this.number) return;
    offered += taken;
    this.dataLost = false;
    state.onEvent({ type: 'offer_done', offered });
  }

  /** How many it took; undefined: it takes nothing now, and is offered all again at the next heartbeat. */
  private async offerBatch(batch: readonly Mutation[]): Promise<number | undefined> {
    if (batch.length === 0) return 0;
    const { state } = this;
    const outcomes = await this.applied(batch);
    if (outcomes === undefined) {
      // Where the connection is sound, it was too much for the time that it had; alone, it is let be.
      if (batch.length === 1) return 0;
      const middle = Math.ceil(batch.length / 2);
      const first = await this.offerBatch(batch.slice(0, middle));
      const second = first === undefined ? undefined : await this.offerBatch(batch.slice(middle));
      return first === undefined || second === undefined ? undefined : first + second;
    }
    for (const [index, { key, version }] of batch.entries()) {
      const outcome = outcomes[index];
      if (outcome?.kind === 'superseded') await state.learn(key, outcome.version, 'unknown', version);
    }
    const applied = outcomes.filter(({ kind }) => kind === 'applied').length;
    state.counts.offered += applied;
    return isRefusedAll(outcomes) ? undefined : applied;
  }

  /** Undefined at a time-out of a connection that is sound. */
  private async applied(batch: readonly Mutation[]): Promise<ApplyOutcome[] | undefined> {
    const { remote, drainTimeoutMs } = this.options;
    const number = this.number;
    try {
      return await remote.apply(batch, { live: false, timeoutMs: drainTimeoutMs });
    } catch (error) {
      this.fault(error);
      if (number === this.number && remote.available) return undefined;
      throw error;
    }
  }

  private sweep(): void {
    const nowMs = this.state.clock.machineTime();
    if (!this.reclaimWanted || this.reclaiming !== undefined || nowMs < this.reclaimNotBeforeMs) return;
    this.reclaimWanted = false;
    this.reclaimNotBeforeMs = nowMs + RECLAIM_INTERVAL_MS;
    this.reclaiming = this.reclaimAll(this.number)
      .catch((error: unknown) => {
        this.reclaimWanted = true;
        this.fault(error);
      })
      .finally(() => {
        this.reclaiming = undefined;
      });
  }

  /** What is dead by its tags shows in its body only, so every value that is older than a mark is fetched once. */
  private async reclaimAll(number: number): Promise<void> {
    const { state, options } = this;
    const { marks, codec, counts } = state;
    const newest = marks.newestOfTags;
    const isDead = (key: string, bytes: Uint8Array): boolean => {
      const entry = codec.decode(key, bytes);
      return entry !== undefined && marks.hides(entry);
    };
    const pause = async (): Promise<void> => {
      await this.pause(options.random() * RECLAIM_REST_MS);
      if (number !== this.number) throw new StorageUnavailableError('redis', 'the connection was lost');
    };
    counts.reclaimed += await options.remote.reclaim({
      clear: marks.clear,
      ...(newest === '' ? {} : { tagged: { newest, isDead } }),
      pause,
    });
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.options.timers.set(ms, resolve));
  }

  /**
   * Makes stamps of a clock that was wrong anew: by their age, in their order, never above now. Only what waits here
   * can have such stamps, for nothing else was sent.
   */
  private restamp(isWrong: (version: string) => boolean, byMs: number): void {
    const { clock, outbox, marks } = this.state;
    const items = [...outbox.all()].filter(({ mutation }) => isWrong(mutation.version));
    const changes = [
      ...items.map(({ mutation }) => ({
        version: mutation.version,
        change: (version: string) => this.restampItem(mutation, version, byMs),
      })),
      ...[...marks.record()]
        .filter(([, version]) => isWrong(version))
        .map(([name, version]) => ({ version, change: (next: string) => marks.restamp(name, next) })),
    ].sort((a, b) => (a.version < b.version ? -1 : 1));
    clock.rewind(isWrong);
    const known = [...[...outbox.all()].map(({ mutation }) => mutation.version), ...marks.record().values()];
    for (const version of known) if (!isWrong(version)) clock.observe(version);
    for (const { version, change } of changes) {
      change(clock.stampAt(Math.floor(Math.min(versionMs(version) + byMs, clock.time()))));
    }
    if (changes.length === 0) return;
    this.state.save(items.map(({ mutation }) => mutation.key));
    this.state.saveMarks();
  }

  private restampItem(former: Mutation, version: string, byMs: number): void {
    const { outbox, codec, local } = this.state;
    const { key, bytes } = former;
    const entry = bytes && codec.decode(key, bytes);
    if (entry === undefined) return outbox.restamp(former, { ...former, version });
    const next = stampedAnew(entry, version, byMs);
    outbox.restamp(former, { key, version, bytes: codec.encode(key, next), expiresAt: next.expiresAt });
    local.replace(key, former.version, next).catch((error: unknown) => this.state.swallow(error));
  }

  private noteCorrection(byMs: number): void {
    if (Math.abs(byMs) < CORRECTION_NOTED_MS) return;
    this.state.counts.clockCorrections += 1;
    this.state.onEvent({ type: 'clock_corrected', byMs });
  }

  private saveState(): Promise<void> {
    const { persistence, clock } = this.state;
    this.savedVersion = clock.last();
    return persistence
      .saveState(this.acquaintance, clock.last())
      .catch((error: unknown) => this.state.swallow(error));
  }
}

/** It is full, or read-only; a value that is too large says nothing of others. */
function isRefusedAll(outcomes: readonly ApplyOutcome[]): boolean {
  const hasTaken = outcomes.some(({ kind }) => kind !== 'refused');
  return outcomes.some((outcome) => outcome.kind === 'refused' && (outcome.ofAll ?? !hasTaken));
}

import { isAligned } from '../../src/cache/replication/clock.js';
import type { Mutation } from '../../src/cache/replication/mutation.js';
import { guardUntil } from '../../src/cache/replication/mutation.js';
import type { MarksRecord } from '../../src/cache/replication/remote.js';
import type { CacheEntry } from '../../src/cache/storage/cache-entry.js';
import type {
  MarkRecord,
  Outcome,
  Payload,
  ProcessRecord,
  ReadRecord,
  Violation,
  WriteRecord,
} from './history.js';
import { concerns, endedBefore, hiddenBy, isAccepted, isDead } from './history.js';
import { CoherenceOracle } from './coherence-oracle.js';
import { FlightOracle } from './flight-oracle.js';
import type { ModelRedis, RedisObserver } from './model-redis.js';

/** What a process learned of others: nothing older may come back there. */
export interface Knowledge {
  /** By key: the newest version seen, with and without a value, and when. */
  readonly seen: Map<string, { readonly version: string; readonly at: number }>;
  readonly gone: Map<string, { readonly version: string; readonly at: number }>;
  /** In the order in which they came to its knowledge. */
  readonly marks: { readonly name: string; readonly version: string; readonly at: number }[];
}

/** What can be asked of the clock of a process. */
export interface StampView {
  readonly time: number;
  readonly errorMs: number;
  readonly aligned: boolean;
}

/** What is to be served of a key when all have merged. */
export interface Settled {
  readonly visible: string | undefined;
  readonly accepts: (version: string | undefined) => boolean;
}

export interface OracleOptions {
  /** Of Redis. */
  readonly time: () => number;
  /** Of the world, which does not step. */
  readonly trueTime: () => number;
  /** Since the start, without leaps. */
  readonly nowMs: () => number;
  readonly maxLifeMs: number;
}

const TOLERANCE_MS = 2;
/** Somewhat less than the window of acknowledged writes. */
const SURELY_KEPT_MS = 25_000;
/** Less than a fence stands. */
const FENCE_MS = 5 * 60_000;

/**
 * Knows everything that was done, and by whom, and compares it with what is served. It fails at the first broken
 * promise: what the instances can be excused for is stated with each check, and nothing else is excused.
 */
export class Oracle implements RedisObserver {
  violation: Violation | undefined;
  /** All have merged with all: from now on nobody serves what anybody has deleted. */
  merged = false;
  readonly writes: WriteRecord[] = [];
  readonly markRecords: MarkRecord[] = [];
  readonly coherence: CoherenceOracle;
  readonly flights: FlightOracle;
  private redisClock = 0;
  private order = 0;
  private readonly byKey = new Map<string, WriteRecord[]>();
  private readonly byVersion = new Map<string, WriteRecord>();
  private readonly knowledge = new Map<ProcessRecord, Knowledge>();
  private readonly lostAt = new Map<string, number>();
  private readonly evictedAt = new Map<string, number>();
  private readonly fadesMs = new Map<string, number>();
  private readonly touchedAt = new Map<
    string,
    { readonly at: number; readonly by: WriteRecord | undefined }[]
  >();
  private readonly fences = new Map<string, number>();
  private readonly lossesMs: number[] = [];
  private allLostAt = 0;
  private marksLostAt = 0;

  constructor(private readonly options: OracleOptions) {
    const view = {
      nowMs: options.nowMs,
      next: () => this.next(),
      redisClock: () => this.redisClock,
      fail: (promise: string, detail: string) => this.fail(promise, detail),
    };
    this.coherence = new CoherenceOracle({
      ...view,
      isLostSince: (key, at) => (key === undefined ? this.marksLostAt > at : this.isForgottenSince(key, at)),
    });
    this.flights = new FlightOracle({
      ...view,
      isLive: ({ expiresAt, shrunk }) => !shrunk && expiresAt > options.time() + TOLERANCE_MS,
      isUntouched: (key, sinceAt, but) =>
        !this.isForgottenSince(key, sinceAt) &&
        !(this.touchedAt.get(key) ?? []).some(
          ({ at, by }) => at > sinceAt && by !== undefined && by !== but,
        ) &&
        !this.markRecords.some(({ endedAt = Infinity }) => endedAt > sinceAt),
    });
  }

  /** Another server with another clock takes over, by which what has expired may live again. */
  redisClockChanges(): void {
    this.redisClock += 1;
    for (const record of this.writes) record.lapsed ||= record.expiresAt <= this.options.time();
  }

  /** A number for what happens now. */
  next(): number {
    return (this.order += 1);
  }

  fail(promise: string, detail: string): void {
    this.violation ??= { promise, detail };
  }

  // --- What the instances do

  begin(
    process: ProcessRecord,
    kind: WriteRecord['kind'],
    key: string,
    tags: readonly string[],
  ): WriteRecord {
    const record: WriteRecord = {
      ...this.started(process),
      id: this.writes.length,
      kind,
      key,
      tags,
      expiresAt: 0,
      shrunk: false,
      lapsed: false,
      issuedAt: undefined,
      completedAt: undefined,
      fencedAt: undefined,
      issuedMs: 0,
      appliedMs: undefined,
      coveredAt: undefined,
    };
    this.writes.push(record);
    this.writesOf(key).push(record);
    return record;
  }

  end(record: WriteRecord, outcome: Outcome): void {
    record.endedAt = this.next();
    record.outcome = outcome;
    if (record.kind === 'compute') this.checkFactory(record);
    else if (outcome === 'redis') this.checkRealTime(record);
    else if (outcome === 'superseded') this.checkNotLostToSkew(record);
  }

  /** A factory's version was issued. */
  issued(record: WriteRecord, version: string, clock: StampView): void {
    record.issuedAt = this.next();
    record.issuedMs = this.options.time();
    record.fencedAt = this.fences.get(nameOf(record.key, version));
    this.stamp(record, version, clock);
  }

  /** An attempt of a write, about to be sent or queued. */
  attempted(process: ProcessRecord, mutation: Mutation, clock: StampView): void {
    const record = this.recordOf(process, mutation);
    if (record === undefined || record.process !== process || record.version === mutation.version) return;
    this.stamp(record, mutation.version, clock);
    // The clock was set back, and what waited under a stamp of before is replaced all the same.
    for (const older of this.writesOf(record.key)) {
      if (older.process.node !== process.node || older.begunAt >= record.begunAt) continue;
      if (older.version > record.version) older.replaced = true;
    }
  }

  encoded(key: string, entry: CacheEntry): void {
    const record = this.writes[(entry.value as Payload).id];
    if (record?.key !== key) return this.fail('P8', `${key} was given the value of ${record?.key}`);
    this.byVersion.set(nameOf(key, entry.version), record);
    if (record.version === '' || record.outcome === 'running') record.expiresAt = entry.expiresAt;
  }

  /** A version was replaced by one of a better clock, and with it what it had replaced itself. */
  restamped(process: ProcessRecord, former: Mutation, next: Mutation): void {
    const record = this.byVersion.get(nameOf(former.key, former.version));
    if (record === undefined) return;
    for (const older of this.writesOf(former.key)) {
      if (older !== record && older.process.node === process.node && older.version <= former.version) {
        older.replaced = true;
      }
    }
    this.register(record, next.version);
    this.anew(record);
    if (next.expiresAt > 0) record.expiresAt = next.expiresAt;
  }

  shrunk(key: string, version: string): void {
    const record = this.byVersion.get(nameOf(key, version));
    if (record !== undefined) record.shrunk = true;
  }

  marking(process: ProcessRecord, name: string, version: string, clock: StampView): MarkRecord {
    const record: MarkRecord = { ...this.started(process), name, version };
    record.errorMs = this.errorOf(clock);
    this.markRecords.push(record);
    return record;
  }

  endMark(record: MarkRecord, outcome: Outcome): void {
    record.endedAt = this.next();
    record.outcome = outcome;
    this.checkMarkAboveAnswered(record);
  }

  /** A full outbox became a clear: of what is older, but not at the time of its stamp. */
  folded(process: ProcessRecord, version: string, clock: StampView): void {
    const record = this.marking(process, 'clear', version, clock);
    record.replaced = true;
    record.outcome = 'outbox';
    record.endedAt = this.next();
  }

  restampedMark(process: ProcessRecord, name: string, former: string, next: string): void {
    for (const record of this.markRecords) {
      const isMeant = record.name === name || (name === 'floor' && record.name !== 'clear');
      if (record.process.node !== process.node || !isMeant) continue;
      // By the clock of another Redis the new one may be before what was right by the former one.
      if (record.version > next && record.redisClock !== this.redisClock) record.replaced = true;
      if (record.version > former) continue;
      if (record.appliedAt !== undefined) continue;
      record.replaced ||= record.version !== former;
      record.version = next;
      this.anew(record);
    }
    // A clear stands for what it cleared, which is not sent any more.
    if (name !== 'clear') return;
    for (const record of this.writes) {
      if (record.process.node !== process.node || record.version > former) continue;
      if (record.appliedAt === undefined || this.isForgotten(record)) record.replaced = true;
    }
  }

  know(process: ProcessRecord): Knowledge {
    let knowledge = this.knowledge.get(process);
    if (knowledge === undefined) {
      knowledge = { seen: new Map(), gone: new Map(), marks: [] };
      this.knowledge.set(process, knowledge);
    }
    return knowledge;
  }

  learned(process: ProcessRecord, key: string, version: string, isGone: boolean): void {
    const { seen, gone } = this.know(process);
    const at = this.next();
    if ((seen.get(key)?.version ?? '') < version) seen.set(key, { version, at });
    if (isGone && (gone.get(key)?.version ?? '') < version) gone.set(key, { version, at });
  }

  learnedMarks(process: ProcessRecord, marks: MarksRecord): void {
    const known = this.know(process).marks;
    for (const [name, version] of marks) {
      if (!known.some((mark) => mark.name === name && mark.version >= version))
        known.push({ name, version, at: this.next() });
    }
  }

  // --- What happens in Redis

  applied(mutation: Mutation, deleted: boolean): void {
    const { key, version } = mutation;
    const record = this.byVersion.get(nameOf(key, version));
    if (record === undefined)
      return this.fail('P8', `Redis was sent ${version} of ${key}, that nobody wrote`);
    if (deleted && record.kind !== 'delete') record.shrunk = true;
    if (!deleted && mutation.expiresAt > record.expiresAt + TOLERANCE_MS)
      this.fail('expiry', `${key} ${version} was renewed by ${mutation.expiresAt - record.expiresAt} ms`);
    if (this.hasFaded(key)) this.evictedAt.set(key, this.next());
    this.fadesMs.delete(key);
    this.coherence.applied(key, version);
    const at = this.next();
    if (record.version === version) this.reached(record, at);
    for (const older of this.writesOf(key))
      if (older.version < version && isAligned(older.version)) older.coveredAt ??= at;
    this.touch(key, record, at);
  }

  /** As good as applied: Redis knows something newer. */
  superseded({ key, version }: Mutation): void {
    const record = this.byVersion.get(nameOf(key, version));
    // A former stamp of it may arrive a second time.
    if (record?.version !== version) return;
    this.reached(record, this.next());
    record.coveredAt ??= this.order;
  }

  fenced(key: string, version: string): void {
    const at = this.next();
    this.fences.set(nameOf(key, version), at);
    this.touch(key, undefined, at);
  }

  leased(key: string, token: string): void {
    this.flights.leased(key, token);
  }

  marked(marks: MarksRecord): void {
    this.coherence.marked(marks);
    const at = this.next();
    for (const record of this.markRecords) {
      if (record.appliedAt !== undefined || !isAligned(record.version)) continue;
      if ((marks.get(record.name) ?? '') >= record.version) record.appliedAt = at;
    }
  }

  lost(keys: readonly string[] | undefined, how: 'loss' | 'eviction'): void {
    const at = this.next();
    this.lossesMs.push(this.options.trueTime());
    if (keys === undefined) this.allLostAt = at;
    for (const key of keys ?? []) (how === 'loss' ? this.lostAt : this.evictedAt).set(key, at);
  }

  fades(key: string, atMs: number): void {
    this.fadesMs.set(key, atMs);
  }

  /** Whatever was lost before may be noticed only now. */
  leapt(): void {
    if (this.lossesMs.length > 0) this.lossesMs.push(this.options.trueTime());
  }

  lostMarks(): void {
    this.marksLostAt = this.next();
  }

  // --- What is served

  reading(process: ProcessRecord, keys: readonly string[], redis: ModelRedis): ReadRecord {
    const begunMs = this.options.nowMs();
    return { process, keys, begunAt: this.next(), begunMs, marks: redis.marks?.versions };
  }

  /** `online`: Redis was there for it all the time. */
  served(read: ReadRecord, key: string, entry: CacheEntry, from: 'local' | 'redis', online: boolean): void {
    const record = this.byVersion.get(nameOf(key, entry.version));
    const { id } = entry.value as Payload;
    if (record?.id !== id)
      return this.fail('P8', `${key}: version ${entry.version} has the value of write ${id}`);
    this.checkOwnWrites(read, key, entry);
    this.checkSeen(read, key, entry, from);
    this.checkMarks(read, key, entry, from);
    if (from === 'local' && online) this.coherence.served(read, key, entry);
    if (this.merged) this.checkMerged(read, key, entry);
  }

  // --- At the end, when everything is healed and merged

  /** Of one key: what Redis has, against what was accepted; returns what everybody has to serve. */
  settle(key: string, redis: ModelRedis): Settled {
    const { value, guard } = redis.slot(key);
    const newest = guard?.version ?? value?.version ?? '';
    const marks = redis.marks?.versions ?? new Map<string, string>();
    const cleared = marks.get('clear') ?? '';
    for (const record of this.writesOf(key)) {
      if (record.kind === 'delete' ? record.version > cleared : hiddenBy(marks, record) === undefined)
        this.checkKept(record, newest, value?.version);
    }
    this.checkOwnOrder(key);
    if (value !== undefined && hiddenBy(marks, { ...value, tags: [] }) === undefined)
      this.checkRemembered(key, newest);
    const winner = this.byVersion.get(nameOf(key, newest));
    if (newest !== '' && winner === undefined) this.fail('P8', `${key}: nobody wrote ${newest}`);
    const brief = winner !== undefined && winner.kind !== 'delete' && this.isBrief(winner);
    if (winner !== undefined && !brief) this.checkWinner(winner, value !== undefined, marks);
    const isVisible =
      value !== undefined &&
      winner !== undefined &&
      hiddenBy(marks, { ...winner, version: newest }) === undefined;
    const visible = isVisible ? value.version : undefined;
    // Redis forgot what had replaced it, and was not told of that any more; who remembers it has a miss.
    const mayMiss = this.writesOf(key).some((record) => record.version > newest && this.isForgotten(record));
    const accepts = (version: string | undefined): boolean =>
      brief || version === visible || (mayMiss && version === undefined);
    return { visible, accepts };
  }

  /** What waits anywhere is sent, whether somebody reads it or not. */
  checkDrained(redis: ModelRedis): void {
    const marks = redis.marks?.versions ?? new Map<string, string>();
    for (const record of this.writes) {
      if (record.appliedAt !== undefined || isDead(record) || !this.isOwed(record)) continue;
      const { key, version } = record;
      const { value, guard } = redis.slot(key);
      const newest = guard?.version ?? value?.version ?? '';
      if (newest >= version || this.hasExpired(version) || hiddenBy(marks, record) !== undefined) continue;
      this.fail('P2 drained', `${key}: ${version} of node ${record.process.node} was not sent`);
    }
  }

  settleMarks(marks: MarksRecord): void {
    const floor = marks.get('floor') ?? '';
    for (const record of this.markRecords) {
      if (!this.isMarkOwed(record)) continue;
      const { name, version } = record;
      if ((marks.get(name) ?? '') >= version || (name !== 'clear' && floor >= version)) continue;
      if (guardUntil(version, this.options.maxLifeMs) <= this.options.time()) continue;
      this.fail('P2 marks', `${name} ${version} of node ${record.process.node} is not in Redis`);
    }
  }

  /** Calls that never came back. */
  checkAllEnded(): void {
    for (const record of [...this.writes, ...this.markRecords]) {
      if (record.outcome === 'running' && !isDead(record) && record.version !== '')
        this.fail('P1', `a write of ${record.version} never ended`);
    }
  }

  // --- Checks

  /** A later-begun live write has a greater version than one that Redis had answered. */
  private checkRealTime(record: WriteRecord): void {
    for (const former of this.writesOf(record.key)) {
      if (former === record || former.outcome !== 'redis' || former.kind === 'compute') continue;
      if (!endedBefore(former, record.begunAt) || this.isForgotten(former)) continue;
      if (former.version > record.version)
        this.fail('order', `${record.key}: ${record.version} began after ${former.version} was answered`);
    }
  }

  /** `superseded` is an answer to a live caller only if somebody else wrote the key meanwhile. */
  private checkNotLostToSkew(record: WriteRecord): void {
    const touches = this.touchedAt.get(record.key) ?? [];
    if (touches.some(({ at, by }) => at > record.begunAt && by !== record)) return;
    const isLater = (other: WriteRecord | MarkRecord): boolean =>
      other.process === record.process && other.begunAt > record.begunAt;
    if (this.writesOf(record.key).some(isLater) || this.markRecords.some(isLater)) return;
    this.fail('skew', `${record.key}: ${record.version} was superseded, and nobody wrote meanwhile`);
  }

  /** What was deleted, cleared or invalidated during the run of a factory is above its result. */
  private checkFactory(record: WriteRecord): void {
    const { issuedAt, completedAt } = record;
    if (issuedAt === undefined || completedAt === undefined || !isAccepted(record)) return;
    const during = (other: WriteRecord | MarkRecord): boolean =>
      other.begunAt > issuedAt && endedBefore(other, completedAt) && isAccepted(other);
    for (const other of this.writesOf(record.key)) {
      if (other.kind !== 'delete' || !during(other) || other.version > record.version) continue;
      if (this.isMisplaced(other, record)) continue;
      const fenced = other.outcome === 'redis' && this.fenceStands(record);
      if (fenced || other.process === record.process)
        this.fail(
          'factory',
          `${record.key}: ${record.version} is above the delete ${other.version} of its run`,
        );
    }
    for (const mark of this.markRecords) {
      if (!during(mark) || mark.replaced || !concerns(mark.name, record.tags)) continue;
      if (mark.version >= record.version || this.isMisplaced(mark, record)) continue;
      if (mark.process === record.process || this.areComparable(mark, record))
        this.fail(
          'factory',
          `${record.key}: ${record.version} is above ${mark.name} ${mark.version} of its run`,
        );
    }
  }

  /** A mark is above everything that Redis had answered before it was made. */
  private checkMarkAboveAnswered(mark: MarkRecord): void {
    for (const record of this.writes) {
      if (record.outcome !== 'redis' || record.kind !== 'set' || !endedBefore(record, mark.begunAt)) continue;
      if (record.version <= mark.version || !concerns(mark.name, record.tags)) continue;
      if (this.areComparable(mark, record) || mark.process === record.process)
        this.fail(
          'marks',
          `${mark.name} ${mark.version} is below ${record.key} ${record.version}, answered before`,
        );
    }
  }

  /** What one process does, it does in that order, also after its stamps were made anew. */
  private checkOwnOrder(key: string): void {
    const ofKey = this.writesOf(key).filter((record) => isAccepted(record) && record.kind !== 'compute');
    const marks = this.markRecords.filter((mark) => isAccepted(mark) && !this.isRepeated(mark));
    for (const later of ofKey) {
      const earlier = later.kind === 'set' ? [...ofKey, ...marks] : ofKey;
      for (const record of earlier) {
        if (record.process !== later.process || !endedBefore(record, later.begunAt)) continue;
        if (record.replaced || later.replaced || record.version < later.version) continue;
        if (this.isMisplaced(later, record) || this.hasExpired(record.version)) continue;
        this.fail('own order', `${key}: ${later.version} was made after ${record.version} by one process`);
      }
    }
  }

  /** There is a later one of its name. */
  private isRepeated(mark: MarkRecord): boolean {
    return this.markRecords.some(
      (later) => later.name === mark.name && later.process === mark.process && later.begunAt > mark.begunAt,
    );
  }

  private checkOwnWrites(read: ReadRecord, key: string, entry: CacheEntry): void {
    for (const record of this.writesOf(key)) {
      if (record.version <= entry.version || !isAccepted(record) || !endedBefore(record, read.begunAt))
        continue;
      if (!this.isOwn(record, read.process) || record.replaced || this.isGivenUp(record)) continue;
      // A former stamp of the same: it died before the new one was on its disk.
      if (this.isCovered(record) || this.byVersion.get(nameOf(key, entry.version)) === record) continue;
      if (record.kind !== 'delete' && (this.isForgotten(record) || this.isLongPast(record))) continue;
      if (this.hasExpired(record.version)) continue;
      const promise = record.kind === 'delete' ? 'P3 own' : 'own write';
      this.fail(promise, `node ${read.process.node} served ${key} ${entry.version} after ${record.version}`);
    }
  }

  private checkSeen(
    { process, begunAt }: ReadRecord,
    key: string,
    entry: CacheEntry,
    from: 'local' | 'redis',
  ): void {
    if (process.overflowed) return;
    const { seen, gone } = this.know(process);
    const deleted = gone.get(key);
    if (deleted !== undefined && deleted.version > entry.version && deleted.at < begunAt) {
      if (!this.hasExpired(deleted.version))
        this.fail(
          'P3 seen',
          `node ${process.node} served ${key} ${entry.version}, knew ${deleted.version} is gone`,
        );
    }
    const newest = seen.get(key);
    if (newest === undefined || newest.version <= entry.version || newest.at >= begunAt) return;
    if (this.isForgottenSince(key, newest.at) || this.hasExpired(newest.version)) return;
    // What somebody else has written is remembered for as long as a factory may run.
    const served = this.byVersion.get(nameOf(key, entry.version));
    if (served?.kind === 'compute' && this.options.time() - served.issuedMs > FENCE_MS) return;
    // Cut off, it knows of what it has read only while it has it.
    const record = this.byVersion.get(nameOf(key, newest.version));
    if (from === 'local' && record !== undefined && record.expiresAt <= this.options.time()) return;
    this.fail('older', `node ${process.node} served ${key} ${entry.version}, had seen ${newest.version}`);
  }

  private checkMarks(read: ReadRecord, key: string, entry: CacheEntry, from: 'local' | 'redis'): void {
    const { process, begunAt } = read;
    for (const { name, version, at } of this.know(process).marks) {
      if (entry.version <= version && at < begunAt && concerns(name, entry.tags))
        this.fail('P3 marks', `node ${process.node} served ${key} ${entry.version}, knew ${name} ${version}`);
    }
    for (const mark of this.markRecords) {
      if (entry.version > mark.version || !concerns(mark.name, entry.tags) || !isAccepted(mark)) continue;
      if (endedBefore(mark, begunAt) && this.isOwn(mark, process))
        this.fail(
          'P3 marks',
          `node ${process.node} served ${key} ${entry.version} after its ${mark.name} ${mark.version}`,
        );
    }
    if (from === 'local' || read.marks === undefined || this.marksLostAt > begunAt) return;
    const unmerged = hiddenBy(read.marks, entry);
    if (unmerged !== undefined)
      this.fail('marks first', `node ${process.node} served ${key} of Redis, where ${unmerged} was above it`);
  }

  private checkMerged({ process }: ReadRecord, key: string, entry: CacheEntry): void {
    for (const record of this.writesOf(key)) {
      if (record.kind !== 'delete' || record.version < entry.version || !this.isOwed(record)) continue;
      if (!this.hasExpired(record.version))
        this.fail(
          'P3 merged',
          `node ${process.node} served ${key} ${entry.version}, deleted by ${record.version}`,
        );
    }
    for (const mark of this.markRecords) {
      if (mark.version < entry.version || !concerns(mark.name, entry.tags) || !this.isMarkOwed(mark))
        continue;
      this.fail(
        'P3 merged',
        `node ${process.node} served ${key} ${entry.version}, hidden by ${mark.name} ${mark.version}`,
      );
    }
  }

  private checkKept(record: WriteRecord, newest: string, visible: string | undefined): void {
    const { key, version, kind } = record;
    if (newest >= version || this.hasExpired(version)) return;
    if (!this.isOwed(record)) return;
    if (kind === 'delete' && visible !== undefined)
      return this.fail('P3', `${key}: ${visible} is there, and was deleted by ${version}`);
    if (this.isEvicted(record)) return;
    this.fail(
      'P2',
      `${key}: ${kind} ${version} of node ${record.process.node} is lost; Redis has ${newest || 'nothing'}`,
    );
  }

  /**
   * Who has read that it is gone, restores that where Redis has lost it; unless he was told of something newer since, of
   * which he does not know what it is.
   */
  private checkRemembered(key: string, newest: string): void {
    for (const [process, { gone, seen }] of this.knowledge) {
      const { version = '' } = gone.get(key) ?? {};
      if ((seen.get(key)?.version ?? '') > version) continue;
      if (version <= newest || process.endedAt !== undefined || process.overflowed) continue;
      if (!this.hasExpired(version))
        this.fail(
          'P3 known',
          `${key}: ${newest} is there, and node ${process.node} knows that ${version} is gone`,
        );
    }
  }

  private checkWinner(winner: WriteRecord, isThere: boolean, marks: MarksRecord): void {
    const { key, version, kind } = winner;
    const isGone = kind === 'delete' || winner.expiresAt <= this.options.time();
    if (isGone && isThere) return this.fail('P3', `${key}: the value of ${version} is there, and is gone`);
    if (isGone || isThere || winner.shrunk || hiddenBy(marks, winner) !== undefined) return;
    if (!isAccepted(winner) || !this.isOwed(winner) || this.isEvicted(winner)) return;
    this.fail('P2 value', `${key}: the value of ${version} of node ${winner.process.node} is lost`);
  }

  // --- Excuses

  /**
   * Somebody has to have it still: Redis, which has not lost it; its owner, who lives; or the disk of its owner, if
   * the owner was told that it is there.
   */
  private isOwed(record: WriteRecord): boolean {
    if (!isAccepted(record)) return false;
    if (record.appliedAt !== undefined && !this.isForgotten(record)) return true;
    if (record.replaced || this.isGivenUp(record) || this.isPast(record) || this.isCovered(record))
      return false;
    if (!isDead(record)) return true;
    if (!record.process.durable) return false;
    if (record.outcome !== 'outbox') return this.isOfferedByDisk(record);
    return record.kind === 'delete' || record.appliedAt === undefined;
  }

  /** The disk of its owner has the value, and whoever starts with it sees that Redis has lost everything. */
  private isOfferedByDisk({ key, kind, appliedAt = 0, expiresAt, process }: WriteRecord): boolean {
    if (kind === 'delete' || process.overflowed || expiresAt <= this.options.time()) return false;
    const lostAlone = Math.max(this.lostAt.get(key) ?? 0, this.evictedAt.get(key) ?? 0) > appliedAt;
    return !lostAlone && !this.hasFaded(key) && this.allLostAt > appliedAt;
  }

  /** A full outbox costs values, and what it remembers of what Redis has; never a delete that Redis has not. */
  private isGivenUp({ process, kind, appliedAt }: WriteRecord): boolean {
    return process.overflowed && (kind !== 'delete' || appliedAt !== undefined);
  }

  /** Redis had something newer before it forgot: it is for those who know that to keep it. */
  private isCovered({ key, coveredAt }: WriteRecord): boolean {
    return coveredAt !== undefined && this.isForgottenSince(key, coveredAt);
  }

  /** Redis had it for longer than its owner keeps a note of that, and there is no value any more. */
  private isPast({ kind, expiresAt, appliedMs, process, lapsed }: WriteRecord): boolean {
    if (kind === 'delete') return false;
    if (lapsed || (expiresAt <= this.options.time() && process.stepped)) return true;
    if (expiresAt > this.options.time() || appliedMs === undefined) return false;
    return this.lossesMs.some((lossMs) => lossMs > appliedMs + SURELY_KEPT_MS);
  }

  /** Only Redis has to remember it. */
  private isLongPast({ expiresAt, appliedMs }: WriteRecord): boolean {
    const { time, trueTime } = this.options;
    return appliedMs !== undefined && expiresAt <= time() && appliedMs + SURELY_KEPT_MS < trueTime();
  }

  private isMarkOwed(record: MarkRecord): boolean {
    if (!isAccepted(record)) return false;
    if (record.appliedAt !== undefined && this.marksLostAt < record.appliedAt) return true;
    if (!isDead(record)) return true;
    // What a full outbox folded is in its journal, or the mark that stands for it is.
    return record.process.durable && record.outcome === 'outbox' && !record.replaced;
  }

  private isOwn(record: WriteRecord | MarkRecord, process: ProcessRecord): boolean {
    if (record.process === process) return true;
    return record.process.node === process.node && process.durable && record.outcome === 'outbox';
  }

  /** Redis had it, and has lost it. */
  private isForgotten({ key, appliedAt }: WriteRecord): boolean {
    return appliedAt !== undefined && this.isForgottenSince(key, appliedAt);
  }

  private isForgottenSince(key: string, at: number): boolean {
    if (this.hasFaded(key)) return true;
    return Math.max(this.allLostAt, this.lostAt.get(key) ?? 0, this.evictedAt.get(key) ?? 0) > at;
  }

  private hasFaded(key: string): boolean {
    return (this.fadesMs.get(key) ?? Infinity) <= this.options.time();
  }

  private isEvicted({ key, appliedAt }: WriteRecord): boolean {
    return appliedAt !== undefined && (this.evictedAt.get(key) ?? 0) > appliedAt;
  }

  /** Nobody has to know of it any more: whatever is older has expired by itself. */
  hasExpired(version: string): boolean {
    return guardUntil(version, this.options.maxLifeMs) <= this.options.time();
  }

  /** It expires while the instances are being compared. */
  private isBrief({ expiresAt }: WriteRecord): boolean {
    return Math.abs(expiresAt - this.options.time()) < 2000;
  }

  private fenceStands({ key, fencedAt, issuedMs }: WriteRecord): boolean {
    if (fencedAt === undefined || this.isForgottenSince(key, fencedAt)) return false;
    return this.options.time() - issuedMs < FENCE_MS;
  }

  /** Stamped anew, never above now: by another clock of Redis that may be before what was right by the former one. */
  private isMisplaced(later: WriteRecord | MarkRecord, earlier: WriteRecord | MarkRecord): boolean {
    if (later.errorMs !== undefined) return false;
    return later.redisClock !== earlier.redisClock || earlier.errorMs === undefined;
  }

  /** A mark is put ahead by the error of its own clock, which covers what clocks as good as that have stamped. */
  private areComparable(a: MarkRecord, b: WriteRecord): boolean {
    if (a.errorMs === undefined || b.errorMs === undefined || b.errorMs > a.errorMs + TOLERANCE_MS)
      return false;
    return a.redisClock === b.redisClock && a.redisClock === this.redisClock;
  }

  // --- Books

  private reached(record: WriteRecord, at: number): void {
    record.appliedAt ??= at;
    record.appliedMs ??= this.options.trueTime();
  }

  private started(process: ProcessRecord): Omit<MarkRecord, 'name'> {
    return {
      process,
      begunAt: this.next(),
      endedAt: undefined,
      outcome: 'running',
      version: '',
      appliedAt: undefined,
      errorMs: undefined,
      redisClock: this.redisClock,
      replaced: false,
    };
  }

  private stamp(record: WriteRecord, version: string, clock: StampView): void {
    this.register(record, version);
    Object.assign(record, { appliedAt: undefined, appliedMs: undefined, coveredAt: undefined });
    record.redisClock = this.redisClock;
    const ms = Number.parseInt(version.slice(0, 12), 16);
    // Otherwise what it has seen of others had moved it.
    record.errorMs = ms <= clock.time + TOLERANCE_MS ? this.errorOf(clock) : undefined;
  }

  private anew(record: WriteRecord | MarkRecord): void {
    record.errorMs = undefined;
    record.redisClock = this.redisClock;
  }

  private register(record: WriteRecord, version: string): void {
    record.version = version;
    this.byVersion.set(nameOf(record.key, version), record);
  }

  /** How far a clock may be off, if it knows. */
  errorOf({ aligned, time, errorMs }: StampView): number | undefined {
    const isSound = aligned && Math.abs(time - this.options.time()) <= errorMs + TOLERANCE_MS;
    return isSound ? errorMs : undefined;
  }

  private recordOf(process: ProcessRecord, { key, version, bytes }: Mutation): WriteRecord | undefined {
    const known = this.byVersion.get(nameOf(key, version));
    if (known !== undefined || bytes !== undefined) return known;
    return this.writesOf(key).find(
      (record) => record.kind === 'delete' && record.process === process && record.outcome === 'running',
    );
  }

  private touch(key: string, by: WriteRecord | undefined, at: number): void {
    const touches = this.touchedAt.get(key);
    if (touches === undefined) this.touchedAt.set(key, [{ at, by }]);
    else touches.push({ at, by });
  }

  private writesOf(key: string): WriteRecord[] {
    let records = this.byKey.get(key);
    if (records === undefined) this.byKey.set(key, (records = []));
    return records;
  }
}

const nameOf = (key: string, version: string): string => `${key} ${version}`;

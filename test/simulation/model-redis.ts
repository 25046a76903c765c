import { StorageUnavailableError } from '../../src/cache/cache.errors.js';
import { Keyspace } from '../../src/cache/redis/keyspace.js';
import type { Mutation } from '../../src/cache/replication/mutation.js';
import { CLOCK_AHEAD_MS, guardUntil, versionMs } from '../../src/cache/replication/mutation.js';
import type {
  ApplyOutcome,
  Beat,
  FenceOutcome,
  LeaseOutcome,
  LeaseRequest,
  LiveKey,
  MarksExchange,
  MarksRecord,
  MarksState,
  RemoteRead,
  RemoteValue,
  RemoteVersions,
} from '../../src/cache/replication/remote.js';

export interface Guard {
  readonly version: string;
  readonly deleted: boolean;
  readonly untilMs: number;
}

/** Whose the computation of a key is. */
export interface Lease {
  readonly token: string;
  readonly untilMs: number;
}

/** The three strings of one key. Never changed, only replaced: a former one can be put back. */
export interface Slot {
  readonly value?:
    { readonly bytes: Uint8Array; readonly version: string; readonly untilMs: number } | undefined;
  readonly guard?: Guard | undefined;
  readonly fence?: { readonly version: string; readonly untilMs: number } | undefined;
}

/** The newest version of a key, and whether that is a delete; '' if nothing is known. */
export type Known = Pick<Guard, 'version' | 'deleted'>;

export interface MarksHash {
  readonly incarnation: string;
  readonly revision: number;
  /** With which each of the versions came. */
  readonly revisions: ReadonlyMap<string, number>;
  readonly versions: MarksRecord;
}

/** What somebody who watches it wants to know. */
export interface RedisObserver {
  applied(mutation: Mutation, deleted: boolean): void;
  /** By something newer of its key; by a fence does not count. */
  superseded(mutation: Mutation): void;
  fenced(key: string, version: string): void;
  leased(key: string, token: string): void;
  marked(marks: MarksRecord): void;
  /** Undefined: all of them. */
  lost(keys: readonly string[] | undefined, how: 'loss' | 'eviction'): void;
  /** With its value it will have lost everything of this key. */
  fades(key: string, atMs: number): void;
  lostMarks(): void;
}

interface Undo {
  readonly atMs: number;
  readonly key: string | undefined;
  readonly slot: Slot | undefined;
  readonly marks: MarksHash | undefined;
}

export interface RedisOptions {
  /** Its `TIME`. */
  readonly now: () => number;
  readonly maxLifeMs: number;
  readonly runId: () => string;
  readonly observer: RedisObserver;
  /** Names of what changes, by whomever; undefined: everything may have. Not of what expires. */
  readonly tell?: (name: string | undefined) => void;
}

/** As it lies in a real one. */
export const KEYSPACE = new Keyspace('', 'default');

/** How long a replica of it may lag. */
const LAG_MS = 5000;
const FULL = new StorageUnavailableError('redis', 'OOM command not allowed');
const READ_ONLY = new StorageUnavailableError(
  'redis',
  "READONLY You can't write against a read only replica",
);

/** A model of one Redis master, which does what the scripts in `src/cache/redis/scripts.ts` do. */
export class ModelRedis {
  runId: string;
  /** `sets`: it is full and evicts nothing. `writes`: it is read-only. */
  refusing: 'nothing' | 'sets' | 'writes' = 'nothing';
  private readonly slots = new Map<string, Slot>();
  private readonly leases = new Map<string, Lease>();
  private hash: MarksHash | undefined;
  private evictedKeys = 0;
  private undo: Undo[] = [];

  constructor(protected readonly options: RedisOptions) {
    this.runId = options.runId();
  }

  get marks(): MarksHash | undefined {
    return this.hash;
  }

  slot(key: string): Slot {
    const slot = this.slots.get(key);
    if (slot === undefined) return {};
    const nowMs = this.options.now();
    return {
      value: alive(slot.value, nowMs),
      guard: alive(slot.guard, nowMs),
      fence: alive(slot.fence, nowMs),
    };
  }

  hello(): { runId: string; redisMs: number } {
    return { runId: this.runId, redisMs: Math.floor(this.options.now()) };
  }

  beat(): Beat {
    return {
      redisMs: Math.floor(this.options.now()),
      marks: this.marksState(),
      evictedKeys: this.evictedKeys,
    };
  }

  read(keys: readonly string[]): RemoteRead {
    return { values: keys.map((key) => this.readOne(key)), marks: this.marksState() };
  }

  check(keys: readonly string[]): RemoteVersions {
    return { versions: keys.map((key) => this.slot(key).value?.version), marks: this.marksState() };
  }

  apply(mutations: readonly Mutation[], live: boolean): ApplyOutcome[] {
    return mutations.map((mutation) => {
      const outcome = this.applyOne(mutation, live);
      return live && outcome.kind === 'applied' ? { ...outcome, marks: this.marksState() } : outcome;
    });
  }

  fence(key: string, version: string, lifeMs: number): FenceOutcome {
    const nowMs = this.options.now();
    if (!this.believes(version)) return { kind: 'ahead', redisMs: Math.floor(nowMs) };
    const slot = this.slot(key);
    const known = this.newestFence(slot, this.newest(slot).version);
    if (known >= version) return { kind: 'behind', version: known };
    if (this.refusing === 'sets') throw FULL;
    if (this.refusing === 'writes') throw READ_ONLY;
    this.write(key, { ...slot, fence: { version, untilMs: nowMs + lifeMs } });
    this.options.observer.fenced(key, version);
    return { kind: 'fenced' };
  }

  lease(key: string, { version, fenceMs, token, leaseMs, deadlineMs }: LeaseRequest): LeaseOutcome {
    const nowMs = this.options.now();
    if (this.isLate(deadlineMs)) return { kind: 'late' };
    if (!this.believes(version)) return { kind: 'ahead', redisMs: Math.floor(nowMs) };
    const holder = this.leaseOf(key);
    if (holder !== undefined && this.isOfAnother(holder, token))
      return { kind: 'held', forMs: Math.ceil(holder.untilMs - nowMs) };
    const slot = this.slot(key);
    const known = this.newestFence(slot, this.newest(slot).version);
    if (known >= version) return { kind: 'behind', version: known };
    if (this.refusing === 'sets') throw FULL;
    if (this.refusing === 'writes') throw READ_ONLY;
    this.write(key, { ...slot, fence: { version, untilMs: nowMs + fenceMs } });
    this.writeLease(key, { token, untilMs: nowMs + leaseMs });
    this.options.observer.fenced(key, version);
    this.options.observer.leased(key, token);
    return { kind: 'fenced', known };
  }

  renew(key: string, token: string, leaseMs: number): boolean {
    if (this.leaseOf(key)?.token !== token) return false;
    if (this.refusing === 'writes') throw READ_ONLY;
    this.writeLease(key, { token, untilMs: this.options.now() + leaseMs });
    return true;
  }

  release(key: string, token: string): void {
    if (this.leaseOf(key)?.token !== token) return;
    if (this.refusing === 'writes') throw READ_ONLY;
    this.writeLease(key, undefined);
  }

  /** Changes a key that has no meaning. */
  touch(name: string): void {
    if (this.refusing === 'writes') throw READ_ONLY;
    this.options.tell?.(name);
  }

  leaseOf(key: string): Lease | undefined {
    return alive(this.leases.get(key), this.options.now());
  }

  exchangeMarks(ours: MarksRecord, incarnationIfMissing: string, since?: MarksState): MarksExchange {
    const believed = new Map([...ours].filter(([, version]) => this.believesMark(version)));
    const created = this.hash === undefined;
    const fresh = this.isEmpty ? incarnationIfMissing.replace(/^[0-9a-f]+/, '0') : incarnationIfMissing;
    const former = this.hash ?? {
      incarnation: fresh,
      revision: 0,
      revisions: new Map(),
      versions: new Map(),
    };
    const versions = mergedMarks(former.versions, believed);
    if (created || versions !== undefined) {
      if (this.refusing === 'writes') throw READ_ONLY;
      this.writeMarks({
        incarnation: former.incarnation,
        revision: former.revision + (versions === undefined ? 0 : 1),
        versions: versions ?? former.versions,
        revisions: new Map(
          [...(versions ?? former.versions)].map(([name, version]) => [
            name,
            former.versions.get(name) === version ? (former.revisions.get(name) ?? 0) : former.revision + 1,
          ]),
        ),
      });
    }
    const { incarnation, revision, revisions, versions: all } = this.hash ?? former;
    const isWhole = since?.incarnation !== incarnation;
    const marks = isWhole
      ? all
      : new Map([...all].filter(([name]) => (revisions.get(name) ?? 0) > since.revision));
    return { incarnation, revision, marks, isWhole, created, redisMs: Math.floor(this.options.now()) };
  }

  /** Values that are there and can be believed. */
  headers(prefix = ''): LiveKey[] {
    return [...this.slots.keys()].flatMap((key) => {
      const { value } = this.slot(key);
      if (value === undefined || !key.startsWith(prefix) || !this.believes(value.version)) return [];
      return [{ key, version: value.version, expiresAt: value.untilMs }];
    });
  }

  values(keys: readonly string[]): (Uint8Array | undefined)[] {
    return keys.map((key) => this.slot(key).value?.bytes);
  }

  /** Removes values of exactly these versions; returns how many there were. */
  remove(keys: readonly Pick<LiveKey, 'key' | 'version'>[]): number {
    const found = keys.filter(({ key, version }) => this.isRemoved(this.slot(key), version));
    if (found.length > 0 && this.refusing === 'writes') throw READ_ONLY;
    for (const { key } of found) {
      const slot = this.slot(key);
      this.write(key, { ...slot, value: undefined });
      if (slot.guard === undefined) this.options.observer.lost([key], 'eviction');
    }
    return found.length;
  }

  /** The process is another; `lostMs`: what was written in that time had not reached the disk. */
  restart(lostMs: number): void {
    this.runId = this.options.runId();
    if (lostMs > 0) this.leases.clear();
    const sinceMs = this.options.now() - lostMs;
    while ((this.undo.at(-1)?.atMs ?? -Infinity) > sinceMs) this.takeBack();
    this.undo = [];
  }

  /** A replica takes over, that had not received the last writes. */
  failOver(lostWrites: number): void {
    this.runId = this.options.runId();
    this.leases.clear();
    const sinceMs = this.options.now() - LAG_MS;
    for (let lost = 0; lost < lostWrites && (this.undo.at(-1)?.atMs ?? -Infinity) > sinceMs; lost += 1)
      this.takeBack();
    this.undo = [];
  }

  flush(): void {
    this.slots.clear();
    this.leases.clear();
    this.hash = undefined;
    this.undo = [];
    this.options.tell?.(undefined);
    this.options.observer.lost(undefined, 'loss');
    this.options.observer.lostMarks();
  }

  evict(key: string, part: keyof Slot): void {
    const slot = this.slot(key);
    if (slot[part] === undefined) return;
    this.evictedKeys += 1;
    this.write(key, { ...slot, [part]: undefined });
    this.options.observer.lost([key], 'eviction');
    if (part === 'guard' && slot.value !== undefined) this.options.observer.fades(key, slot.value.untilMs);
  }

  evictLease(key: string): void {
    if (this.leaseOf(key) === undefined) return;
    this.evictedKeys += 1;
    this.writeLease(key, undefined);
  }

  evictMarks(): void {
    if (this.hash === undefined) return;
    this.evictedKeys += 1;
    this.writeMarks(undefined);
    this.options.observer.lostMarks();
  }

  protected believes(version: string): boolean {
    return versionMs(version) <= Math.floor(this.options.now()) + CLOCK_AHEAD_MS;
  }

  protected believesMark(version: string): boolean {
    return this.believes(version);
  }

  /** What is known of a key: by its guard, or where that was evicted by its value. */
  protected newest({ value, guard }: Slot): Known {
    if (guard !== undefined && this.believes(guard.version)) return guard;
    return { version: this.believable(value?.version), deleted: false };
  }

  /** What a live write has to be above as well. */
  protected newestFence({ fence }: Slot, known: string): string {
    return greater(this.believable(fence?.version), known);
  }

  protected isBeaten(version: string, isSet: boolean, known: Known, bound: string): boolean {
    return bound > version || (bound === version && (bound !== known.version || (isSet && known.deleted)));
  }

  protected isOfAnother(holder: Lease, token: string): boolean {
    return holder.token !== token;
  }

  protected isLate(deadlineMs: number): boolean {
    return Math.floor(this.options.now()) > Math.floor(deadlineMs);
  }

  protected isRemoved({ value }: Slot, version: string): boolean {
    return value?.version === version;
  }

  protected slotAfter(slot: Slot, { version, bytes, expiresAt }: Mutation, isSet: boolean): Slot {
    const untilMs = this.guardUntil(version);
    const guard = { version, deleted: !isSet, untilMs };
    if (!isSet || bytes === undefined) return { fence: slot.fence, guard };
    return { fence: slot.fence, guard, value: { bytes, version, untilMs: Math.ceil(expiresAt) } };
  }

  protected guardUntil(version: string): number {
    return guardUntil(version, this.options.maxLifeMs);
  }

  protected applyOne(mutation: Mutation, live: boolean): ApplyOutcome {
    const { key, version } = mutation;
    const nowMs = Math.floor(this.options.now());
    if (!this.believes(version)) return { kind: 'ahead', redisMs: nowMs };
    const isSet = mutation.bytes !== undefined && Math.ceil(mutation.expiresAt) > nowMs;
    const slot = this.slot(key);
    const known = this.newest(slot);
    const bound = live ? this.newestFence(slot, known.version) : known.version;
    if (this.isBeaten(version, isSet, known, bound)) {
      if (bound === known.version) this.options.observer.superseded(mutation);
      return { kind: 'superseded', version: bound };
    }
    if (this.refusing === 'writes' || (this.refusing === 'sets' && isSet))
      return { kind: 'refused', reason: this.refusing === 'sets' ? 'OOM' : 'READONLY' };
    this.write(key, this.slotAfter(slot, mutation, isSet));
    this.options.observer.applied(mutation, !isSet);
    return { kind: 'applied', existed: slot.value !== undefined };
  }

  protected write(key: string, slot: Slot): void {
    this.undo.push({ atMs: this.options.now(), key, slot: this.slots.get(key), marks: undefined });
    this.slots.set(key, slot);
    this.options.tell?.(KEYSPACE.physical(key));
  }

  private writeLease(key: string, lease: Lease | undefined): void {
    if (lease === undefined) this.leases.delete(key);
    else this.leases.set(key, lease);
    this.options.tell?.(KEYSPACE.lease(key));
  }

  private get isEmpty(): boolean {
    const isThere = (key: string): boolean =>
      Object.values(this.slot(key)).some((part) => part !== undefined);
    return ![...this.slots.keys()].some(isThere);
  }

  private writeMarks(marks: MarksHash | undefined): void {
    this.undo.push({ atMs: this.options.now(), key: undefined, slot: undefined, marks: this.hash });
    this.hash = marks;
    this.options.tell?.(KEYSPACE.marks);
    if (marks !== undefined) this.options.observer.marked(marks.versions);
  }

  private takeBack(): void {
    const last = this.undo.pop();
    if (last === undefined) return;
    if (last.key === undefined) {
      this.hash = last.marks;
      this.options.observer.lostMarks();
      return;
    }
    if (last.slot === undefined) this.slots.delete(last.key);
    else this.slots.set(last.key, last.slot);
    this.options.observer.lost([last.key], 'loss');
  }

  private readOne(key: string): RemoteValue {
    const { value, guard } = this.slot(key);
    const believed = value !== undefined && this.believes(value.version) ? value : undefined;
    const inGuard = guard !== undefined && this.believes(guard.version) ? guard.version : undefined;
    return { version: inGuard ?? believed?.version, bytes: believed?.bytes };
  }

  private marksState(): MarksState | undefined {
    return this.hash && { incarnation: this.hash.incarnation, revision: this.hash.revision };
  }

  private believable(version: string | undefined): string {
    return version !== undefined && this.believes(version) ? version : '';
  }
}

function alive<T extends { readonly untilMs: number }>(item: T | undefined, nowMs: number): T | undefined {
  return item !== undefined && item.untilMs > nowMs ? item : undefined;
}

const greater = (a: string, b: string): string => (a > b ? a : b);
const isTag = (name: string): boolean => name.startsWith('tag:');

/** Undefined: there is nothing new in it. */
function mergedMarks(theirs: MarksRecord, ours: MarksRecord): MarksRecord | undefined {
  let merged: Map<string, string> | undefined;
  for (const [name, version] of ours) {
    const all: MarksRecord = merged ?? theirs;
    if ((all.get(name) ?? '') >= version || (isTag(name) && (all.get('floor') ?? '') >= version)) continue;
    merged ??= new Map(theirs);
    merged.set(name, version);
    if (name === 'floor') dropTags(merged, version);
  }
  return merged;
}

function dropTags(marks: Map<string, string>, floor: string): void {
  for (const [name, version] of marks) if (isTag(name) && version <= floor) marks.delete(name);
}

import { StorageUnavailableError } from '../cache.errors.js';
import type { Mutation } from './mutation.js';

/**
 * The shared side, as the replica sees it: Redis, or a model of it. Every call rejects with `StorageUnavailableError`
 * when Redis is away, does not answer in time, or answers with an error that concerns the whole call. A call that
 * rejected may have been executed all the same, or be executed later.
 */
export interface Remote {
  /** Whether a call is worth trying now. */
  readonly available: boolean;
  /** In the order of `keys`, in one round trip. */
  read(keys: readonly string[]): Promise<RemoteRead>;
  /**
   * What stands in the header of each value, which is little, in one round trip: enough to know that a local entry is
   * what Redis has.
   */
  check(keys: readonly string[]): Promise<RemoteVersions>;
  /**
   * One compare-and-set for each mutation, in order, pipelined; one outcome for each. `live`: a caller waits for it,
   * so it must also be above the fence of a running factory (see `fence`); replays, offers and factory results are
   * compared with the entry alone.
   */
  apply(mutations: readonly Mutation[], options: ApplyOptions): Promise<ApplyOutcome[]>;
  /**
   * Announces the version that the result of a factory will have, for `lifeMs`. A live set or delete during the run
   * then gets a version above it, whatever its writer's clock says. `behind`: a newer version is known, try above it.
   */
  fence(key: string, version: string, lifeMs: number): Promise<FenceOutcome>;
  /** `fence`, for one holder at a time. */
  lease(key: string, request: LeaseRequest): Promise<LeaseOutcome>;
  /** False: it is not held any more, by this token. */
  renew(key: string, token: string, leaseMs: number): Promise<boolean>;
  release(key: string, token: string): Promise<void>;
  /**
   * Merges `ours` into the marks of the namespace by maximum, and returns the result; a mark more than `CLOCK_AHEAD_MS`
   * past Redis `TIME` is not taken. Makes the record if it is missing; `incarnationIfMissing` begins with the time in
   * hex, and a hyphen, and the time gives way to 0 in an empty Redis.
   */
  exchangeMarks(ours: MarksRecord, incarnationIfMissing: string, since?: MarksState): Promise<MarksExchange>;
  /** Once for each connection. */
  hello(): Promise<{ readonly runId: string; readonly redisMs: number }>;
  /** The heartbeat. Reads the marks record, so that an LRU keeps it. */
  beat(): Promise<Beat>;
  /** Removes a value of exactly these bytes, which can't be read. False if it is another one by now. */
  discard(key: string, bytes: Uint8Array): Promise<boolean>;
  /**
   * Frees the memory of what is dead by the marks and has not been written again meanwhile, step by step; returns how
   * many values that were.
   */
  reclaim(options: ReclaimOptions): Promise<number>;
  /** Values that are there, in pages, each key once; O(n) and no snapshot. Marks are not looked at. */
  keys(prefix: string): AsyncIterable<LiveKey[]>;
  /** The envelopes alone, in the order of `keys`; undefined where there is none. */
  values(keys: readonly string[]): Promise<readonly (Uint8Array | undefined)[]>;
}

/** What the header of a value that is there says. */
export interface LiveKey {
  readonly key: string;
  readonly version: string;
  readonly expiresAt: number;
}

export interface ReclaimOptions {
  /** Every value at or below this version is dead; '' if nothing was cleared. */
  readonly clear: string;
  /** Of those at or below `newest`, what is in them says whether they are dead. Absent: no body is read. */
  readonly tagged?: {
    readonly newest: string;
    readonly isDead: (key: string, bytes: Uint8Array) => boolean;
  };
  /** Awaited after each step: here the sweep rests, and ends if this rejects. */
  readonly pause: () => Promise<void>;
}

/** What became of a mutation in Redis. */
export type ApplyOutcome =
  /** It is the newest now; `existed`: there was a live value before it. Also the answer to a repetition. */
  | {
      readonly kind: 'applied';
      readonly existed: boolean;
      /** Of a live write: the marks as they were after it. */
      readonly marks?: MarksState | undefined;
    }
  /** Redis knows this newer version of the key (or a delete of the same version, which wins). */
  | { readonly kind: 'superseded'; readonly version: string }
  /** Its version is more than `CLOCK_AHEAD_MS` past Redis `TIME`: the writer's clock is wrong. */
  | { readonly kind: 'ahead'; readonly redisMs: number }
  /**
   * Redis answered with an error, on a sound connection. `ofAll` tells whether it takes no write at all now (OOM,
   * READONLY, MISCONF), or not this one (too large); absent where that is not known.
   */
  | { readonly kind: 'refused'; readonly reason: string; readonly ofAll?: boolean };

export interface ApplyOptions {
  readonly live: boolean;
  /** Default: the command time-out. A drain has its own, and its time-outs do not make the connection unresponsive. */
  readonly timeoutMs?: number;
}

export interface RemoteRead {
  readonly values: readonly RemoteValue[];
  /** Of the marks, at the moment of this read. */
  readonly marks: MarksState | undefined;
}

export interface RemoteVersions {
  /** In the order of the keys; undefined where there is no value. */
  readonly versions: readonly (string | undefined)[];
  readonly marks: MarksState | undefined;
}

/**
 * What Redis has of a key. `version` is the newest that it knows, of a value that is still there or of one that was
 * deleted or has expired; undefined if it knows nothing of the key. `bytes` is the value's envelope.
 */
export interface RemoteValue {
  readonly version: string | undefined;
  readonly bytes: Uint8Array | undefined;
}

export type FenceOutcome =
  | { readonly kind: 'fenced' }
  | { readonly kind: 'behind'; readonly version: string }
  | { readonly kind: 'ahead'; readonly redisMs: number };

export interface LeaseRequest {
  readonly version: string;
  readonly fenceMs: number;
  /** Whose it is to be. */
  readonly token: string;
  readonly leaseMs: number;
  /** Epoch milliseconds of Redis `TIME`: after it nothing is done. */
  readonly deadlineMs: number;
}

/**
 * `fenced`: it is ours; `known` is the newest version of the key so far, '' if there is none. `held`: by another, for so
 * long unless he renews or releases it. `late`: after the deadline.
 */
export type LeaseOutcome =
  | Exclude<FenceOutcome, { kind: 'fenced' }>
  | { readonly kind: 'fenced'; readonly known: string }
  | { readonly kind: 'held'; readonly forMs: number }
  | { readonly kind: 'late' };

/** Versions by name: `clear`, `floor`, and `tag:<tag>`. See `marks.ts`. */
export type MarksRecord = ReadonlyMap<string, string>;

/** Changes with every change of the marks; undefined where the record is missing. */
export interface MarksState {
  /** Random, made with the record: another one means that Redis has lost its data. */
  readonly incarnation: string;
  readonly revision: number;
}

export interface MarksExchange extends MarksState {
  readonly marks: MarksRecord;
  /** All of them; else only what has changed `since`. */
  readonly isWhole: boolean;
  /** Whether this call made the record. */
  readonly created: boolean;
  readonly redisMs: number;
}

export interface Beat {
  readonly redisMs: number;
  readonly marks: MarksState | undefined;
  /** Keys that Redis has evicted since it started. */
  readonly evictedKeys: number;
}

const isAbsent = (): Promise<never> =>
  Promise.reject(new StorageUnavailableError('redis', 'none is configured'));

/** Where there is no Redis: what the ports above say of one that is away. */
export const NO_REMOTE: Remote = {
  available: false,
  read: isAbsent,
  check: isAbsent,
  apply: isAbsent,
  fence: isAbsent,
  lease: isAbsent,
  renew: isAbsent,
  release: isAbsent,
  exchangeMarks: isAbsent,
  hello: isAbsent,
  beat: isAbsent,
  discard: isAbsent,
  reclaim: isAbsent,
  keys: () => ({ [Symbol.asyncIterator]: () => ({ next: isAbsent }) }),
  values: isAbsent,
};

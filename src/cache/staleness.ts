import { InvalidCacheOptionError } from './cache.errors.js';
import { checkTags, checkTtlMs } from './cache.options.js';
import type { EntryDraft } from './replication/replica.js';
import type { CacheEntry } from './storage/cache-entry.js';

/** How long a value is fresh, and what may be served after that. */
export interface FreshnessOptions {
  /** How long the value is fresh, in milliseconds. 0: never. Default: the cache's. */
  readonly ttlMs?: number;
  /**
   * How long after that it is still kept, to be served while it is computed anew, or when that fails. Default: the
   * cache's.
   */
  readonly staleMs?: number;
  /** By which part, at most, `ttlMs` is shortened by chance, so that what was stored together does not expire together: 0 to 0.9. Default 0. */
  readonly jitter?: number;
  /** `ttlMs` of null and undefined, which often mean "there is none". Default: as of other values. */
  readonly negativeTtlMs?: number;
}

/** What a factory may say of its result; it knows better than its caller. */
export interface ResultPolicy extends FreshnessOptions {
  readonly tags?: readonly string[];
  /** False: the result is for those who wait for it, and not stored. */
  readonly store?: boolean;
}

/** Defaults and bounds of one cache. */
export interface Freshness {
  readonly ttlMs: number;
  readonly staleMs: number;
  readonly maxLifeMs: number;
  /** 0 to 1. */
  readonly random: () => number;
}

/** @throws InvalidCacheOptionError */
export function checkFreshness(options: FreshnessOptions, defaults: Freshness): void {
  const { ttlMs = defaults.ttlMs, staleMs = defaults.staleMs, negativeTtlMs = 0, jitter = 0 } = options;
  const { maxLifeMs } = defaults;
  checkTtlMs('ttlMs', ttlMs, maxLifeMs);
  checkTtlMs('negativeTtlMs', negativeTtlMs, maxLifeMs);
  // A longer default gives way; what was asked for does not.
  checkTtlMs('staleMs', staleMs, options.staleMs === undefined ? maxLifeMs : maxLifeMs - ttlMs);
  if (!(jitter >= 0 && jitter <= 0.9)) throw new InvalidCacheOptionError('jitter', 'from 0 to 0.9', jitter);
}

/** What is stored of a value. @throws InvalidCacheOptionError */
export function draftOf(
  value: unknown,
  options: ResultPolicy,
  defaults: Freshness,
  costMs?: number,
): EntryDraft {
  checkFreshness(options, defaults);
  const {
    ttlMs = defaults.ttlMs,
    staleMs = defaults.staleMs,
    negativeTtlMs,
    jitter = 0,
    tags = [],
  } = options;
  const wantedMs = value === null || value === undefined ? (negativeTtlMs ?? ttlMs) : ttlMs;
  const freshMs = wantedMs * (1 - jitter * (jitter === 0 ? 0 : defaults.random()));
  const lifeMs = wantedMs === 0 ? 0 : Math.min(freshMs + staleMs, defaults.maxLifeMs);
  return { value, tags: checkTags(tags), freshMs, lifeMs, costMs };
}

/**
 * Whether this read should compute a fresh value anew already: the nearer its end and the dearer its computation, the
 * likelier, so that of many readers one is early, and none has to wait (Vattani, Chierichetti, Lowenstein: "Optimal
 * Probabilistic Cache Stampede Prevention", 2015). `eagerness` 1 is their optimum, 0 never.
 */
export function isDueEarly(
  { freshUntil, costMs = 0 }: Pick<CacheEntry, 'freshUntil' | 'costMs'>,
  nowMs: number,
  eagerness: number,
  random: () => number,
): boolean {
  if (costMs === 0 || eagerness === 0) return false;
  return nowMs - costMs * eagerness * Math.log(1 - random()) >= freshUntil;
}

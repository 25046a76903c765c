import { InvalidCacheOptionError } from './cache.errors.js';
import type { RedisSettings } from './redis/client.js';
import type { EncryptionKey } from './storage/envelope.js';

/** What `CacheModule.forRoot` takes. All times are milliseconds, all sizes bytes. */
export interface CacheModuleOptions {
  /** Where entries live on this instance. Default `memory`. */
  readonly local?: 'memory' | 'disk';
  /** For `disk`: a directory of its own for each instance. Default `./data/cache`. */
  readonly directory?: string;
  /** Bound of `memory`. Default 100 MiB. */
  readonly memoryMaxBytes?: number;
  /** Bound of `disk`. Default 1 GiB. */
  readonly diskMaxBytes?: number;
  /** How long a value is fresh unless the write says otherwise. Default one hour. */
  readonly ttlMs?: number;
  /** How long after that it may be served while it is computed anew, or when that fails. Default 0. */
  readonly staleMs?: number;
  /** How many callers may wait for computations, in each namespace; see `CacheOptions`. Default 10 000. */
  readonly maxWaiters?: number;
  /**
   * Nothing lives longer, and deletes are remembered so long; the same on all instances that share a Redis. Default a
   * week.
   */
  readonly maxLifeMs?: number;
  /** Bound of what waits for Redis, in each namespace. Default 64 MiB. */
  readonly outboxMaxBytes?: number;
  /** Values of this size and more are compressed. Default 1024. */
  readonly compressionMinBytes?: number;
  /** The first key writes, all read. Default none: stored values are not encrypted. */
  readonly encryptionKeys?: readonly EncryptionKey[];
  /** Default none: every instance has a cache of its own. */
  readonly redis?: RedisSettings | undefined;
}

/** What `CacheModule.forFeature` takes, with the defaults of `forRoot`; the same wherever a namespace is imported. */
export type CacheFeatureOptions = Pick<CacheModuleOptions, 'ttlMs' | 'staleMs' | 'maxWaiters'>;

/** The longest `maxLifeMs`: one year. */
export const MAX_TTL_MS = 365 * 24 * 3_600_000;
/** In UTF-16 units. */
export const MAX_KEY_LENGTH = 65_536;
/** Of one entry or one invalidation. */
export const MAX_TAGS = 100;
/** In UTF-16 units. */
export const MAX_TAG_LENGTH = 1000;

/** @throws InvalidCacheOptionError unless it is a number of milliseconds from 0 to `maxMs`. */
export function checkTtlMs(option: string, ttlMs: number, maxMs = MAX_TTL_MS): number {
  if (!(Number.isFinite(ttlMs) && ttlMs >= 0 && ttlMs <= maxMs)) {
    throw new InvalidCacheOptionError(option, `from 0 to ${maxMs} milliseconds`, ttlMs);
  }
  return ttlMs;
}

/** @throws InvalidCacheOptionError */
export function checkKey(key: string): string {
  if (typeof key === 'string' && key.length <= MAX_KEY_LENGTH) return key;
  throw new InvalidCacheOptionError('key', `a text of at most ${MAX_KEY_LENGTH} characters`, sizeOf(key));
}

/** @throws InvalidCacheOptionError */
export function checkTags(tags: readonly string[]): readonly string[] {
  if (!Array.isArray(tags) || tags.length > MAX_TAGS) {
    throw new InvalidCacheOptionError('tags', `a list of at most ${MAX_TAGS} texts`, sizeOf(tags));
  }
  const at = tags.findIndex((tag) => typeof tag !== 'string' || tag.length > MAX_TAG_LENGTH);
  if (at < 0) return tags;
  throw new InvalidCacheOptionError(
    `tags[${at}]`,
    `a text of at most ${MAX_TAG_LENGTH} characters`,
    sizeOf(tags[at]),
  );
}

/** Short enough for a message, whatever it is. */
function sizeOf(given: unknown): string {
  if (typeof given === 'string') return `${given.length} characters`;
  return Array.isArray(given) ? `${given.length} elements` : typeof given;
}

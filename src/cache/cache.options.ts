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
  /** Values of this size and more are compressed. Default 1024. */
  readonly compressionMinBytes?: number;
  /** The first key writes, all read. Default none: stored values are not encrypted. */
  readonly encryptionKeys?: readonly EncryptionKey[];
  /** Default none: every instance has a cache of its own. */
  readonly redis?: RedisSettings | undefined;
}

/** The longest life of an entry: one year. */
export const MAX_TTL_MS = 365 * 24 * 3_600_000;

/** @throws InvalidCacheOptionError unless it is a number of milliseconds from 0 to `MAX_TTL_MS`. */
export function checkTtlMs(option: string, ttlMs: number): number {
  if (!(Number.isFinite(ttlMs) && ttlMs >= 0 && ttlMs <= MAX_TTL_MS)) {
    throw new InvalidCacheOptionError(option, `from 0 to ${MAX_TTL_MS} milliseconds`, ttlMs);
  }
  return ttlMs;
}

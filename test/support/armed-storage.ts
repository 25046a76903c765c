import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { InvalidationStats } from '../../src/cache/redis/invalidation.js';
import { openRedis } from '../../src/cache/redis/open-redis.js';
import type { RedisSettings } from '../../src/cache/redis/client.js';
import { RedisSide } from '../../src/cache/redis/redis-side.js';
import { HybridLogicalClock } from '../../src/cache/replication/clock.js';
import type { EnvelopeOptions } from '../../src/cache/storage/envelope.js';
import { EnvelopeCodec } from '../../src/cache/storage/envelope.js';
import { MemoryCacheStorage } from '../../src/cache/storage/memory.storage.js';
import { ReplicatedCacheStorage } from '../../src/cache/storage/replicated.storage.js';

const MAX_LIFE_MS = 86_400_000;

export const settingsOf = (port: number): RedisSettings => ({
  mode: 'standalone',
  host: '127.0.0.1',
  port,
  db: 0,
  tls: false,
  keyPrefix: 't:',
  commandTimeoutMs: 1000,
  connectTimeoutMs: 1000,
});

/** How it learns of changes. */
export const newsOf = (storage: ReplicatedCacheStorage): InvalidationStats | undefined =>
  storage.stats().coherence;

export const isArmed = (storage: ReplicatedCacheStorage): boolean => newsOf(storage)?.state === 'armed';

interface Options {
  readonly heartbeatMs: number;
  readonly timeoutMs: number;
  readonly redis?: Partial<RedisSettings>;
  /** How it is to learn of changes. Default `armed`: by Redis. */
  readonly by?: InvalidationStats['state'];
  readonly envelope?: EnvelopeOptions;
  /** Of the replica, which looks at the marks then. Default 50. */
  readonly lookMs?: number;
  /** Of a lease. */
  readonly leaseMs?: number;
}

/** An instance with memory, which learns of changes already. */
export async function startArmedStorage(
  port: number,
  { redis, by = 'armed', lookMs = 50, leaseMs, envelope = {}, ...beats }: Options,
): Promise<ReplicatedCacheStorage> {
  const clock = new HybridLogicalClock(randomBytes(8).toString('hex'));
  const connection = openRedis({ ...settingsOf(port), ...redis });
  await connection.settled(1000);
  const storage = new ReplicatedCacheStorage({
    local: new MemoryCacheStorage({ maxBytes: 2 ** 25, now: () => clock.time() }),
    clock,
    codec: new EnvelopeCodec(envelope),
    shared: new RedisSide({ connection, maxLifeMs: MAX_LIFE_MS, ...beats }),
    maxLifeMs: MAX_LIFE_MS,
    heartbeatMs: lookMs,
    ...(leaseMs === undefined ? {} : { leaseMs }),
  });
  await storage.opened();
  await storage.settled(1000);
  while (newsOf(storage)?.state !== by) await sleep(1);
  return storage;
}

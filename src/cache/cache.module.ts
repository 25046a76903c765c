import { ConfigurableModuleBuilder, Inject, Logger, Module } from '@nestjs/common';
import type { OnApplicationShutdown } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { Cache } from './cache.js';
import { CacheHealthIndicator } from './cache.health.js';
import type { CacheModuleOptions } from './cache.options.js';
import { REDIS_CONNECTION } from './cache.tokens.js';
import type { RedisEvent } from './redis/connection.js';
import { RedisConnection } from './redis/connection.js';
import { CacheStorage } from './storage/cache-storage.js';
import type { CacheStorage as Storage } from './storage/cache-storage.js';
import { DiskCacheStorage } from './storage/disk.storage.js';
import { EnvelopeCodec } from './storage/envelope.js';
import { MemoryCacheStorage } from './storage/memory.storage.js';
import { RedisCacheStorage } from './storage/redis.storage.js';
import { ReplicatedCacheStorage } from './storage/replicated.storage.js';

const MIB = 1024 * 1024;

const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN } = new ConfigurableModuleBuilder<CacheModuleOptions>()
  .setClassMethodName('forRoot')
  .setExtras({ isGlobal: false }, (definition, { isGlobal }) => ({ ...definition, global: isGlobal }))
  .build();

/**
 * Provides `Cache` and `CacheStorage`, chosen by the options: memory or disk alone, or in front of Redis. It starts,
 * and answers, whether Redis is there or not.
 */
@Module({
  imports: [TerminusModule],
  providers: [
    {
      provide: REDIS_CONNECTION,
      inject: [MODULE_OPTIONS_TOKEN],
      useFactory: connectRedis,
    },
    {
      provide: CacheStorage,
      inject: [MODULE_OPTIONS_TOKEN, REDIS_CONNECTION],
      useFactory: createStorage,
    },
    {
      provide: Cache,
      inject: [CacheStorage, MODULE_OPTIONS_TOKEN],
      useFactory: createCache,
    },
    CacheHealthIndicator,
  ],
  exports: [Cache, CacheStorage, REDIS_CONNECTION, CacheHealthIndicator],
})
export class CacheModule extends ConfigurableModuleClass implements OnApplicationShutdown {
  constructor(@Inject(CacheStorage) private readonly storage: Storage) {
    super();
  }

  /** After the server has closed: in-flight requests have had their cache to the end. */
  onApplicationShutdown(): Promise<void> {
    return this.storage.close();
  }
}

async function connectRedis({ redis }: CacheModuleOptions): Promise<RedisConnection | undefined> {
  if (redis === undefined) return undefined;
  const logger = new Logger('Redis');
  const connection = new RedisConnection(redis, { onEvent: (event) => logRedisEvent(logger, event) });
  // Where Redis is up the first request should find it; where it is not, nobody waits for it.
  await connection.settled(redis.commandTimeoutMs);
  return connection;
}

async function createStorage(
  options: CacheModuleOptions,
  connection: RedisConnection | undefined,
): Promise<Storage> {
  const { compressionMinBytes = 1024, encryptionKeys = [] } = options;
  const codec = new EnvelopeCodec({ compressionMinBytes, encryptionKeys });
  const local =
    options.local === 'disk'
      ? await DiskCacheStorage.open({
          directory: options.directory ?? './data/cache',
          maxBytes: options.diskMaxBytes ?? 1024 * MIB,
          codec,
          onCorruptDatabase: (movedTo) =>
            new Logger('Cache').error(
              { event: 'cache.disk.corrupt', movedTo },
              'The disk cache was damaged: begun anew',
            ),
        })
      : new MemoryCacheStorage({ maxBytes: options.memoryMaxBytes ?? 100 * MIB });
  if (connection === undefined) return local;
  return new ReplicatedCacheStorage(local, new RedisCacheStorage({ connection, codec }));
}

function createCache(storage: Storage, { ttlMs }: CacheModuleOptions): Cache {
  const logger = new Logger('Cache');
  return new Cache({
    storage,
    ...(ttlMs === undefined ? {} : { ttlMs }),
    onFault: (fault) => logger.warn({ code: fault.code }, fault.message),
  });
}

/** One line per change of state; what an operator must act on is a warning. */
function logRedisEvent(logger: Logger, { type, ...facts }: RedisEvent): void {
  const fields = { event: `redis.${type}`, ...facts };
  switch (type) {
    case 'connect':
    case 'ready':
    case 'responsive':
    case 'end':
      return logger.log(fields, MESSAGES[type]);
    case 'unresponsive':
    case 'close':
    case 'reconnecting':
    case 'error':
      return logger.warn(fields, MESSAGES[type]);
  }
}

const MESSAGES: Readonly<Record<RedisEvent['type'], string>> = {
  connect: 'Redis socket connected',
  ready: 'Redis is ready: results are shared',
  responsive: 'Redis answers again: results are shared',
  unresponsive: 'Redis does not answer: serving from the local storage',
  close: 'Redis connection lost: serving from the local storage',
  reconnecting: 'Reconnecting to Redis, for as long as it takes',
  error: 'Redis connection error',
  end: 'Redis connection closed',
};

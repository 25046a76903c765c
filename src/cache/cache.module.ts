import { randomBytes } from 'node:crypto';
import { ConfigurableModuleBuilder, Inject, Logger, Module } from '@nestjs/common';
import type { DynamicModule, FactoryProvider, OnApplicationShutdown } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { TerminusModule } from '@nestjs/terminus';
import { Cache } from './cache.js';
import { CacheHealthIndicator } from './cache.health.js';
import { CacheNamespaces } from './cache-namespaces.js';
import { CachedMethodsCheck } from './cached-methods.check.js';
import type { CacheFeatureOptions, CacheModuleOptions } from './cache.options.js';
import { checkTtlMs } from './cache.options.js';
import { CACHE_ROOT, getCacheToken, REDIS_CONNECTION } from './cache.tokens.js';
import type { InvalidationEvent } from './redis/invalidation.js';
import type { RedisEvent, RedisLink } from './redis/link.js';
import { openRedis } from './redis/open-redis.js';
import { RedisSide } from './redis/redis-side.js';
import { HybridLogicalClock } from './replication/clock.js';
import { WEEK_MS } from './replication/replica.js';
import type { ReplicaEvent } from './replication/replica-state.js';
import { CacheStorage } from './storage/cache-storage.js';
import type { CacheStorage as Storage } from './storage/cache-storage.js';
import { DiskCacheStorage } from './storage/disk.storage.js';
import { EnvelopeCodec } from './storage/envelope.js';
import { MemoryCacheStorage } from './storage/memory.storage.js';
import type { LocalStorage } from './storage/replicated.storage.js';
import { ReplicatedCacheStorage } from './storage/replicated.storage.js';

const MIB = 1024 * 1024;

const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN, OPTIONS_TYPE, ASYNC_OPTIONS_TYPE } =
  new ConfigurableModuleBuilder<CacheModuleOptions>()
    .setClassMethodName('forRoot')
    .setExtras({ isGlobal: false }, (definition) => definition)
    .build();

/** What `CacheModule.forRoot` opened. */
interface CacheRoot {
  readonly cache: Cache;
  readonly storage: Storage;
  readonly connection: RedisLink | undefined;
  readonly health: CacheHealthIndicator;
  readonly namespaces: CacheNamespaces;
}

/**
 * Opens the storage that the options chose. It is global, so that `forFeature` finds it from anywhere, and exports
 * nothing but one token: who sees `Cache` is decided by `isGlobal`.
 */
@Module({
  imports: [TerminusModule, DiscoveryModule],
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
    {
      provide: CacheNamespaces,
      inject: [CacheStorage, MODULE_OPTIONS_TOKEN],
      useFactory: createNamespaces,
    },
    CacheHealthIndicator,
    CachedMethodsCheck,
    {
      provide: CACHE_ROOT,
      inject: [Cache, CacheStorage, REDIS_CONNECTION, CacheHealthIndicator, CacheNamespaces],
      useFactory: (
        cache: Cache,
        storage: Storage,
        connection: RedisLink | undefined,
        health: CacheHealthIndicator,
        namespaces: CacheNamespaces,
      ): CacheRoot => ({ cache, storage, connection, health, namespaces }),
    },
  ],
  exports: [CACHE_ROOT],
})
class CacheRootModule extends ConfigurableModuleClass implements OnApplicationShutdown {
  constructor(@Inject(CacheStorage) private readonly storage: Storage) {
    super();
  }

  /** After the server has closed: in-flight requests have had their cache to the end. */
  onApplicationShutdown(): Promise<void> {
    return this.storage.close();
  }
}

/** The cache of one namespace. */
@Module({})
class CacheFeatureModule {}

const fromRoot = <K extends keyof CacheRoot>(name: K): Pick<FactoryProvider, 'inject' | 'useFactory'> => ({
  inject: [CACHE_ROOT],
  useFactory: (root: CacheRoot) => root[name],
});

/**
 * Provides `Cache` and `CacheStorage`, chosen by the options: memory or disk alone, or in front of Redis. It starts,
 * and answers, whether Redis is there or not.
 */
@Module({
  providers: [
    { provide: Cache, ...fromRoot('cache') },
    { provide: CacheStorage, ...fromRoot('storage') },
    { provide: REDIS_CONNECTION, ...fromRoot('connection') },
    { provide: CacheHealthIndicator, ...fromRoot('health') },
  ],
  exports: [Cache, CacheStorage, REDIS_CONNECTION, CacheHealthIndicator],
})
export class CacheModule {
  /** Once in an application. `isGlobal`: every module sees `Cache`; default: those that import this one. */
  static forRoot({ isGlobal = false, ...options }: typeof OPTIONS_TYPE): DynamicModule {
    return overRoot(CacheRootModule.forRoot(options), isGlobal);
  }

  /** `forRoot` with options from other providers. */
  static forRootAsync({ isGlobal = false, ...options }: typeof ASYNC_OPTIONS_TYPE): DynamicModule {
    return overRoot(CacheRootModule.forRootAsync(options), isGlobal);
  }

  /**
   * Provides a `Cache` with keys, tags and `clear` of its own, to be injected by `@InjectCache(namespace)`. Needs a
   * `forRoot` anywhere in the application, global or not; modules that import the same namespace share one `Cache`.
   * @throws InvalidCacheOptionError, also at start where two modules give one namespace different options
   */
  static forFeature(namespace: string, options: CacheFeatureOptions = {}): DynamicModule {
    const token = getCacheToken(namespace);
    return {
      module: CacheFeatureModule,
      providers: [
        {
          provide: token,
          inject: [CACHE_ROOT],
          useFactory: ({ namespaces }: CacheRoot) => namespaces.open(namespace, options),
        },
      ],
      exports: [token],
    };
  }
}

function overRoot(root: DynamicModule, isGlobal: boolean): DynamicModule {
  return { module: CacheModule, global: isGlobal, imports: [{ ...root, global: true }] };
}

async function connectRedis({ redis }: CacheModuleOptions): Promise<RedisLink | undefined> {
  if (redis === undefined) return undefined;
  const logger = new Logger('Redis');
  const connection = openRedis(redis, { onEvent: (event) => logRedisEvent(logger, event) });
  // Where Redis is up the first request should find it; where it is not, nobody waits for it.
  await connection.settled(redis.commandTimeoutMs);
  return connection;
}

async function createStorage(
  options: CacheModuleOptions,
  connection: RedisLink | undefined,
): Promise<ReplicatedCacheStorage> {
  try {
    return await openStorage(options, connection);
  } catch (error) {
    // Nobody else would close it: the application does not start.
    await connection?.close();
    throw error;
  }
}

async function openStorage(
  options: CacheModuleOptions,
  connection: RedisLink | undefined,
): Promise<ReplicatedCacheStorage> {
  const { compressionMinBytes = 1024, encryptionKeys = [], maxLifeMs = WEEK_MS, outboxMaxBytes } = options;
  checkTtlMs('maxLifeMs', maxLifeMs);
  const codec = new EnvelopeCodec({ compressionMinBytes, encryptionKeys });
  // Beside Redis the clock goes by its time, and a step of this machine's must not move it.
  const now = connection === undefined ? Date.now : (): number => performance.timeOrigin + performance.now();
  const clock = new HybridLogicalClock(randomBytes(8).toString('hex'), now);
  const logger = new Logger('Cache');
  const redisLogger = new Logger('Redis');
  const storage = new ReplicatedCacheStorage({
    local: await openLocal(options, codec, clock),
    clock,
    codec,
    shared:
      connection &&
      new RedisSide({ connection, maxLifeMs, onEvent: (event) => logInvalidationEvent(redisLogger, event) }),
    maxLifeMs,
    ...(connection === undefined ? {} : { callBudgetMs: connection.settings.commandTimeoutMs }),
    ...(outboxMaxBytes === undefined ? {} : { outboxMaxBytes }),
    onEvent: (event) => logReplicaEvent(logger, event),
  });
  await storage.opened();
  await storage.settled(connection?.settings.commandTimeoutMs ?? 0);
  return storage;
}

async function openLocal(
  options: CacheModuleOptions,
  codec: EnvelopeCodec,
  clock: HybridLogicalClock,
): Promise<LocalStorage> {
  const now = (): number => clock.time();
  if (options.local !== 'disk') {
    return new MemoryCacheStorage({ maxBytes: options.memoryMaxBytes ?? 100 * MIB, now });
  }
  return DiskCacheStorage.open({
    directory: options.directory ?? './data/cache',
    maxBytes: options.diskMaxBytes ?? 1024 * MIB,
    codec,
    now,
    onCorruptDatabase: (movedTo) =>
      new Logger('Cache').error(
        { event: 'cache.disk.corrupt', movedTo },
        'The disk cache was damaged: begun anew',
      ),
  });
}

function createNamespaces(storage: Storage, options: CacheModuleOptions): CacheNamespaces {
  return new CacheNamespaces({
    storage,
    createCache: (namespace, feature) => createCache(namespace, { ...options, ...feature }),
    settleMs: options.redis?.commandTimeoutMs ?? 0,
  });
}

function createCache(
  storage: ReplicatedCacheStorage,
  { ttlMs, staleMs, maxWaiters }: CacheModuleOptions,
): Cache {
  const logger = new Logger('Cache');
  return new Cache({
    storage,
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(staleMs === undefined ? {} : { staleMs }),
    ...(maxWaiters === undefined ? {} : { maxWaiters }),
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

/** Of a merge the beginning and the end, with what came of it. */
function logReplicaEvent(
  logger: Logger,
  { type, ...facts }: ReplicaEvent & { readonly namespace: string },
): void {
  const fields = { event: `cache.${type}`, ...facts };
  switch (type) {
    case 'merge_begun':
      return logger.log(fields, 'Merging what was written while Redis was away');
    case 'merge_progress':
      return logger.log(fields, 'Still merging');
    case 'merge_done':
      return logger.log(fields, 'Merged: both sides have the newest of every key');
    case 'data_lost':
      return logger.warn(fields, 'Redis has lost its data: what lives here is offered back');
    case 'offer_done':
      return logger.log(fields, 'Offered back to Redis what lives here');
    case 'overflow':
      return logger.warn(fields, 'The outbox is full: it gives up values, and keeps what was deleted');
    case 'parked':
      return logger.warn(fields, 'Redis refuses a value again and again: it is given up');
    case 'merge_failed':
      return logger.warn(
        fields,
        'Redis answers, but its marks cannot be merged: serving from the local storage',
      );
    case 'clock_corrected':
      return logger.warn(fields, 'The clock was corrected to that of Redis');
  }
}

/** Without it every read looks at Redis: slower, and as right. */
function logInvalidationEvent(logger: Logger, { type, ...facts }: InvalidationEvent): void {
  const fields = { event: `redis.invalidation_${type}`, ...facts };
  switch (type) {
    case 'armed':
      return logger.log(fields, 'Redis tells of changes: local entries are served without asking it');
    case 'notices':
      return logger.warn(
        fields,
        'This Redis does not tell of changes: the instances do, and local entries are served without asking it',
      );
    case 'lost':
      return logger.warn(fields, 'Redis does not tell of changes any more: every read asks it');
    case 'refused':
      return logger.warn(fields, 'Neither Redis nor the instances tell of changes: every read asks it');
  }
}

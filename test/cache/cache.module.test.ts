import { setImmediate as turn } from 'node:timers/promises';
import { Injectable, Module } from '@nestjs/common';
import type { Type } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import type { TestingModule } from '@nestjs/testing';
import { afterEach, describe, expect, it } from '@jest/globals';
import { InvalidCacheOptionError, StorageClosedError } from '../../src/cache/cache.errors.js';
import { CacheHealthIndicator } from '../../src/cache/cache.health.js';
import { Cache } from '../../src/cache/cache.js';
import { CacheModule } from '../../src/cache/cache.module.js';
import { getCacheToken } from '../../src/cache/cache.tokens.js';
import { InjectCache } from '../../src/cache/inject-cache.decorator.js';
import { CacheStorage } from '../../src/cache/storage/cache-storage.js';
import { RedisServer } from '../support/redis-server.js';

const MINUTE_MS = 60_000;

@Injectable()
class Reports {
  constructor(@InjectCache('reports') readonly cache: Cache) {}
}
@Module({ imports: [CacheModule.forFeature('reports')], providers: [Reports], exports: [Reports] })
class ReportsModule {}

@Injectable()
class Archive {
  constructor(@InjectCache('reports') readonly cache: Cache) {}
}
@Module({ imports: [CacheModule.forFeature('reports')], providers: [Archive] })
class ArchiveModule {}

@Injectable()
class Prices {
  constructor(
    @InjectCache('prices') readonly cache: Cache,
    readonly root: Cache,
  ) {}
}

const opened: TestingModule[] = [];
async function application(
  ...imports: NonNullable<Parameters<typeof Test.createTestingModule>[0]['imports']>
) {
  const app = await Test.createTestingModule({ imports }).compile();
  opened.push(app.enableShutdownHooks());
  return app.init();
}

describe('CacheModule', () => {
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((app) => app.close()));
  });

  describe('forRoot', () => {
    const needsCache = (): Type => {
      @Injectable()
      class Service {
        constructor(readonly cache: Cache) {}
      }
      @Module({ providers: [Service] })
      class ServiceModule {}
      return ServiceModule;
    };

    it('is seen by those who import it, and by everybody if it is global', async () => {
      await expect(application(CacheModule.forRoot({}), needsCache())).rejects.toThrow(
        /can't resolve dependencies of the Service .*Cache/s,
      );
      await expect(application(CacheModule.forRoot({ isGlobal: true }), needsCache())).resolves.toBeDefined();
    });

    it('provides one storage to all, and closes it at the end', async () => {
      const app = await application(CacheModule.forRoot({}));
      const cache = app.get(Cache);
      await cache.set('key', 1);
      expect(await app.get<CacheStorage>(CacheStorage).size()).toBe(1);
      expect(app.get(CacheHealthIndicator).cacheStorage()).toMatchObject({ storage: { status: 'up' } });
      await app.close();
      await expect(cache.set('key', 2)).rejects.toThrow(StorageClosedError);
    });

    it('takes its options from other providers', async () => {
      const app = await application(
        CacheModule.forRootAsync({ isGlobal: true, useFactory: () => Promise.resolve({ ttlMs: MINUTE_MS }) }),
        ReportsModule,
      );
      expect(await lifeOf(app.get(Cache))).toBe(MINUTE_MS);
      expect(await lifeOf(app.get(Reports).cache)).toBe(MINUTE_MS);
    });
  });

  describe('forFeature', () => {
    it.each([true, false])('finds the root from anywhere, global or not (%p)', async (isGlobal) => {
      const app = await application(CacheModule.forRoot({ isGlobal }), ReportsModule);
      expect(app.get(Reports).cache).toBeInstanceOf(Cache);
      expect(app.get(Reports).cache).not.toBe(app.get(Cache));
    });

    it('keeps namespaces apart, and leaves `Cache` what it is', async () => {
      @Module({ imports: [CacheModule.forFeature('prices')], providers: [Prices] })
      class PricesModule {}
      const app = await application(CacheModule.forRoot({ isGlobal: true }), ReportsModule, PricesModule);
      const { cache: prices, root } = app.get(Prices);
      const { cache: reports } = app.get(Reports);
      expect(root).toBe(app.get(Cache));
      await Promise.all([root.set('key', 'root'), reports.set('key', 'report'), prices.set('key', 'price')]);
      await prices.clear();
      expect(await Promise.all([root, reports, prices].map((cache) => cache.get('key')))).toEqual([
        'root',
        'report',
        undefined,
      ]);
    });

    it('gives one cache, and one flight for each key, to all who import a namespace', async () => {
      const app = await application(CacheModule.forRoot({}), ReportsModule, ArchiveModule);
      const { cache } = app.get(Reports);
      expect(app.get(Archive).cache).toBe(cache);
      expect(app.get(getCacheToken('reports'))).toBe(cache);
      const gate = Promise.withResolvers<string>();
      const first = cache.getOrSet('key', () => gate.promise);
      const second = app.get(Archive).cache.getOrSet('key', () => 'never');
      gate.resolve('value');
      expect(await Promise.all([first, second])).toEqual(['value', 'value']);
    });

    it('has a life of its own, which must be the same everywhere', async () => {
      const feature = (ttlMs?: number) =>
        CacheModule.forFeature('reports', ttlMs === undefined ? {} : { ttlMs });
      const root = CacheModule.forRoot({ ttlMs: 2 * MINUTE_MS });
      const app = await application(root, feature(MINUTE_MS), feature(MINUTE_MS));
      expect(await lifeOf(app.get(getCacheToken('reports')))).toBe(MINUTE_MS);
      await expect(application(root, feature(MINUTE_MS), feature())).rejects.toThrow(
        /ttlMs of CacheModule.forFeature\("reports"\) must be the same in every module/,
      );
      await expect(application(root, feature(-1))).rejects.toThrow(InvalidCacheOptionError);
    });

    it('names the call that is missing', async () => {
      await expect(application(ReportsModule)).rejects.toThrow(/Symbol\(CacheModule\.forRoot\(\)\)/);
      @Module({ providers: [Reports] })
      class ForgetfulModule {}
      await expect(application(CacheModule.forRoot({}), ForgetfulModule)).rejects.toThrow(
        /CacheModule\.forFeature\("reports"\)/,
      );
    });

    it.each(['', 'default', 'x'.repeat(101), 1 as unknown as string])('refuses %p as a namespace', (name) => {
      expect(() => CacheModule.forFeature(name)).toThrow(InvalidCacheOptionError);
      expect(() => InjectCache(name)).toThrow(/namespace must be a text of 1 to 100 characters other than/);
    });
  });

  it('shares namespaces through Redis, and leaves alone what is beside them', async () => {
    const server = await RedisServer.start();
    try {
      const redis = {
        mode: 'standalone' as const,
        url: server.url,
        host: '',
        port: 0,
        db: 0,
        tls: false,
        keyPrefix: 'test:',
        commandTimeoutMs: 2000,
        connectTimeoutMs: 2000,
      };
      const one = await application(CacheModule.forRoot({ redis }), ReportsModule);
      const other = await application(CacheModule.forRoot({ redis }), ReportsModule);
      expect(await other.get(Reports).cache.set('a*', 1)).toBe('redis');
      expect(await other.get(Cache).set('a*', 2)).toBe('redis');
      // Where Redis was not empty, the first two heartbeats of a namespace answer with misses.
      while ((await one.get(Reports).cache.get('a*')) !== 1) await turn();
      expect(await one.get(Reports).cache.clear()).toBe('redis');
      expect(await other.get(Reports).cache.get('a*')).toBeUndefined();
      expect(await one.get(Cache).get('a*')).toBe(2);
    } finally {
      await Promise.all(opened.splice(0).map((app) => app.close()));
      await server.close();
    }
  });
});

/** In milliseconds, of what is stored without saying for how long. */
async function lifeOf(cache: Cache): Promise<number | undefined> {
  await cache.set('life', 1);
  const [stored] = await cache.inspect(['life']);
  return stored && stored.entry.freshUntil - stored.entry.createdAt;
}

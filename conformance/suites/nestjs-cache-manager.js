import 'reflect-metadata';
import { CACHE_MANAGER, CacheInterceptor, CacheModule as CacheManagerModule } from '@nestjs/cache-manager';
import { Controller, Get, UseInterceptors } from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { CacheModule } from '../../dist/cache/cache.module.js';
import { getCacheToken } from '../../dist/cache/cache.tokens.js';
import { KeyvStore } from '../../dist/cache/keyv.store.js';
import { RedisServer } from '../../test/support/redis-server.ts';
import { redisAt } from '../storages.js';

const opened = [];

/** An application as its author would have it, but for the store. */
async function application(options, { namespace } = {}) {
  class TimeController {
    #requests = 0;
    now() {
      this.#requests += 1;
      return { requests: this.#requests };
    }
  }
  const now = Object.getOwnPropertyDescriptor(TimeController.prototype, 'now');
  Get()(TimeController.prototype, 'now', now);
  UseInterceptors(CacheInterceptor)(TimeController);
  Controller('time')(TimeController);
  const module = await Test.createTestingModule({
    imports: [
      CacheModule.forRoot(options),
      CacheManagerModule.registerAsync({
        isGlobal: true,
        imports: [CacheModule.forFeature('web')],
        inject: [getCacheToken('web')],
        useFactory: (cache) => ({ stores: new KeyvStore(cache), ttl: 60_000, namespace }),
      }),
    ],
    controllers: [TimeController],
  }).compile();
  const app = module.createNestApplication(new FastifyAdapter(), { logger: false });
  opened.push(app);
  await app.init();
  await app.getHttpAdapter().getInstance().ready();
  return { app, manager: app.get(CACHE_MANAGER), cache: app.get(getCacheToken('web')) };
}

describe('@nestjs/cache-manager: memory', () => {
  afterEach(() => Promise.all(opened.splice(0).map((app) => app.close())));

  it('keeps answers by CacheInterceptor', async () => {
    const { app, manager } = await application({});
    const get = async () => (await app.inject('/time')).json();
    expect([await get(), await get()]).toEqual([{ requests: 1 }, { requests: 1 }]);
    await manager.clear();
    expect(await get()).toEqual({ requests: 2 });
  });

  it('does what cache-manager offers', async () => {
    const { manager } = await application({});
    await manager.set('a', { n: 1 });
    expect(await manager.get('a')).toEqual({ n: 1 });
    expect(await manager.get('b')).toBeUndefined();
    await manager.mset([
      { key: 'b', value: 0 },
      { key: 'c', value: null },
    ]);
    expect(await manager.mget(['a', 'b', 'c', 'd'])).toEqual([{ n: 1 }, 0, null, undefined]);
    expect((await manager.ttl('a')) - Date.now()).toBeGreaterThan(59_000);
    await manager.del('a');
    await manager.mdel(['b', 'c']);
    expect(await manager.mget(['a', 'b', 'c'])).toEqual([undefined, undefined, undefined]);
    let runs = 0;
    const wrap = () => manager.wrap('w', () => Promise.resolve((runs += 1)));
    expect([await wrap(), await wrap(), ...(await Promise.all([wrap(), wrap()]))]).toEqual([1, 1, 1, 1]);
  });

  it.each(['app', undefined])('clears what is its own, with the namespace %s', async (namespace) => {
    const { manager, cache } = await application({}, { namespace });
    await manager.set('a', 1);
    await cache.set('direct', 1);
    await manager.clear();
    expect(await manager.get('a')).toBeUndefined();
    expect(await cache.get('direct')).toBe(namespace === undefined ? undefined : 1);
  });

  it('does not close the storage of others', async () => {
    const { manager, cache } = await application({});
    await manager.disconnect();
    await cache.set('a', 1);
    expect(await cache.get('a')).toBe(1);
  });
});

describe('@nestjs/cache-manager: memory and Redis', () => {
  it('shares through Redis, goes on without it, and loses nothing', async () => {
    const server = await RedisServer.start();
    try {
      const options = { redis: redisAt(server.url, 'nest:') };
      const one = await application(options);
      const other = await application(options);
      await one.manager.set('a', 1);
      // A namespace that is new to a Redis with data in it answers with misses at first: `docs/replication.md`.
      await expect.poll(() => other.manager.get('a'), { timeout: 8000 }).toBe(1);
      await server.kill();
      await one.manager.set('a', 2);
      await one.manager.set('b', 2);
      expect(await one.manager.mget(['a', 'b'])).toEqual([2, 2]);
      await server.up();
      await expect.poll(() => other.manager.mget(['a', 'b']), { timeout: 8000 }).toEqual([2, 2]);
    } finally {
      await Promise.all(opened.splice(0).map((app) => app.close()));
      await server.close();
    }
  });
});

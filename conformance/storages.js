import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { inject } from 'vitest';
import { Cache } from '../dist/cache/cache.js';
import { CacheModule } from '../dist/cache/cache.module.js';
import { getCacheToken } from '../dist/cache/cache.tokens.js';

/** Every storage that an application can choose, as `CacheModule` makes it. */
export const STORAGES = ['memory', 'disk', 'memory and Redis', 'disk and Redis'];

let opened = 0;

/** What `CacheModule.forRoot` takes for an empty storage of that name, and how to clean up after it. */
async function optionsFor(storage) {
  const directory = await mkdtemp(join(tmpdir(), 'athena-conformance-'));
  opened += 1;
  const options = { local: storage.startsWith('disk') ? 'disk' : 'memory', directory };
  if (storage.endsWith('Redis'))
    options.redis = redisAt(inject('redisUrl'), `conformance:${process.pid}:${opened}:`);
  return { options, cleanUp: () => rm(directory, { recursive: true, force: true }) };
}

export const redisAt = (url, keyPrefix) => ({
  mode: 'standalone',
  url,
  keyPrefix,
  commandTimeoutMs: 2000,
  connectTimeoutMs: 2000,
});

/** The caches of some namespaces over one such storage. */
export async function openCaches(storage, namespaces) {
  const { options, cleanUp } = await optionsFor(storage);
  const imports = [CacheModule.forRoot(options), ...namespaces.map((name) => CacheModule.forFeature(name))];
  class Application {}
  const app = await NestFactory.createApplicationContext({ module: Application, imports }, { logger: false });
  const caches = namespaces.map((name) => app.get(getCacheToken(name)));
  const landed = storage.endsWith('Redis') ? 'redis' : 'local';
  if ((await app.get(Cache).set('key', 1)) !== landed) throw new Error(`${storage} is something else`);
  return {
    caches,
    async close() {
      await app.close();
      await cleanUp();
    },
  };
}

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

/** What `CacheModule.forRoot` takes for an empty storage of that name. */
function optionsFor(storage) {
  const place = `${process.pid}-${(opened += 1)}`;
  const options = {
    local: storage.startsWith('disk') ? 'disk' : 'memory',
    directory: join(inject('directory'), place),
  };
  if (storage.endsWith('Redis')) options.redis = redisAt(inject('redisUrl'), `${place}:`);
  return options;
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
  const imports = [
    CacheModule.forRoot(optionsFor(storage)),
    ...namespaces.map((name) => CacheModule.forFeature(name)),
  ];
  class Application {}
  const app = await NestFactory.createApplicationContext({ module: Application, imports }, { logger: false });
  const caches = namespaces.map((name) => app.get(getCacheToken(name)));
  const landed = storage.endsWith('Redis') ? 'redis' : 'local';
  if ((await app.get(Cache).set('key', 1)) !== landed) throw new Error(`${storage} is something else`);
  return { caches, close: () => app.close() };
}

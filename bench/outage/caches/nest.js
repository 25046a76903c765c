import 'reflect-metadata';
import { createKeyv, createKeyvNonBlocking } from '@keyv/redis';
import { CACHE_MANAGER, CacheModule } from '@nestjs/cache-manager';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { CacheableMemory } from 'cacheable';
import { Keyv } from 'keyv';
import { TTL_MS } from './configurations.js';

export async function open({ port, nonBlocking = false }) {
  const url = `redis://127.0.0.1:${port}`;
  const remote = nonBlocking ? createKeyvNonBlocking(url) : createKeyv(url);
  remote.on('error', () => {});
  const stores = [new Keyv({ store: new CacheableMemory({ lruSize: 100_000 }) }), remote];
  class Application {}
  Module({
    imports: [CacheModule.registerAsync({ useFactory: () => ({ ttl: TTL_MS, nonBlocking, stores }) })],
  })(Application);
  const application = await NestFactory.createApplicationContext(Application, { logger: false });
  const cache = application.get(CACHE_MANAGER);
  return {
    get: (key) => cache.get(key),
    set: (key, value) => cache.set(key, value),
    delete: (key) => cache.del(key),
    getOrSet: (key, factory) => cache.wrap(key, factory),
  };
}

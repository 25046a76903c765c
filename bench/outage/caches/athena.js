import { fromProduct } from '../product.js';
import { TTL_MS } from './configurations.js';

await fromProduct('reflect-metadata');
const { NestFactory } = await fromProduct('@nestjs/core');
const { Module } = await fromProduct('@nestjs/common');
const { CacheModule } = await import('../../../dist/cache/cache.module.js');
const { Cache } = await import('../../../dist/cache/cache.js');

/** The defaults of `.env.example`, with another port. */
const redisAt = (port) => ({
  mode: 'standalone',
  host: '127.0.0.1',
  port,
  db: 0,
  tls: false,
  keyPrefix: 'athena:',
  commandTimeoutMs: 250,
  connectTimeoutMs: 2000,
});

export async function open({ port, directory, local }) {
  class Application {}
  Module({ imports: [CacheModule.forRoot({ local, directory, ttlMs: TTL_MS, redis: redisAt(port) })] })(
    Application,
  );
  const application = await NestFactory.createApplicationContext(Application, { logger: false });
  const cache = application.get(Cache);
  return {
    get: (key) => cache.get(key),
    set: (key, value) => cache.set(key, value),
    delete: (key) => cache.delete(key),
    getOrSet: (key, factory) => cache.getOrSet(key, factory),
  };
}

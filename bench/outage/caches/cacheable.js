import KeyvRedis, { createKeyvNonBlocking } from '@keyv/redis';
import { RedisMessageProvider } from '@qified/redis';
import { Cacheable } from 'cacheable';
import { TTL_MS } from './configurations.js';

export async function open({ port, sync = false, nonBlocking = false }) {
  const url = `redis://127.0.0.1:${port}`;
  const cache = new Cacheable({
    secondary: nonBlocking ? createKeyvNonBlocking(url) : new KeyvRedis(url),
    nonBlocking,
    ttl: TTL_MS,
    ...(sync ? { sync: { qified: busAt(url) } } : {}),
  });
  cache.on('error', () => {});
  return {
    get: (key) => cache.get(key),
    set: (key, value) => cache.set(key, value),
    delete: (key) => cache.delete(key),
    getOrSet: (key, factory) => cache.getOrSet(key, factory),
  };
}

/** Without listeners on its private clients the process ends when Redis does; there is no public way to add them. */
function busAt(uri) {
  const provider = new RedisMessageProvider({ uri });
  for (const client of [provider.pub, provider.sub]) client.on('error', () => {});
  return provider;
}

import { BentoCache, bentostore } from 'bentocache';
import { memoryDriver } from 'bentocache/drivers/memory';
import { redisBusDriver, redisDriver } from 'bentocache/drivers/redis';
import { TTL_MS } from './configurations.js';

/** The bus keeps its offline queue: without it, its un-awaited SUBSCRIBE ends the process, even with Redis there. */
const TUNED_BUS = { maxRetriesPerRequest: 1, commandTimeout: 200 };
const TUNED = { ...TUNED_BUS, enableOfflineQueue: false };

export async function open({ port, tuned = false }) {
  const address = { host: '127.0.0.1', port };
  const store = bentostore()
    .useL1Layer(memoryDriver({ maxItems: 100_000 }))
    .useL2Layer(redisDriver({ connection: { ...address, ...(tuned ? TUNED : {}) } }))
    .useBus(redisBusDriver({ connection: { ...address, ...(tuned ? TUNED_BUS : {}) } }));
  const breaker = tuned ? { l2CircuitBreakerDuration: '2s' } : {};
  const cache = new BentoCache({ default: 'main', ttl: TTL_MS, ...breaker, stores: { main: store } });
  return {
    get: (key) => cache.get({ key }),
    set: (key, value) => cache.set({ key, value }),
    delete: (key) => cache.delete({ key }),
    getOrSet: (key, factory) => cache.getOrSet({ key, factory }),
  };
}

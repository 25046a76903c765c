import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import type { Cache } from '../../../src/cache/cache.js';
import { Fleet } from '../../support/fleet.js';
import { RedisServer } from '../../support/redis-server.js';
import { TcpProxy } from '../../support/tcp-proxy.js';

const TIMEOUT_MS = 500;
/** One command is in time; two are more than a call may wait. */
const ROUND_TRIP_MS = 400;
const GRACE_MS = 200;

let server: RedisServer;
let proxy: TcpProxy;
let fleet: Fleet;
let cache: Cache;
beforeAll(async () => {
  server = await RedisServer.start(['--appendfsync', 'no']);
  proxy = await TcpProxy.start(server.port);
  fleet = await Fleet.start({ port: proxy.port, commandTimeoutMs: TIMEOUT_MS }, 1);
  cache = fleet.caches[0] as Cache;
});
afterAll(async () => {
  await fleet.close();
  await proxy.close();
  await server.close();
});
beforeEach(async () => {
  await proxy.pass();
  await fleet.recovered();
});

async function timed(call: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await call();
  return performance.now() - begun;
}

/** Until what the instance has is not known to be current; it takes several round trips until that is so again. */
async function loseTheChannel(): Promise<void> {
  const admin = new Redis(server.port);
  const lost = fleet.logged('redis.invalidation_lost', 1);
  await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
  admin.disconnect();
  await lost;
}

describe('a Redis that is slow, and in time for each command', () => {
  it('costs who gets a stale value one time-out at most', async () => {
    await cache.set('stale', 'old', { ttlMs: 1, staleMs: 60_000 });
    proxy.delay(ROUND_TRIP_MS / 2);
    await loseTheChannel();
    let value: unknown;
    const ms = await timed(async () => (value = await cache.getOrSet('stale', () => new Promise(() => {}))));
    expect(value).toBe('old');
    expect(ms).toBeLessThan(TIMEOUT_MS + GRACE_MS);
  });

  it('costs an invalidation one time-out at most, whatever others are under way', async () => {
    proxy.delay(ROUND_TRIP_MS / 2);
    const first = timed(() => cache.invalidateTags(['first']));
    // It has been sent.
    await new Promise((resolve) => setImmediate(resolve));
    const others = [() => cache.invalidateTags(['second']), () => cache.clear()];
    const times = await Promise.all([first, ...others.map(timed)]);
    expect(Math.max(...times)).toBeLessThan(TIMEOUT_MS + GRACE_MS);
    await proxy.pass();
    await fleet.merged();
  });
});

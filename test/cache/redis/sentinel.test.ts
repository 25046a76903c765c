import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Fleet, FleetLoad } from '../../support/fleet.js';
import type { RedisServer } from '../../support/redis-server.js';
import { RedisSentinelServers } from '../../support/redis-sentinel.js';

const SOUND = { lost: [], resurrected: [], disagreements: [] };
let redis: RedisSentinelServers;
let fleet: Fleet;

beforeAll(async () => {
  redis = await RedisSentinelServers.start();
  fleet = await Fleet.start({
    mode: 'sentinel',
    nodes: redis.addresses,
    sentinel: { name: redis.name },
  });
});
afterAll(async () => {
  await fleet?.close();
  await redis?.close();
});

describe('three instances on a Redis with sentinels', () => {
  it.each([
    ['killed', (master: RedisServer) => master.kill(), (former: RedisServer) => former.up()],
    ['stopped', (master: RedisServer) => master.freeze(), (former: RedisServer) => former.thaw()],
  ])(
    'lose nothing when the master is %s under load',
    async (how, fault, repair) => {
      await Promise.all(
        fleet.caches.map((cache, n) => cache.set(`${how}:tagged:${n}`, 'old', { tags: ['t'] })),
      );
      const former = await redis.master();
      const load = new FleetLoad(fleet, how);
      await load.calls(500);
      await fault(former);
      // While nobody is the master: it has to reach whoever becomes it.
      await fleet.caches[0]?.invalidateTags(['t']);
      const failoverMs = await redis.failedOver(former);
      await load.calls(300);
      await repair(former);
      await redis.follows(former);
      await load.calls(300);
      await load.stop();
      await fleet.merged();

      const { errors, wrong, ...figures } = load.figures;
      console.log(how, JSON.stringify({ ...figures, failoverMs: Math.round(failoverMs) }));
      expect({ errors, wrong }).toEqual({ errors: [], wrong: [] });
      expect(figures.outbox).toBeGreaterThan(0);
      expect(await load.verify()).toEqual(SOUND);
      for (const cache of fleet.caches) {
        for (const n of [0, 1, 2]) expect(await cache.get(`${how}:tagged:${n}`)).toBeUndefined();
      }
    },
    40_000,
  );
});

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { examineRedis } from '../../../src/cache/redis/examination.js';
import { Fleet, FleetLoad, withoutReplication } from '../../support/fleet.js';
import type { RedisServer } from '../../support/redis-server.js';
import { RedisSentinelServers } from '../../support/redis-sentinel.js';

const SOUND = { lost: [], resurrected: [], disagreements: [] };
/** One time-out, and what a busy machine adds. */
const SLOWEST_MS = 250 + 1500;
/** Of one instance, about one failover and the merge after it. */
const LOG_LINES = 40;
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
  it('are found fit by the examination, or what is wrong is named', async () => {
    const { ok, address, server } = await examineRedis(fleet.settings);
    expect({ ok, address }).toEqual({ ok: true, address: `127.0.0.1:${(await redis.master()).port}` });
    expect(server).toMatchObject({ masters: 1, role: 'master' });
    const stranger = { ...fleet.settings, sentinel: { name: 'unknown' } };
    const { steps } = await examineRedis(stranger);
    expect(steps).toMatchObject([{ ok: false, problem: expect.stringContaining('no master of this name') }]);
  });

  it.each([
    ['killed', (master: RedisServer) => master.kill(), (former: RedisServer) => former.up()],
    ['stopped', (master: RedisServer) => master.freeze(), (former: RedisServer) => former.thaw()],
  ])(
    'lose nothing when the master is %s under load',
    async (how, fault, repair) => {
      await Promise.all(
        fleet.caches.map((cache, n) => cache.set(`${how}:tagged:${n}`, 'old', { tags: ['t'] })),
      );
      fleet.log.length = 0;
      const former = await redis.master();
      const load = new FleetLoad(fleet, how);
      await load.calls(500);
      const replicas = redis.servers.filter((server) => server !== former);
      await withoutReplication(
        redis.admin(former),
        replicas,
        () => load.calls(200),
        () => fault(former),
      );
      // While nobody is the master: it has to reach whoever becomes it.
      await fleet.caches[0]?.invalidateTags(['t']);
      await redis.failedOver(former);
      await load.calls(300);
      await repair(former);
      await redis.follows(former);
      await load.calls(300);
      await load.stop();
      await fleet.merged();

      const { errors, wrong, ...figures } = load.figures;
      expect({ errors, wrong }).toEqual({ errors: [], wrong: [] });
      expect(figures.outbox).toBeGreaterThan(0);
      expect(figures.slowestMs).toBeLessThan(SLOWEST_MS);
      expect(fleet.log.length).toBeLessThan(LOG_LINES * fleet.caches.length);
      expect(await load.verify()).toEqual(SOUND);
      for (const cache of fleet.caches) {
        for (const n of [0, 1, 2]) expect(await cache.get(`${how}:tagged:${n}`)).toBeUndefined();
      }
    },
    40_000,
  );
});

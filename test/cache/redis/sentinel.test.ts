import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { createRedisClient } from '../../../src/cache/redis/client.js';
import { examineRedis } from '../../../src/cache/redis/examination.js';
import { survive } from '../../support/failover.js';
import { Fleet } from '../../support/fleet.js';
import type { RedisServer } from '../../support/redis-server.js';
import { RedisSentinelServers } from '../../support/redis-sentinel.js';
import { TcpProxy } from '../../support/tcp-proxy.js';

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
      const former = await redis.master();
      await survive(fleet, `sentinel, ${how}`, {
        admin: redis.admin(former),
        replicas: redis.servers.filter((server) => server !== former),
        fault: () => fault(former),
        failedOver: () => redis.failedOver(former),
        repair: () => repair(former),
        follows: () => redis.follows(former),
      });
    },
    40_000,
  );
});

it('comes back when the sentinels tell of the new master while it asks them for the master', async () => {
  const few = await RedisSentinelServers.start({ replicas: 1, sentinels: 1 });
  const proxy = await TcpProxy.start(few.addresses[0]?.port ?? 0);
  const nodes = [{ host: '127.0.0.1', port: proxy.port }];
  const client = createRedisClient({ ...fleet.settings, nodes }, Math.random);
  client.on('error', () => {});
  const news = new Redis({ port: proxy.port });
  try {
    await client.connect();
    await news.subscribe('+switch-master');
    await few.listening(2);
    proxy.freeze('get-master-addr-by-name');
    (await few.master()).kill();
    await once(news, 'message');
    const ready = new Promise<void>((resolve) => client.once('ready', resolve));
    await proxy.pass();
    await ready;
    expect(await client.set('key', 'value')).toBe('OK');
  } finally {
    client.disconnect();
    news.disconnect();
    await proxy.close();
    await few.close();
  }
}, 20_000);

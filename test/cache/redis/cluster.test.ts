import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Keyspace } from '../../../src/cache/redis/keyspace.js';
import { slotOf, tagsOfParts } from '../../../src/cache/redis/slots.js';
import { examineRedis } from '../../../src/cache/redis/examination.js';
import { until } from '../../support/coherence.js';
import { judge, SOUND, survive } from '../../support/failover.js';
import { Fleet, FleetLoad } from '../../support/fleet.js';
import { Heard, Narrated, never } from '../../support/narrated.js';
import type { ClusterNode } from '../../support/redis-cluster.js';
import { RedisClusterServers } from '../../support/redis-cluster.js';

const keyspace = new Keyspace('fleet:', 'default');
const slotOfKey = (key: string): number => slotOf(keyspace.physical(key));
let redis: RedisClusterServers;
let fleet: Fleet;

beforeAll(async () => {
  redis = await RedisClusterServers.start();
  fleet = await Fleet.start({ mode: 'cluster', nodes: redis.addresses.slice(0, 2) });
}, 40_000);
afterAll(async () => {
  await fleet?.close();
  await redis?.close();
});

/** Slots of a master that the load's keys are in. */
async function slotsInUse(load: FleetLoad, node: ClusterNode, count: number): Promise<number[]> {
  const own = new Set(await redis.slotsOf(node));
  return [...new Set(load.keys.map(slotOfKey))].filter((slot) => own.has(slot)).slice(0, count);
}

/** A slot of a master by which a loss of its data is noticed. */
async function beaconOf(node: ClusterNode): Promise<number> {
  const own = new Set(await redis.slotsOf(node));
  return (
    tagsOfParts()
      .map(slotOf)
      .find((slot) => own.has(slot)) ?? NaN
  );
}

describe('three instances on a cluster', () => {
  it('are found fit by the examination, or what is wrong is named', async () => {
    const { ok, server } = await examineRedis(fleet.settings);
    expect({ ok, masters: server?.masters, mode: server?.mode }).toEqual({
      ok: true,
      masters: 3,
      mode: 'cluster',
    });
    const { steps } = await examineRedis({ ...fleet.settings, nodes: [{ host: '127.0.0.1', port: 1 }] });
    expect(steps).toMatchObject([{ ok: false, problem: expect.stringContaining('Nothing listens') }]);
  });

  it("hear the parts of each other's computations, on every master", async () => {
    const [a, b] = fleet.caches;
    const all = Array.from({ length: 12 }, (_, n) => {
      const [key, story, heard] = [`story:${n}`, new Narrated(), new Heard()];
      return { key, story, heard, mine: a?.getOrSet(key, story.factory) };
    });
    expect(
      new Set(
        await Promise.all(all.map(async ({ key }) => (await redis.masterOf(keyspace.physical(key))).port)),
      ).size,
    ).toBe(3);
    await Promise.all(all.map(({ story }) => story.begun));
    for (const { story } of all) story.tell('one ', 'two ');
    const theirs = all.map(({ key, heard }) => b?.getOrSet(key, never, { onPart: heard.onPart }));
    await until(() => all.every(({ heard }) => heard.parts.length === 2));
    for (const { story } of all) story.tell('three');
    await until(() => all.every(({ heard }) => heard.text === 'one two three'));
    for (const { story } of all) story.end();
    expect(new Set(await Promise.all([...theirs, ...all.map(({ mine }) => mine)]))).toEqual(
      new Set(['one two three']),
    );
  });

  it.each([
    ['killed', (master: ClusterNode) => master.server.kill(), (former: ClusterNode) => former.server.up()],
    [
      'stopped',
      (master: ClusterNode) => master.server.freeze(),
      (former: ClusterNode) => former.server.thaw(),
    ],
  ])(
    'lose nothing when a master is %s under load',
    async (how, fault, repair) => {
      // The one that has the marks, which every read needs.
      const former = await redis.masterOf(keyspace.marks);
      await survive(fleet, `cluster, ${how}`, {
        admin: former.admin,
        replicas: await redis.replicasOf(former),
        fault: () => fault(former),
        failedOver: () => redis.failedOver(former),
        repair: () => repair(former),
        follows: () => redis.follows(former),
      });
    },
    40_000,
  );

  it('lose nothing while slots that are in use move', async () => {
    const load = new FleetLoad(fleet, 'moving');
    await load.calls(600);
    const [from, to] = (await redis.masters()) as [ClusterNode, ClusterNode];
    const slots = await slotsInUse(load, from, 60);
    await redis.move(slots, from, to, 20);
    await load.calls(300);
    await judge(fleet, load);
  }, 40_000);

  it('lose nothing when a master joins, takes slots over, and comes back empty', async () => {
    const load = new FleetLoad(fleet, 'joining');
    await load.calls(400);
    const [from] = (await redis.masters()) as [ClusterNode];
    const added = await redis.add();
    await redis.serves();
    await redis.move([await beaconOf(from), ...(await slotsInUse(load, from, 30))], from, added);
    await load.calls(300);
    await added.server.kill();
    await load.calls(300);
    await added.server.up();
    await redis.serves();
    await load.calls(300);
    await judge(fleet, load);

    await redis.move(await redis.slotsOf(added), added, from);
    await redis.remove(added);
    expect(await load.verify()).toEqual(SOUND);
  }, 40_000);

  it('give a master back what it has lost without a sign', async () => {
    const load = new FleetLoad(fleet, 'flushed');
    await load.calls(600);
    await load.stop();
    await fleet.merged();
    const losses = fleet.count('cache.data_lost');
    const [, flushed] = (await redis.masters()) as [ClusterNode, ClusterNode];
    await flushed.admin.flushall();
    await fleet.logged('cache.offer_done', fleet.caches.length);
    expect(fleet.count('cache.data_lost')).toBe(losses + fleet.caches.length);
    expect(await load.verify()).toEqual(SOUND);
  }, 40_000);
});

describe('slots', () => {
  it('are those of Redis', async () => {
    for (const key of [
      'a',
      '',
      '{a}b',
      'x{}y',
      'x{',
      '}{a}',
      'ü{é}€',
      keyspace.marks,
      keyspace.physical('k{e}y'),
    ]) {
      expect([key, slotOf(key)]).toEqual([key, Number(await redis.nodes[0]?.cluster('KEYSLOT', key))]);
    }
  });

  it('have a tag in each part', () => {
    expect(tagsOfParts().map((tag) => Math.floor(slotOf(tag) / 256))).toEqual([...Array(64).keys()]);
  });
});

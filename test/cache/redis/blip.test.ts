import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { Fleet, FleetLoad } from '../../support/fleet.js';
import { RedisServer } from '../../support/redis-server.js';

const INSTANCES = 12;
const BLIP_MS = 1000;
/** The longest pause between two attempts, and a canary that is late, on a slow machine. */
const DARK_AT_MOST_MS = 5000;
/** An instance's part of what all have done for one blip; mostly 10 lines, 3 connections and 13 commands are enough. */
const LINES = 14;
const CONNECTIONS = 5;
const INTRODUCTIONS = 40;
const HOT_KEYS = 20;
const CALLERS = 16;

/** What an instance sends for a connection, and while it looks for the server; a load has none of it. */
const INTRODUCING = /^(hello|info|ping|client|subscribe|select|auth)\b/;

let server: RedisServer;
let fleet: Fleet;
beforeAll(async () => {
  server = await RedisServer.start(['--appendfsync', 'no']);
  fleet = await Fleet.start({ port: server.port }, INSTANCES);
  await fleet.recovered();
});
afterAll(async () => {
  await fleet.close();
  await server.close();
});

async function ask<T>(question: (admin: Redis) => Promise<T>): Promise<T> {
  const admin = new Redis(server.port);
  try {
    return await question(admin);
  } finally {
    admin.disconnect();
  }
}

interface Asked {
  readonly runId: string;
  readonly connections: number;
  /** By kind. */
  readonly commands: ReadonlyMap<string, number>;
}

const asked = (): Promise<Asked> =>
  ask(async (admin) => {
    const [facts, stats] = [await admin.info('everything'), await admin.info('commandstats')];
    const kinds = stats.matchAll(/cmdstat_([^:|]+)[^:]*:calls=(\d+)/g);
    const commands = new Map<string, number>();
    for (const [, kind = '', calls] of kinds) commands.set(kind, (commands.get(kind) ?? 0) + Number(calls));
    const connections = Number(/total_connections_received:(\d+)/.exec(facts)?.[1]);
    return { runId: /run_id:(\w+)/.exec(facts)?.[1] ?? '', connections, commands };
  });

/** Of a server that was started meanwhile, all that it has counted. */
function since(before: Asked, after: Asked): { connections: number; commands: (kinds: RegExp) => number } {
  const isSame = before.runId === after.runId;
  const commands = (kinds: RegExp): number =>
    [...after.commands]
      .filter(([kind]) => kinds.test(kind))
      .reduce((sum, [kind, calls]) => sum + calls - (isSame ? (before.commands.get(kind) ?? 0) : 0), 0);
  return { connections: after.connections - (isSame ? before.connections : 0), commands };
}

/** All of them, at once, in every instance. */
const readAllHot = (keys: readonly string[]): Promise<unknown[]> =>
  Promise.all(
    fleet.caches.flatMap((cache) =>
      keys.flatMap((key) => Array.from({ length: CALLERS }, () => cache.get(key))),
    ),
  );

/** How often a value that nobody has is computed, when all callers of all instances ask for it. */
async function computations(key: string): Promise<number> {
  let computed = 0;
  const factory = async (): Promise<string> => {
    computed += 1;
    await sleep(50);
    return 'value';
  };
  const callers = fleet.caches.flatMap((cache) => Array.from({ length: CALLERS }, () => cache));
  const values = await Promise.all(callers.map((cache) => cache.getOrSet(key, factory)));
  expect(new Set(values)).toEqual(new Set(['value']));
  return computed;
}

const BLIPS: Readonly<Record<string, () => Promise<void>>> = {
  'stopped for a second': async () => {
    server.freeze();
    await sleep(BLIP_MS);
    server.thaw();
  },
  'killed and started within a second': async () => {
    await server.kill();
    await sleep(BLIP_MS / 2);
    await server.up();
  },
  'every connection killed': () =>
    ask(async (admin) => {
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    }),
};

describe(`${INSTANCES} instances live through a blip`, () => {
  for (const [name, blip] of Object.entries(BLIPS)) {
    it(`${name}: nobody stays dark, and there is neither a storm of lines nor a herd`, async () => {
      const hot = Array.from({ length: HOT_KEYS }, (_, index) => `${name}:hot:${index}`);
      await Promise.all(hot.map((key) => fleet.caches[0]?.set(key, key)));
      await readAllHot(hot);
      const load = new FleetLoad(fleet, name, { workersPerInstance: 2, paceMs: 40 });
      await load.calls(300);

      const before = await asked();
      const linesBefore = fleet.log.length;
      await blip();
      const darkMs = await fleet.recovered();
      await load.calls(300);
      await load.stop();
      await fleet.merged();
      const { connections, commands } = since(before, await asked());
      expect(darkMs).toBeLessThan(DARK_AT_MOST_MS);
      expect(fleet.log.length - linesBefore).toBeLessThanOrEqual(INSTANCES * LINES);
      expect(connections).toBeLessThanOrEqual(INSTANCES * CONNECTIONS);
      expect(commands(INTRODUCING)).toBeLessThanOrEqual(INSTANCES * INTRODUCTIONS);
      expect(load.figures).toMatchObject({ errors: [], wrong: [] });

      // What was checked before the blip is compared anew, by each instance once, however many callers it has.
      const comparisons = await fleet.undisturbed(async () => {
        await fleet.recovered();
        const quiet = await asked();
        await readAllHot(hot);
        return since(quiet, await asked()).commands(/^(getrange|mget)$/);
      });
      expect(comparisons).toBeLessThanOrEqual(INSTANCES * HOT_KEYS);

      let popular = 0;
      const computed = await fleet.undisturbed(async () => {
        popular += 1;
        return computations(`${name}:popular:${popular}`);
      });
      expect(computed).toBe(1);
    });
  }
});

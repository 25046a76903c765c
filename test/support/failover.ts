import { expect } from '@jest/globals';
import type { Redis } from 'ioredis';
import type { Fleet } from './fleet.js';
import { FleetLoad, withoutReplication } from './fleet.js';
import type { RedisServer } from './redis-server.js';

export const SOUND = { lost: [], resurrected: [], disagreements: [] };
/** One time-out, and what a busy machine adds. */
const SLOWEST_MS = 250 + 1500;
/** Of one instance, about one failover and the merge after it. */
const LOG_LINES = 40;

/** A master, and what becomes of it. */
export interface Failover {
  readonly admin: Redis;
  readonly replicas: readonly RedisServer[];
  readonly fault: () => Promise<void> | void;
  /** Until another is the master. */
  readonly failedOver: () => Promise<number>;
  /** The former one is there again. */
  readonly repair: () => Promise<void> | void;
  readonly follows: () => Promise<void>;
}

/** Ends the load, and holds the fleet to its promises. */
export async function judge(fleet: Fleet, load: FleetLoad): Promise<void> {
  await load.stop();
  await fleet.merged();
  const { errors, wrong, slowestMs } = load.figures;
  expect({ errors, wrong }).toEqual({ errors: [], wrong: [] });
  expect(slowestMs).toBeLessThan(SLOWEST_MS);
  expect(await load.verify()).toEqual(SOUND);
}

/** Loses a master under load, with writes that it has acknowledged and no replica has got. */
export async function survive(fleet: Fleet, name: string, master: Failover): Promise<void> {
  const tagged = (n: number): string => `${name}:tagged:${n}`;
  await Promise.all(fleet.caches.map((cache, n) => cache.set(tagged(n), 'old', { tags: ['t'] })));
  fleet.log.length = 0;
  const load = new FleetLoad(fleet, name);
  await load.calls(500);
  await withoutReplication(master.admin, master.replicas, () => load.calls(200), master.fault);
  // While nobody is the master: it has to reach whoever becomes it.
  await fleet.caches[0]?.invalidateTags(['t']);
  const failoverMs = await master.failedOver();
  await load.calls(300);
  await master.repair();
  await master.follows();
  await load.calls(300);
  await judge(fleet, load);

  const { operations, outbox, slowestMs } = load.figures;
  expect(outbox).toBeGreaterThan(0);
  expect(fleet.log.length).toBeLessThan(LOG_LINES * fleet.caches.length);
  for (const cache of fleet.caches) {
    for (const n of fleet.caches.keys()) expect(await cache.get(tagged(n))).toBeUndefined();
  }
  process.stdout.write(
    `\n${name}: another master after ${Math.round(failoverMs)} ms; ${operations} calls, errors 0, lost 0; ${outbox} writes waited; slowest call ${slowestMs} ms\n`,
  );
}

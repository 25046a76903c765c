import { setTimeout as sleep } from 'node:timers/promises';
import { inStep } from '../lane.js';
import { HOT, nameIn, TICKS, UPDATES, WRITES } from '../workload.js';
import { curves, latencies } from './latencies.js';
import { howMany, lossesSeenBy, TRUTH, WRITTEN } from './reading.js';
import { areInRedis, SETTLE_MS, untilSeeded } from './settle.js';

/** The servers come back one after the other within this time. */
const RETURNS_MS = 3000;

/** A calls before, during and after the outage, B holds old values in its L1, C starts when all is over. */
export const measureOutage = (configurations, mode, { seconds }) => {
  const tickMs = (seconds * 1000) / TICKS.during;
  const load = ({ writer, turn }, phase) => writer.call('load', { phase, ticks: TICKS[phase], tickMs, turn });
  return inStep(configurations, [
    start,
    seed,
    warm,
    (lane) => load(lane, 'before'),
    (lane) => breakDown(lane, mode),
    (lane) => load(lane, 'during'),
    async (lane) => {
      // Nobody's merge takes the core from another's.
      await sleep(lane.turn * RETURNS_MS);
      // At the same time: what follows the return is part of the curve.
      await Promise.all([restore(lane, mode), load(lane, 'after')]);
      await sleep(Math.max(0, lane.restoredAt + SETTLE_MS - Date.now()));
    },
    report,
    readElsewhere,
  ]);
};

async function start(lane) {
  await lane.startRedis();
  [lane.writer, lane.reader, lane.seeder] = await Promise.all(
    ['a', 'b', 's'].map((label) => lane.open(label)),
  );
}

async function seed({ redis, writer, seeder }) {
  const phases = Object.entries(TICKS);
  const cold = phases.map(([phase, ticks]) => [nameIn(phase, 'cold'), ticks]);
  const deleted = phases.map(([phase, ticks]) => [nameIn(phase, 'deleted'), ticks]);
  for (const [name, count] of cold) await seeder.call('write', { name, count });
  // Before it ends: some caches answer a write before they have sent it.
  await untilSeeded(redis, Object.fromEntries(cold));
  await seeder.kill();
  for (const [name, count] of deleted) await writer.call('write', { name, count });
  await writer.call('write', { name: 'hot', count: HOT });
  await writer.call('write', { name: 'shared', value: 'old', count: UPDATES });
  await untilSeeded(redis, { ...Object.fromEntries(deleted), hot: HOT, old: UPDATES });
}

async function warm({ reader }) {
  await reader.call('read', { name: 'shared', count: UPDATES, truth: 'old' });
  await sleep(500);
}

async function breakDown(lane, mode) {
  lane.brokenAt = Date.now();
  await lane.redis.breakDown(mode);
  await sleep(200);
}

async function restore(lane, mode) {
  await lane.redis.restore(mode);
  lane.restoredAt = Date.now();
  lane.result.awayMs = lane.restoredAt - lane.brokenAt;
  if (await areInRedis(lane.redis, WRITTEN, WRITES, lane.restoredAt + SETTLE_MS))
    lane.result.allThereMs = Date.now() - lane.restoredAt;
}

async function report(lane) {
  const samples = await lane.writer.call('samples');
  const during = samples.filter(({ phase }) => phase === 'during');
  lane.accepted = new Set(
    during
      .filter(({ operation, result }) => operation === 'set' && result === 'accepted')
      .map(({ index }) => index),
  );
  Object.assign(lane.result, {
    before: latencies(samples.filter(({ phase }) => phase === 'before')),
    during: latencies(during),
    after: latencies(samples.filter(({ phase }) => phase === 'after')),
    curves: curves(samples, lane.brokenAt),
    failedCalls: samples.filter(({ result }) => result === 'rejected').length,
    openCalls: samples.filter(({ result }) => result === 'pending').length,
  });
}

async function readElsewhere(lane) {
  const fresh = await lane.open('c');
  const shared = { name: 'shared', count: UPDATES, truth: TRUTH };
  const held = await lane.reader.call('read', shared);
  const found = await fresh.call('read', shared);
  const { lost, undone } = await lossesSeenBy(fresh);
  Object.assign(lane.result, {
    lost: lost.length,
    lostThoughAccepted: lost.filter((index) => lane.accepted.has(index)).length,
    undone,
    staleInReader: howMany(held, 'old'),
    staleInFresh: howMany(found, 'old'),
  });
}

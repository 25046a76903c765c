import { setTimeout as sleep } from 'node:timers/promises';
import { inStep } from '../lane.js';
import { DELETES, TICKS, WRITES } from '../workload.js';
import { DELETED, howMany, lossesSeenBy, WRITTEN } from './reading.js';
import { SETTLE_MS, untilSeeded } from './settle.js';

const TICK_MS = 20;

/** The application is killed and started again while Redis is away. */
export const measureRestart = (configurations, mode) =>
  inStep(configurations, [
    start,
    ({ redis }) => redis.breakDown(mode),
    ({ writer, turn }) =>
      writer.call('load', { phase: 'during', ticks: TICKS.during, tickMs: TICK_MS, turn }),
    restartApplication,
    async ({ redis }) => {
      await redis.restore(mode);
      await sleep(SETTLE_MS);
    },
    count,
  ]);

async function start(lane) {
  await lane.startRedis();
  lane.writer = await lane.open('a');
  await lane.writer.call('write', { name: DELETED, count: DELETES });
  await untilSeeded(lane.redis, { [DELETED]: DELETES });
}

async function restartApplication(lane) {
  await sleep(500);
  await lane.writer.kill();
  try {
    const restarted = await lane.open('a', { waitMs: 500, attempts: 1 });
    const reads = await restarted.call('read', {
      name: WRITTEN,
      count: WRITES,
      limitMs: 2000,
      atOnce: WRITES,
    });
    lane.result.readable = howMany(reads, WRITTEN);
  } catch (error) {
    lane.result.diedAtStart = error.message;
  }
}

async function count(lane) {
  const { lost, undone } = await lossesSeenBy(await lane.open('c'));
  Object.assign(lane.result, { lost: lost.length, undone });
}

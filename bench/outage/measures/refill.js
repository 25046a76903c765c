import { setTimeout as sleep } from 'node:timers/promises';
import { inStep } from '../lane.js';
import { HOT } from '../workload.js';
import { findable } from './reading.js';
import { SETTLE_MS, untilSeeded } from './settle.js';

const AWAY_MS = 3000;

/** Redis comes back without its data, and an instance has live entries. */
export const measureRefill = (configurations, mode) =>
  inStep(
    configurations,
    [
      start,
      async ({ redis }) => {
        await redis.breakDown(mode);
        await sleep(AWAY_MS);
        await redis.restore(mode);
        await sleep(SETTLE_MS);
      },
      async (lane) => {
        lane.result.cameBack = await findable(await lane.open('c'), 'hot', HOT);
      },
    ],
    { keepsData: false },
  );

async function start(lane) {
  await lane.startRedis();
  const application = await lane.open('a');
  await application.call('write', { name: 'hot', count: HOT });
  await untilSeeded(lane.redis, { hot: HOT });
}

import { inStep } from '../lane.js';

const FLOOD = { writes: 100_000, keys: 100 };
const AT_ONCE = 2;

/** What a flood of writes to few keys leaves in memory while Redis is away. */
export async function measureMemory(configurations, mode) {
  const results = [];
  for (let i = 0; i < configurations.length; i += AT_ONCE)
    results.push(
      ...(await inStep(configurations.slice(i, i + AT_ONCE), [
        start,
        ({ redis }) => redis.breakDown(mode),
        flood,
      ])),
    );
  return results;
}

async function start(lane) {
  await lane.startRedis();
  lane.application = await lane.open('a', { waitMs: 1000 });
}

async function flood(lane) {
  Object.assign(lane.result, await lane.application.call('flood', FLOOD));
}

import { setTimeout as sleep } from 'node:timers/promises';
import { inStep, inTurn } from '../lane.js';

/** Longer than the 10.8 s after which the slowest of the known crashes happens. */
export const BOOT_LIMIT_MS = 12_000;
const HEAD_START_MS = 1000;

/** The application starts while Redis is away: not there at all, or there and not answering. */
export const measureBoot = (configurations, mode) =>
  inStep(configurations, [
    async (lane) => {
      await lane.startRedis();
      await lane.redis.breakDown(mode);
      lane.application = await lane.fork('a');
    },
    // Two starts at once would be slower; those that block are not waited for.
    inTurn(boot, HEAD_START_MS),
    watch,
  ]);

async function boot(lane) {
  const { application, result } = lane;
  lane.begunAt = Date.now();
  try {
    result.readyMs = await limited(application.call('open'));
    if (result.readyMs === undefined) return;
    const calls = await application.call('firstCalls', { limitMs: BOOT_LIMIT_MS });
    result.firstCallMs = Math.max(...Object.values(calls).map(({ ms }) => ms));
    result.failedCalls = Object.values(calls).filter(({ error }) => error !== undefined).length;
  } catch (error) {
    if (application.died === undefined) throw error;
  }
}

/** A process may answer first and end then. */
async function watch({ application, result, begunAt }) {
  await sleep(Math.max(0, begunAt + BOOT_LIMIT_MS - Date.now()));
  if (application.died !== undefined) result.diedAfterMs = application.diedAt - begunAt;
}

const limited = (call) => Promise.race([call, sleep(BOOT_LIMIT_MS, undefined, { ref: false })]);

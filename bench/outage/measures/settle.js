import { setTimeout as sleep } from 'node:timers/promises';

/** After Redis is back: time to reconnect and merge. The slowest peer reconnects within two seconds. */
export const SETTLE_MS = 8000;
const LOOK_EVERY_MS = 500;
const SEED_LIMIT_MS = 5000;

/** Waits until all values of a name are in Redis; false if they are not by `deadline`. */
export async function areInRedis(redis, name, count, deadline) {
  while ((await redis.countValues(name)) < count) {
    if (Date.now() > deadline) return false;
    await sleep(LOOK_EVERY_MS);
  }
  return true;
}

/** What was written before the outage must be there: without it nothing could be lost or undone. */
export async function untilSeeded(redis, expected) {
  const deadline = Date.now() + SEED_LIMIT_MS;
  for (const [name, count] of Object.entries(expected)) {
    if (await areInRedis(redis, name, count, deadline)) continue;
    throw new Error(`the values of ${name} did not reach Redis before the outage`);
  }
}

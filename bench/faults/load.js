import { setTimeout as sleep } from 'node:timers/promises';

const CALLERS = 16;
const PAUSE_MS = 10;

async function timed({ operation, call }) {
  const begun = performance.now();
  await call();
  return { operation, ms: performance.now() - begun };
}

/**
 * Callers that wait for each answer and rest a little: each makes a call on one cache and then the same on the other, so
 * that both meet whatever the machine does. The one that has Redis comes first. A call that fails ends the bench.
 */
export async function callersFor(forMs, { shared, local }) {
  const samples = { shared: [], local: [] };
  const end = performance.now() + forMs;
  const caller = async () => {
    while (performance.now() < end) {
      samples.shared.push(await timed(shared.next()));
      samples.local.push(await timed(local.next()));
      await sleep(Math.random() * PAUSE_MS);
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  return samples;
}

const BURST = 1000;

/** All of them at once; each waits for those before it too. */
export async function burst({ shared, local }) {
  const all = (calls) => Promise.all(Array.from({ length: BURST }, () => timed(calls.next())));
  return { shared: await all(shared), local: await all(local) };
}

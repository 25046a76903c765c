/** A process with one cache: `worker.js <configuration> <port> <directory>`. Obeys its parent. */
import { setTimeout as sleep } from 'node:timers/promises';
import { configurations } from './caches/configurations.js';
import { callsOfTick, keyOf, nameOfValue, valueOf } from './workload.js';

const [, , name, port, directory] = process.argv;
const { file, options } = configurations.find((configuration) => configuration.name === name);
const { open } = await import(`./caches/${file}`);
const MIB = 1024 * 1024;

let cache;
const samples = [];

/** Notes when the call began and ended, and as what; it is not waited for, as users do not wait for each other. */
function track(phase, [operation, index, call]) {
  const begun = performance.now();
  const sample = { phase, operation, index, at: Date.now(), begun, result: 'pending' };
  samples.push(sample);
  const settle = (result) => {
    sample.ms = performance.now() - begun;
    sample.result = result;
  };
  Promise.try(call).then(
    (value) => settle(isRefusal(value) ? 'refused' : 'accepted'),
    () => settle('rejected'),
  );
}

/** Athena says `local` or `superseded` of what will not reach Redis; some peers say false. */
const isRefusal = (value) => value === 'local' || value === 'superseded' || value === false;

async function limited(call, limitMs) {
  const begun = performance.now();
  const limit = new AbortController();
  const outcome = await Promise.race([
    Promise.try(call).then(
      (value) => ({ value }),
      (error) => ({ error: String(error?.message ?? error) }),
    ),
    sleep(limitMs, { blocked: true }, { signal: limit.signal, ref: false }),
  ]);
  if (!outcome.blocked) limit.abort();
  return { ...outcome, ms: performance.now() - begun };
}

function nameOfRead({ value, blocked, error }) {
  if (blocked) return 'blocked';
  return error === undefined ? nameOfValue(value) : 'failed';
}

async function memoryMib() {
  globalThis.gc();
  await sleep(50);
  globalThis.gc();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: (heapUsed + external) / MIB, resident: rss / MIB };
}

const commands = {
  async open() {
    const begun = performance.now();
    cache = await open({ port: Number(port), directory, ...options });
    return performance.now() - begun;
  },

  /** Lazy clients connect at the first call; some drop what is written meanwhile, and a breaker may stay open for 2 s. */
  async connect({ waitMs = 2500 }) {
    await limited(() => cache.set('warm-up', 'first'), waitMs);
    await sleep(waitMs);
    await limited(() => cache.set('warm-up', 'second'), waitMs);
  },

  async write({ name, value = name, count }) {
    for (let i = 0; i < count; i += 1) await cache.set(keyOf(name, i), valueOf(value, i));
  },

  /**
   * The names of the values that are read, `nothing`, `blocked` or `failed`. With a `truth` it reads as applications
   * do, by `getOrSet`, with a factory that gives that. Few at once: a cache that is overrun counts as one that has lost.
   */
  async read({ name, count, truth, limitMs = 5000, atOnce = 10 }) {
    const readOne = (i) =>
      truth === undefined
        ? cache.get(keyOf(name, i))
        : cache.getOrSet(keyOf(name, i), async () => valueOf(truth, i));
    const names = [];
    for (let i = 0; i < count; i += atOnce) {
      const size = Math.min(atOnce, count - i);
      const reads = Array.from({ length: size }, (_, step) => limited(() => readOne(i + step), limitMs));
      names.push(...(await Promise.all(reads)).map(nameOfRead));
    }
    return names;
  },

  /** `turn`, from 0 to 1, is where in the beat of the clock the ticks of this process are. */
  async load({ phase, ticks, tickMs, turn }) {
    const now = Date.now() / tickMs - turn;
    const wait = (Math.ceil(now) - now) * tickMs;
    const begun = performance.now() + wait;
    for (let tick = 0; tick < ticks; tick += 1) {
      await sleep(Math.max(0, begun + tick * tickMs - performance.now()));
      for (const call of callsOfTick(cache, phase, tick)) track(phase, call);
    }
    await sleep(tickMs * (1 - turn));
  },

  /** What has not ended yet took until now at least. */
  samples() {
    const now = performance.now();
    for (const sample of samples) if (sample.result === 'pending') sample.ms = now - sample.begun;
    return samples;
  },

  async firstCalls({ limitMs }) {
    const calls = {
      get: () => cache.get('first:1'),
      set: () => cache.set('first:2', 'value'),
      getOrSet: () => cache.getOrSet('first:3', async () => 'value'),
      delete: () => cache.delete('first:4'),
    };
    const entries = Object.entries(calls).map(async ([name, call]) => [name, await limited(call, limitMs)]);
    return Object.fromEntries(await Promise.all(entries));
  },

  /** Few keys, so that the cache itself stays small and only queues grow. */
  async flood({ writes, keys }) {
    const before = await memoryMib();
    const filler = 'x'.repeat(1000);
    let answered = 0;
    const answer = () => (answered += 1);
    for (let i = 0; i < writes; i += 1) {
      Promise.try(() => cache.set(keyOf('flood', i % keys), filler + i)).then(answer, () => {});
      if (i % 500 === 499) await sleep(1);
    }
    await sleep(500);
    const after = await memoryMib();
    return { heapMib: after.heap - before.heap, residentMib: after.resident - before.resident, answered };
  },
};

process.on('disconnect', () => process.exit());
process.on('message', async ({ id, command, args }) => {
  try {
    process.send({ id, result: await commands[command](args) });
  } catch (error) {
    process.send({ id, error: String(error?.message ?? error) });
  }
});
process.send({ id: 'ready' });

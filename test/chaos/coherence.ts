import type { CacheStats } from '../../src/cache/cache.js';
import type { AppInstance } from './app-instance.js';
import type { Cluster } from './cluster.js';
import { Random } from './random.js';
import type { TimedRead, TimedWrite } from './staleness.js';
import { StalenessJudge } from './staleness.js';

export interface CoherenceOptions {
  readonly seed: number;
  /** How long the connections that tell of changes are killed again and again; and how long frozen without a close. */
  readonly killingMs: number;
  readonly freezingMs: number;
  readonly keys?: number;
}

export interface CoherenceReport {
  readonly seed: number;
  readonly reads: number;
  /** Reads that were answered without asking Redis. */
  readonly hits: number;
  /** Reads that are not judged, for Redis did not answer in time. */
  readonly cutOff: number;
  readonly writes: number;
  readonly kills: number;
  readonly freezes: number;
  /** Of each instance: how often it noticed that it was not told any more. */
  readonly losses: readonly number[];
  readonly boundMs: number;
  /** Of the instance with the longest stall. */
  readonly allowanceMs: number;
  /** How long the value of a read had been replaced when the read began: the longest. */
  readonly stalestMs: number;
  readonly tooStale: readonly string[];
  /** How many values were compared at the end, and those that are not what Redis has. */
  readonly compared: number;
  readonly differing: readonly string[];
}

interface LoadReport {
  readonly reads: number;
  readonly hits: number;
  readonly cutOff: number;
  readonly longestStallMs: number;
  readonly writes: readonly TimedWrite[];
  readonly lastReads: readonly TimedRead[];
}

const REARM_LIMIT_MS = 20_000;
/** What no other connection says in its first requests. */
const TRACKING = 'TRACKING';
/** Of timers and of the clock, beside what is measured. */
const GRANULARITY_MS = 50;

/** Reads and writes in all instances while what tells them of changes fails, and whether they were right. */
export async function playCoherence(cluster: Cluster, options: CoherenceOptions): Promise<CoherenceReport> {
  const { seed, killingMs, freezingMs } = options;
  const { instances, proxies } = cluster;
  const random = new Random(seed);
  const keys = Array.from({ length: options.keys ?? 200 }, (_, n) => `coherence:${seed}:${n}`);
  const before = await Promise.all(instances.map(coherenceOf));

  await Promise.all(
    instances.map((instance) => instance.ask('beginLoad', { name: `${seed}.${instance.index}`, keys })),
  );
  const kills = await repeatFor(killingMs, async () => {
    await pause(200 + random.below(200));
    return killChannels(cluster, random);
  });
  const freezing = proxies.map((proxy) => {
    const own = random.fork();
    return repeatFor(freezingMs, async () => {
      await pause(own.below(800));
      proxy.freeze(TRACKING);
      await pause(400 + own.below(3600));
      await proxy.pass();
      return 1;
    });
  });
  const freezes = sum(await Promise.all(freezing));
  const loads = await Promise.all(instances.map((instance) => instance.ask<LoadReport>('endLoad')));

  const deadline = AbortSignal.timeout(REARM_LIMIT_MS);
  await Promise.all(instances.map((instance) => allTold(cluster, instance, seed, deadline)));
  const after = await Promise.all(instances.map(coherenceOf));
  const boundMs = Math.max(...after.map(({ stalenessBoundMs }) => stalenessBoundMs));
  return {
    seed,
    reads: sum(loads.map(({ reads }) => reads)),
    hits: sum(loads.map(({ hits }) => hits)),
    cutOff: sum(loads.map(({ cutOff }) => cutOff)),
    writes: sum(loads.map(({ writes }) => writes.length)),
    kills,
    freezes,
    losses: after.map(({ losses }, index) => losses - (before[index]?.losses ?? 0)),
    boundMs,
    allowanceMs: Math.max(...loads.map(allowanceMs)),
    ...judge(loads, boundMs),
    ...(await compare(cluster, keys)),
  };
}

/** The sum of what the turns say. */
async function repeatFor(ms: number, turn: () => Promise<number>): Promise<number> {
  const endsAt = performance.now() + ms;
  let total = 0;
  while (performance.now() < endsAt) total += await turn();
  return total;
}

/** Some of the connections that Redis has to tell of changes. */
async function killChannels({ admin }: Cluster, random: Random): Promise<number> {
  const clients = String(await admin.client('LIST')).split('\n');
  const ids = clients.flatMap((line) => /^id=(\d+) .* flags=\w*t/.exec(line)?.[1] ?? []);
  const struck = ids.filter(() => random.chance(0.7));
  return sum(await Promise.all(struck.map(async (id) => Number(await admin.client('KILL', 'ID', id)))));
}

/**
 * Two timers lie between the last that an instance was told and its knowledge of the loss, for the next canary and for
 * its time-out, and each is as late as the event loop stands still.
 */
const allowanceMs = ({ longestStallMs }: LoadReport): number => 2 * longestStallMs + GRANULARITY_MS;

function judge(
  loads: readonly LoadReport[],
  boundMs: number,
): Pick<CoherenceReport, 'stalestMs' | 'tooStale'> {
  const judge = new StalenessJudge(loads.flatMap(({ writes }) => writes));
  let stalestMs = 0;
  const tooStale: string[] = [];
  for (const [index, load] of loads.entries()) {
    const limitMs = boundMs + allowanceMs(load);
    for (const read of load.lastReads) {
      const staleMs = judge.staleMs(read);
      stalestMs = Math.max(stalestMs, staleMs);
      if (staleMs <= limitMs) continue;
      const age = `${staleMs.toFixed(0)} ms after its end; the limit is ${limitMs.toFixed(0)}`;
      tooStale.push(`instance ${index} read ${read.value} of ${read.key} ${age}`);
    }
  }
  return { stalestMs, tooStale };
}

/** News come in order: an instance that has heard of a change by another has heard of all before it. */
async function allTold(
  cluster: Cluster,
  instance: AppInstance,
  seed: number,
  deadline: AbortSignal,
): Promise<void> {
  const other = cluster.instance((instance.index + 1) % cluster.instances.length);
  const key = `coherence:${seed}:last:${instance.index}`;
  const write = (id: string) => other.ask('set', { key, id, size: 0, ttlMs: 60_000, tags: [] });
  const until = async (what: string, isSo: () => Promise<boolean>): Promise<void> => {
    while (!(await isSo())) {
      if (deadline.aborted) throw new Error(`Instance ${instance.index} is not ${what} again.`);
      await pause(5);
    }
  };
  const peeked = async (): Promise<unknown> =>
    (await instance.ask<unknown[]>('peekMany', { keys: [key] }))[0];
  await until('armed', async () => (await coherenceOf(instance)).state === 'armed');
  await write('before');
  await until('serving', async () => {
    await instance.ask('get', { key });
    return (await peeked()) === 'before';
  });
  await write('after');
  await until('told', async () => (await peeked()) !== 'before');
}

async function coherenceOf(instance: AppInstance) {
  const { cache } = await instance.ask<{ cache: CacheStats }>('stats');
  const { coherence } = cache.storage;
  if (coherence === undefined) throw new Error(`Instance ${instance.index} is told of nothing.`);
  return coherence;
}

/** What each instance has in its memory, then what it reads, then what it has after that, with what Redis has. */
async function compare(
  { instances, view }: Cluster,
  keys: readonly string[],
): Promise<Pick<CoherenceReport, 'compared' | 'differing'>> {
  const inRedis = await view.values(keys);
  let compared = 0;
  const differing: string[] = [];
  for (const look of ['peekMany', 'getMany', 'peekMany']) {
    for (const instance of instances) {
      const values = await instance.ask<(string | null)[]>(look, { keys });
      for (const [nth, key] of keys.entries()) {
        const value = values[nth] ?? undefined;
        // Not to be had without asking Redis.
        if (value === undefined && look === 'peekMany') continue;
        compared += 1;
        if (value === inRedis[nth]) continue;
        const both = `${value ?? 'nothing'}, Redis ${inRedis[nth] ?? 'nothing'}`;
        differing.push(`${look}: instance ${instance.index} has ${both} as ${key}`);
      }
    }
  }
  return { compared, differing };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0);

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

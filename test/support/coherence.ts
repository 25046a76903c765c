import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { InvalidationStats } from '../../src/cache/redis/invalidation.js';
import type { EntryDraft } from '../../src/cache/replication/replica.js';
import { EnvelopeCodec } from '../../src/cache/storage/envelope.js';
import type { ReplicatedCacheStorage } from '../../src/cache/storage/replicated.storage.js';
import { newsOf } from './armed-storage.js';

export const draft = (value: unknown, tags: string[] = []): EntryDraft => ({
  value,
  tags,
  freshMs: 60_000,
  lifeMs: 60_000,
});

/** Until it is so; the test's own time-out ends it. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await sleep(1);
}

/** Reads until nothing was told of it meanwhile: that of a write may come after its reply. */
export const known = (storage: ReplicatedCacheStorage, key: string): Promise<void> =>
  until(async () => (await storage.get(key)) !== undefined && storage.peek(key) !== undefined);

export const valueOf = async (storage: ReplicatedCacheStorage, key: string): Promise<unknown> =>
  (await storage.get(key))?.entry.value;

/** How many commands Redis has been asked by reads since. */
export async function asked(raw: Redis, work: () => Promise<unknown>): Promise<number> {
  const count = async (): Promise<number> =>
    Number(/cmdstat_getrange:calls=(\d+)/.exec(await raw.info('commandstats'))?.[1] ?? 0) +
    Number(/cmdstat_mget:calls=(\d+)/.exec(await raw.info('commandstats'))?.[1] ?? 0);
  const before = await count();
  await work();
  return (await count()) - before;
}

/** From the call of a write by `a` until `b` does not serve what was there: of each round, in order of length. */
export async function delaysMs(
  a: ReplicatedCacheStorage,
  b: ReplicatedCacheStorage,
  rounds: number,
): Promise<number[]> {
  const delays: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    await a.write('key', draft(round));
    await known(b, 'key');
    const begunMs = performance.now();
    const written = a.write('key', draft(-1));
    while (b.peek('key')?.entry.value === round) await new Promise((resolve) => setImmediate(resolve));
    delays.push(performance.now() - begunMs);
    await written;
  }
  return delays.sort((x, y) => x - y);
}

const KEYS = Array.from({ length: 200 }, (_, n) => `key:${n}`);
const KILLS = 12;

/** Reads and writes through all storages, while the connections by which they learn of changes are killed. */
export async function killChannels(
  storages: readonly ReplicatedCacheStorage[],
  raw: Redis,
  armed: InvalidationStats['state'],
): Promise<{ written: number; fewestLosses: number; oldestReadMs: number }> {
  const written = new Map<string, { id: number; atMs: number }[]>(KEYS.map((key) => [key, []]));
  let next = 0;
  let oldestReadMs = 0;
  const end = new AbortController();
  const worker = async (storage: ReplicatedCacheStorage, seed: number): Promise<void> => {
    for (let n = seed; !end.signal.aborted; n += 7) {
      const key = KEYS[n % KEYS.length] ?? '';
      if (n % 5 === 0) {
        const id = (next += 1);
        if ((await storage.write(key, draft(id))) === 'redis') {
          written.get(key)?.push({ id, atMs: performance.now() });
        }
      } else {
        const begunMs = performance.now();
        const id = (await valueOf(storage, key)) as number | undefined;
        const history = written.get(key) ?? [];
        const at = history.findIndex((write) => write.id === id);
        // What was written after the value that was read, and acknowledged before the read began.
        const missed = at < 0 ? undefined : history[at + 1];
        if (missed !== undefined) oldestReadMs = Math.max(oldestReadMs, begunMs - missed.atMs);
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const working = storages.flatMap((storage, n) => [worker(storage, n), worker(storage, n + 50)]);
  for (let kill = 0; kill < KILLS; kill += 1) {
    await sleep(150);
    await raw.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
  }
  end.abort();
  await Promise.all(working);
  await until(() => storages.every((storage) => newsOf(storage)?.state === armed));
  const fewestLosses = Math.min(...storages.map((storage) => newsOf(storage)?.losses ?? 0));
  return { written: next, fewestLosses, oldestReadMs };
}

/** What an instance would serve at once, and Redis does not have: key, the one, the other. */
export async function staleIn(storages: readonly ReplicatedCacheStorage[], raw: Redis): Promise<unknown[]> {
  const codec = new EnvelopeCodec();
  const stale: unknown[] = [];
  for (const key of KEYS) {
    const bytes = await raw.getBuffer(`t:default:e:{${key}}`);
    const decoded = bytes && codec.decode(bytes, { namespace: 'default', key });
    const real = decoded?.kind === 'entry' ? decoded.entry.value : undefined;
    for (const storage of storages) {
      const peeked = storage.peek(key)?.entry.value;
      if (peeked !== undefined && peeked !== real) stale.push([key, peeked, real]);
    }
  }
  return stale;
}

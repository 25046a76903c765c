import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { RedisConnection } from '../../../src/cache/redis/connection.js';
import { RedisSide } from '../../../src/cache/redis/redis-side.js';
import { HybridLogicalClock } from '../../../src/cache/replication/clock.js';
import { DiskCacheStorage } from '../../../src/cache/storage/disk.storage.js';
import { EnvelopeCodec } from '../../../src/cache/storage/envelope.js';
import { MemoryCacheStorage } from '../../../src/cache/storage/memory.storage.js';
import type { LocalStorage } from '../../../src/cache/storage/replicated.storage.js';
import { ReplicatedCacheStorage } from '../../../src/cache/storage/replicated.storage.js';
import { RedisServer } from '../../support/redis-server.js';
import { describeStorageContract } from './storage-contract.js';

const MAX_LIFE_MS = 86_400_000;
let server: RedisServer;
let directory: string;
beforeAll(async () => {
  server = await RedisServer.start(['--appendfsync', 'no']);
  directory = await mkdtemp(join(tmpdir(), 'athena-replicated-'));
});
afterAll(async () => {
  await server.close();
  await rm(directory, { recursive: true });
});

const newClock = (): HybridLogicalClock => new HybridLogicalClock(randomBytes(8).toString('hex'));
const codec = new EnvelopeCodec();

function connect(): RedisConnection {
  return new RedisConnection({
    mode: 'standalone',
    host: '127.0.0.1',
    port: server.port,
    db: 0,
    tls: false,
    keyPrefix: 'test:',
    commandTimeoutMs: 500,
    connectTimeoutMs: 500,
  });
}

/** On a Redis without data; `local` gets the clock of the storage. */
async function replicated(
  local: (clock: HybridLogicalClock) => Promise<LocalStorage> | LocalStorage,
  { flush = true } = {},
): Promise<ReplicatedCacheStorage> {
  const clock = newClock();
  const connection = connect();
  await connection.settled(2000);
  if (flush) await connection.run((client) => client.flushall());
  const storage = new ReplicatedCacheStorage({
    local: await local(clock),
    clock,
    codec,
    shared: new RedisSide({ connection, maxLifeMs: MAX_LIFE_MS, heartbeatMs: 50, timeoutMs: 300 }),
    maxLifeMs: MAX_LIFE_MS,
    heartbeatMs: 50,
  });
  await storage.opened();
  await storage.settled(2000);
  return storage;
}

const memory = (clock: HybridLogicalClock): MemoryCacheStorage =>
  new MemoryCacheStorage({ maxBytes: 100 * 2 ** 20, now: () => clock.time() });
const disk = async (clock: HybridLogicalClock): Promise<DiskCacheStorage> =>
  DiskCacheStorage.open({
    directory: await mkdtemp(join(directory, 'disk-')),
    maxBytes: 300 * 2 ** 20,
    codec,
    now: () => clock.time(),
  });

const timed = (storage: ReplicatedCacheStorage, pace = 1) => ({
  pace,
  storage,
  now: () => storage.time(),
  stamp: () => storage.stamp(),
  pass: (ms: number) => sleep(ms),
});

describeStorageContract('ReplicatedCacheStorage, memory and Redis', async () =>
  timed(await replicated(memory)),
);
describeStorageContract('ReplicatedCacheStorage, disk and Redis', async () =>
  timed(await replicated(disk), 10),
);
const ALONE = [
  ['memory', memory],
  ['disk', disk],
] as const;
describe.each(ALONE)('alone', (kind, local) => {
  describeStorageContract(`ReplicatedCacheStorage, ${kind} alone`, async () => {
    let nowMs = Date.now();
    const clock = new HybridLogicalClock(randomBytes(8).toString('hex'), () => nowMs);
    const storage = new ReplicatedCacheStorage({ local: await local(clock), clock, codec });
    await storage.opened();
    return {
      ...timed(storage),
      pass: async (ms: number) => {
        nowMs += ms;
      },
    };
  });
});

async function alone(
  local: (clock: HybridLogicalClock) => Promise<LocalStorage> | LocalStorage,
): Promise<ReplicatedCacheStorage> {
  const clock = newClock();
  const storage = new ReplicatedCacheStorage({ local: await local(clock), clock, codec });
  await storage.opened();
  return storage;
}

const draft = (value: unknown, tags: string[] = [], lifeMs = 60_000) => ({
  value,
  tags,
  freshMs: lifeMs,
  lifeMs,
});
const valueOf = async (storage: ReplicatedCacheStorage, key: string): Promise<unknown> =>
  (await storage.get(key))?.entry.value;

describe.each([
  ['with Redis', () => replicated(memory)],
  ['alone, in memory', () => alone(memory)],
  ['alone, on disk', () => alone(disk)],
])('ReplicatedCacheStorage %s', (_name, create) => {
  it.each<[string, (storage: ReplicatedCacheStorage) => Promise<unknown>]>([
    ['a delete', (storage) => storage.remove('key')],
    ['a clear', (storage) => storage.clear()],
    ['an invalidation of a tag', (storage) => storage.invalidateTags(['other', 'tag'])],
    ['a write', (storage) => storage.write('key', draft('newer'))],
    ['a write that has expired since', (storage) => storage.write('key', draft('newer', [], 0))],
  ])('keeps a late factory from storing its result over %s', async (_label, change) => {
    const storage = await create();
    const version = await storage.begin('key');
    await change(storage);
    const before = await valueOf(storage, 'key');
    expect(await storage.complete('key', draft('late', ['tag']), version)).toBe('superseded');
    expect(await valueOf(storage, 'key')).toBe(before);
    const next = await storage.begin('key');
    expect(['redis', 'local']).toContain(await storage.complete('key', draft('next', ['tag']), next));
    expect(await valueOf(storage, 'key')).toBe('next');
    expect(storage.stats().replication).toMatchObject({ resurrectionsPrevented: 1 });
    await storage.close();
  });

  it('makes what carries a tag a miss, and nothing else', async () => {
    const storage = await create();
    await storage.write('a', draft(1, ['red', 'round']));
    await storage.write('b', draft(2, ['blue', 'round']));
    await storage.write('c', draft(3));
    await storage.invalidateTags(['red']);
    expect(await Promise.all(['a', 'b', 'c'].map((key) => valueOf(storage, key)))).toEqual([undefined, 2, 3]);
    expect(await storage.size()).toBe(2);
    const keys: string[] = [];
    for await (const key of storage.keys()) keys.push(key);
    expect(keys.sort()).toEqual(['b', 'c']);
    await storage.write('a', draft('again', ['red']));
    expect(await valueOf(storage, 'a')).toBe('again');
    await storage.close();
  });

  it('stores what a value was when it was given', async () => {
    const storage = await create();
    const value = { n: 1, list: [1] };
    const tags = ['t'];
    const written = storage.write('key', draft(value, tags));
    value.n = 2;
    value.list.push(2);
    tags[0] = 'u';
    await written;
    expect(await storage.get('key')).toMatchObject({ entry: { value: { n: 1, list: [1] }, tags: ['t'] } });
    await storage.close();
  });

  it('shares nothing that a caller can change', async () => {
    const storage = await create();
    await storage.write('key', draft({ when: new Date(7) }));
    const [one, two] = await Promise.all([storage.get('key'), storage.get('key')]);
    const changed = one?.entry.value as { when: Date };
    changed.when.setTime(9);
    expect(two?.entry.value).toEqual({ when: new Date(7) });
    expect(await valueOf(storage, 'key')).toEqual({ when: new Date(7) });
    await storage.close();
  });
});

describe('ReplicatedCacheStorage', () => {
  it('keeps its marks over a restart, alone on a disk', async () => {
    const place = await mkdtemp(join(directory, 'marks-'));
    const open = async (): Promise<ReplicatedCacheStorage> => {
      const clock = newClock();
      const local = await DiskCacheStorage.open({
        directory: place,
        maxBytes: 2 ** 24,
        codec,
        now: () => clock.time(),
      });
      return new ReplicatedCacheStorage({ local, clock, codec });
    };
    const first = await open();
    await first.write('a', draft(1, ['red']));
    await first.write('b', draft(2));
    await first.invalidateTags(['red']);
    await first.close();
    const second = await open();
    expect(await valueOf(second, 'a')).toBeUndefined();
    expect(await valueOf(second, 'b')).toBe(2);
    await second.close();
  });

  it('goes on while Redis does not answer, and merges when it does', async () => {
    const storage = await replicated(memory);
    const other = await replicated(memory, { flush: false });
    await storage.write('kept', draft('kept'));
    await storage.write('deleted', draft('deleted'));
    server.freeze();
    expect(await storage.get('kept')).toMatchObject({ entry: { value: 'kept' }, tier: 'memory' });
    expect(await storage.write('away', draft('away'))).toBe('outbox');
    expect(await storage.remove('deleted')).toEqual({ landed: 'outbox', existed: true });
    expect(storage.peek('away')).toMatchObject({ tier: 'memory' });
    expect(await storage.size()).toBe(2);
    expect(storage.stats()).toMatchObject({
      kind: 'replicated',
      faults: expect.any(Number),
      replication: { online: false, outbox: { pending: 2 } },
    });
    server.thaw();
    while (storage.stats().replication?.outbox.pending !== 0) await sleep(10);
    while (other.stats().replication?.online !== true) await sleep(10);
    expect(await other.getMany(['kept', 'away', 'deleted'])).toMatchObject([
      { entry: { value: 'kept' } },
      { entry: { value: 'away' }, tier: 'redis' },
      undefined,
    ]);
    await Promise.all([storage.close(), other.close()]);
  });

  it('removes what is damaged in Redis, and frees what was cleared and invalidated', async () => {
    const storage = await replicated(memory);
    const other = await replicated(memory, { flush: false });
    const raw = connect();
    await raw.settled(1000);
    const has = (key: string): Promise<boolean> =>
      raw.run(async (client) => (await client.exists(`test:default:e:{${key}}`)) === 1);
    await storage.write('damaged', draft('value'));
    await storage.write('red', draft(1, ['red']));
    await storage.write('blue', draft(2, ['blue']));
    await raw.run((client) => client.setrange('test:default:e:{damaged}', 95, 'damage'));
    expect(await other.get('damaged')).toBeUndefined();
    while (await has('damaged')) await sleep(5);
    expect(other.stats().corrupt).toBeGreaterThan(0);
    await storage.invalidateTags(['red']);
    while (await has('red')) await sleep(5);
    expect(await has('blue')).toBe(true);
    while (storage.stats().replication?.reclaimed !== 1) await sleep(5);
    await Promise.all([storage.close(), other.close(), raw.close()]);
  });

  it('sends what waits before it closes', async () => {
    const storage = await replicated(memory);
    const reader = await replicated(memory, { flush: false });
    server.freeze();
    await storage.write('last', draft('last'));
    server.thaw();
    while (storage.stats().replication?.online !== true) await sleep(1);
    await storage.close();
    while (reader.stats().replication?.online !== true) await sleep(1);
    expect(await valueOf(reader, 'last')).toBe('last');
    await reader.close();
  });

  it('serves no older value where it could not keep the newer one', async () => {
    const small = (clock: HybridLogicalClock) =>
      new MemoryCacheStorage({ maxBytes: 40_000, now: () => clock.time() });
    const [a, b] = [await replicated(small), await replicated(small, { flush: false })];
    await a.write('key', draft('old'));
    expect(await valueOf(b, 'key')).toBe('old');
    await a.write('key', draft('x'.repeat(20_000)));
    while ((await valueOf(b, 'key')) === 'old') await sleep(1);
    expect(await valueOf(b, 'key')).toHaveLength(20_000);
    server.freeze();
    expect([await valueOf(a, 'key'), await valueOf(b, 'key')]).toEqual([undefined, undefined]);
    server.thaw();
    await Promise.all([a.close(), b.close()]);
  });

  it('keeps deleted what was deleted without Redis, whatever waits from before', async () => {
    const place = await mkdtemp(join(directory, 'switch-'));
    const local = (clock: HybridLogicalClock): Promise<DiskCacheStorage> =>
      DiskCacheStorage.open({ directory: place, maxBytes: 2 ** 24, codec, now: () => clock.time() });
    const first = await replicated(local);
    first.disconnected();
    await first.write('key', draft('old'));
    await first.write('other', draft('kept'));
    await first.close();
    const second = await alone(local);
    await second.remove('key');
    await second.close();
    const third = await replicated(local, { flush: false });
    expect(await valueOf(third, 'key')).toBeUndefined();
    expect(await valueOf(third, 'other')).toBe('kept');
    await third.close();
  });

  it('offers a Redis that it meets for the first time what it has, and clears nothing there', async () => {
    const place = await mkdtemp(join(directory, 'meet-'));
    const local = (clock: HybridLogicalClock): Promise<DiskCacheStorage> =>
      DiskCacheStorage.open({ directory: place, maxBytes: 2 ** 24, codec, now: () => clock.time() });
    const others = await replicated(memory);
    await others.write('theirs', draft('theirs'));
    const single = await alone(local);
    await single.clear();
    await single.invalidateTags(['none']);
    await single.write('own', draft('own'));
    await single.close();
    const joined = await replicated(local, { flush: false });
    await joined.idle();
    expect(await valueOf(others, 'own')).toBe('own');
    expect(await valueOf(others, 'theirs')).toBe('theirs');
    expect(await valueOf(joined, 'theirs')).toBe('theirs');
    await Promise.all([others.close(), joined.close()]);
  });

  it('closes once for all who ask', async () => {
    const place = await mkdtemp(join(directory, 'close-'));
    const clock = newClock();
    const local = await DiskCacheStorage.open({ directory: place, maxBytes: 2 ** 24, codec });
    const storage = new ReplicatedCacheStorage({ local, clock, codec });
    void storage.close();
    await storage.close();
    const again = await DiskCacheStorage.open({ directory: place, maxBytes: 2 ** 24, codec });
    await again.close();
  });

  it('does not lose what is written right after a clear, whose mark is ahead of its time', async () => {
    const [a, b] = [await replicated(memory), await replicated(memory, { flush: false })];
    const hidden: string[] = [];
    for (let n = 0; n < 50; n += 1) {
      await a.clear();
      expect(await b.write('key', draft(n, ['tag']))).toBe('redis');
      if ((await valueOf(b, 'key')) !== n) hidden.push(`clear ${n}`);
      await a.invalidateTags(['tag']);
      await b.write('key', draft(-n, ['tag']));
      if ((await valueOf(b, 'key')) !== -n) hidden.push(`tag ${n}`);
    }
    expect(hidden).toEqual([]);
    await Promise.all([a.close(), b.close()]);
  });
});

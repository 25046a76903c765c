import { beforeEach, describe, expect, it } from '@jest/globals';
import { InvalidCacheOptionError, ValueNotSerializableError } from '../../src/cache/cache.errors.js';
import { Cache } from '../../src/cache/cache.js';
import { KeyvStore } from '../../src/cache/keyv.store.js';
import { MemoryCacheStorage } from '../../src/cache/storage/memory.storage.js';

const HOUR_MS = 3_600_000;
const WEEK_MS = 7 * 24 * HOUR_MS;

/** What the suites in `conformance/` do not ask; they run Keyv itself over this store. */
describe('KeyvStore', () => {
  let nowMs: number;
  let cache: Cache;
  let store: KeyvStore;
  beforeEach(() => {
    nowMs = 1_700_000_000_000;
    const now = (): number => nowMs;
    cache = new Cache({ storage: new MemoryCacheStorage({ maxBytes: 2 ** 24, now }), now, staleMs: HOUR_MS });
    store = new KeyvStore(cache);
  });

  it.each<[number | undefined, number]>([
    [undefined, HOUR_MS],
    [0, HOUR_MS],
    [1000, 1000],
    [0.5, 1],
    [52 * WEEK_MS, WEEK_MS],
    [Infinity, WEEK_MS],
  ])('keeps for %p ms what is %p ms', async (ttl, lifeMs) => {
    await store.set('key', 'value', ttl);
    const [stored] = await cache.inspect(['key']);
    expect(stored?.entry).toMatchObject({ freshUntil: nowMs + lifeMs, expiresAt: nowMs + lifeMs });
    nowMs += lifeMs;
    expect(await store.get('key')).toBeUndefined();
    expect(await store.has('key')).toBe(false);
  });

  it('forgets at once what is over already, and refuses what is no number', async () => {
    await store.set('key', 'value');
    expect(await store.set('key', 'late', -1)).toBe(true);
    expect(await store.get('key')).toBeUndefined();
    await expect(store.set('key', 'value', Number.NaN)).rejects.toThrow(InvalidCacheOptionError);
  });

  it('keeps the types of a value that Keyv did not serialise', async () => {
    const stored = { value: new Map([[1n, new Date(0)]]), expires: undefined };
    await store.set('key', stored);
    expect(await store.get('key')).toEqual(stored);
    await expect(store.set('key', { value: () => 1 })).rejects.toThrow(ValueNotSerializableError);
  });

  it('does with many what it does with one', async () => {
    const stored = await store.setMany([
      { key: 'a', value: '1' },
      { key: 'b', value: '2', ttl: 1000 },
    ]);
    expect(stored).toEqual([true, true]);
    expect(await store.getMany(['b', 'c', 'a'])).toEqual(['2', undefined, '1']);
    nowMs += 1000;
    expect(await store.hasMany(['a', 'b'])).toEqual([true, false]);
    expect(await store.deleteMany(['a', 'b'])).toBe(false);
    await store.setMany([{ key: 'a', value: '1' }]);
    expect(await store.deleteMany(['a'])).toBe(true);
    await expect(
      store.setMany([
        { key: 'a', value: () => 1 },
        { key: 'b', value: '2' },
      ]),
    ).rejects.toThrow(ValueNotSerializableError);
    expect(await store.get('b')).toBe('2');
  });

  it('clears what was stored with its namespace, and without one everything', async () => {
    expect('namespace' in store).toBe(false);
    await store.set('other:a', '1');
    store.namespace = 'keyv';
    await store.set('keyv:a', '1');
    await store.clear();
    expect(await store.getMany(['keyv:a', 'other:a'])).toEqual([undefined, '1']);
    delete store.namespace;
    await store.clear();
    expect(await cache.size()).toBe(0);
  });

  it('iterates over a namespace, however large', async () => {
    const keys = Array.from({ length: 250 }, (_, index) => `a:${index}`);
    await store.setMany([...keys, 'ab:1', 'b:1'].map((key) => ({ key, value: key.toUpperCase() })));
    const pairsOf = async (namespace?: string): Promise<Map<string, unknown>> => {
      const pairs = new Map<string, unknown>();
      for await (const [key, value] of store.iterator(namespace)) pairs.set(key, value);
      return pairs;
    };
    expect(await pairsOf('a')).toEqual(new Map(keys.map((key) => [key, key.toUpperCase()])));
    expect((await pairsOf()).size).toBe(252);
    expect((await pairsOf('none')).size).toBe(0);
  });

  it('does not close what is not its own', async () => {
    await store.set('key', '1');
    await store.on('error', () => {}).disconnect();
    expect(await store.get('key')).toBe('1');
  });
});

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { StorageClosedError, ValueNotSerializableError } from '../../../src/cache/cache.errors.js';
import { HybridLogicalClock } from '../../../src/cache/replication/clock.js';
import type { CacheEntry } from '../../../src/cache/storage/cache-entry.js';
import type { CacheStorage } from '../../../src/cache/storage/cache-storage.js';

export interface StorageUnderTest {
  readonly storage: CacheStorage;
  /** Epoch milliseconds, as the storage sees them. */
  readonly now: () => number;
  /** Lets time pass. */
  readonly pass: (ms: number) => Promise<void>;
  /** Ends what `create` began, the storage aside. */
  readonly dispose?: () => Promise<void>;
}

const clock = new HybridLogicalClock('0123456789abcdef');

export function entryOf<T>(value: T, now: number, ttlMs = 60_000, tags: string[] = []): CacheEntry<T> {
  const expiresAt = now + ttlMs;
  return { value, version: clock.tick(), createdAt: now, freshUntil: expiresAt, expiresAt, tags };
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

const HOSTILE_KEYS = [
  '',
  ' ',
  '\0',
  'a\nb\r\n',
  '*',
  'a*',
  'ab',
  'a?',
  '[ab]',
  '\\',
  '{tag}',
  '}{',
  '%41',
  'A',
  '__proto__',
  'constructor',
  'ключ',
  '🗝️',
  'e\u0301',
  '\u00e9',
  '\ud800',
  '\udc00',
  '\ufffd',
  ':',
  'default:e:{x}',
  'x'.repeat(10_000),
];

const VALUES: readonly (readonly [string, unknown])[] = [
  ['null', null],
  ['undefined', undefined],
  ['zero', 0],
  ['minus zero', -0],
  ['empty text', ''],
  ['false', false],
  ['NaN', Number.NaN],
  ['infinity', -Infinity],
  ['a large integer', Number.MAX_SAFE_INTEGER],
  ['a BigInt', 2n ** 80n],
  ['a negative BigInt', -(2n ** 64n)],
  ['a Date', new Date(1_700_000_000_123)],
  ['an invalid Date', new Date(Number.NaN)],
  [
    'a Map',
    new Map<unknown, unknown>([
      ['a', { b: new Set([1]) }],
      [{ k: 1 }, undefined],
    ]),
  ],
  ['a Set', new Set(['a', 1, null])],
  ['a Buffer', Buffer.from([0, 255, 128])],
  ['typed arrays', { f: new Float64Array([1.5, -0]), i: new BigInt64Array([-1n]), u: new Uint8Array([1]) }],
  ['undefined fields', { a: undefined, b: [undefined, 1] }],
  ['nested data', { a: [{ b: { c: ['é', '🎉', '\0'] } }], n: { 1: 'x', '01': 'y' } }],
  ['a field __proto__', JSON.parse('{"__proto__":{"polluted":true},"constructor":1,"toString":2}')],
  ['text with a lone surrogate', 'a\ud800b'],
  ['nothing in it', [{}, [], new Map(), new Set(), Buffer.alloc(0)]],
];

/** What every storage promises; each of them runs this, on the real thing. */
export function describeStorageContract(name: string, create: () => Promise<StorageUnderTest>): void {
  describe(`${name}: the storage contract`, () => {
    let test: StorageUnderTest;
    let storage: CacheStorage;
    beforeEach(async () => {
      test = await create();
      ({ storage } = test);
    });
    afterEach(async () => {
      await storage.close();
      await test.dispose?.();
    });

    const set = (key: string, value: unknown, ttlMs?: number, where = storage): Promise<unknown> =>
      where.set(key, entryOf(value, test.now(), ttlMs));
    const value = async (key: string, where = storage): Promise<unknown> =>
      (await where.get(key))?.entry.value;

    it('gives back an entry as it was', async () => {
      const entry = entryOf({ a: 1 }, test.now(), 60_000, ['x', 'y']);
      expect(['redis', 'local']).toContain(await storage.set('key', entry));
      expect((await storage.get('key'))?.entry).toEqual(entry);
      expect(await storage.get('other')).toBeUndefined();
    });

    it('overwrites, also with a value of another size and type', async () => {
      for (const next of ['a', 'x'.repeat(100_000), { a: 1 }, null, 'z']) {
        await set('key', next);
        expect(await value('key')).toEqual(next);
      }
      expect(await storage.size()).toBe(1);
    });

    it('deletes, and says whether there was something', async () => {
      await set('key', 1);
      expect(await storage.delete('key')).toBe(true);
      expect(await storage.delete('key')).toBe(false);
      expect(await storage.get('key')).toBeUndefined();
    });

    it('answers many in their order', async () => {
      await set('a', 1);
      await set('c', 3);
      const found = await storage.getMany(['c', 'b', 'a', 'c']);
      expect(found.map((stored) => stored?.entry.value)).toEqual([3, undefined, 1, 3]);
      expect(await storage.getMany([])).toEqual([]);
    });

    it('peeks at once, or not at all', async () => {
      await set('key', 'value');
      const peeked = storage.peek('key');
      expect([undefined, 'value']).toContain(peeked?.entry.value);
      expect(storage.peek('other')).toBeUndefined();
    });

    it('lists and counts live keys, each once', async () => {
      for (let i = 0; i < 1500; i += 1) await set(`key:${i % 1200}`, i);
      await set('other', 1);
      await set('gone', 1, 20);
      await test.pass(30);
      const keys = await all(storage.keys());
      expect(keys).toHaveLength(1201);
      expect(new Set(keys).size).toBe(1201);
      expect(await storage.size()).toBe(1201);
      expect((await all(storage.keys('key:119'))).sort()).toEqual(
        ['key:119', ...Array.from({ length: 10 }, (_, i) => `key:119${i}`)].sort(),
      );
      expect(await all(storage.keys('nothing'))).toEqual([]);
    });

    describe('time to live', () => {
      it('is kept to the millisecond', async () => {
        await set('key', 'value', 150);
        await test.pass(100);
        expect(await value('key')).toBe('value');
        await test.pass(60);
        expect(await storage.get('key')).toBeUndefined();
        expect((await storage.getMany(['key']))[0]).toBeUndefined();
        expect(storage.peek('key')).toBeUndefined();
        expect(await storage.size()).toBe(0);
        expect(await all(storage.keys())).toEqual([]);
        expect(await storage.delete('key')).toBe(false);
      });

      it('that has passed is accepted, and is a miss', async () => {
        await set('key', 'old');
        await set('key', 'new', 0);
        expect(await storage.get('key')).toBeUndefined();
        await set('key', 'new', -1000);
        expect(await storage.get('key')).toBeUndefined();
        expect(await storage.size()).toBe(0);
      });

      it('is that of the last write', async () => {
        await set('key', 'short', 50);
        await set('key', 'long', 60_000);
        await test.pass(80);
        expect(await value('key')).toBe('long');
      });
    });

    it.each(VALUES)('carries %s', async (_name, original) => {
      await set('key', original);
      const stored = await storage.get('key');
      expect(stored).toBeDefined();
      expect(stored?.entry.value).toStrictEqual(original);
    });

    it.each([
      ['a function', { f: () => 1 }, '$.f is a function'],
      ['a symbol', [Symbol('x')], '$[0] is a symbol'],
      ['a class instance', { d: new (class Secret {})() }, '$.d is an instance of Secret'],
      ['an error', new Error('x'), '$ is an instance of Error'],
    ])('refuses %s, says where it is, and keeps what was there', async (_name, bad, message) => {
      await set('key', 'good');
      await expect(set('key', bad)).rejects.toThrow(ValueNotSerializableError);
      await expect(set('key', bad)).rejects.toThrow(message);
      expect(await value('key')).toBe('good');
    });

    it('refuses a cycle', async () => {
      const cycle: { self?: unknown } = {};
      cycle.self = cycle;
      await expect(set('key', cycle)).rejects.toThrow('$.self is a cycle');
    });

    it('carries large values', async () => {
      const large = { text: 'aé'.repeat(2_500_000), bytes: Buffer.alloc(2_000_000, 7) };
      await set('large', large);
      const back = (await value('large')) as typeof large;
      expect(back.text === large.text).toBe(true);
      expect(back.bytes.equals(large.bytes)).toBe(true);
    });

    it('takes any text as a key, and keeps them apart', async () => {
      for (const [index, key] of HOSTILE_KEYS.entries()) await set(key, index);
      for (const [index, key] of HOSTILE_KEYS.entries())
        expect([key, await value(key)]).toEqual([key, index]);
      expect((await all(storage.keys())).sort()).toEqual([...HOSTILE_KEYS].sort());
      expect((await all(storage.keys('a*'))).sort()).toEqual(['a*']);
      for (const key of HOSTILE_KEYS) expect(await storage.delete(key)).toBe(true);
      expect(await storage.size()).toBe(0);
    });

    it('keeps namespaces apart, whatever their names', async () => {
      const names = ['a', 'ab', 'a*', 'a:b', 'a?', '', '*', '{a}', '%61', 'A', '\ud800', 'default:e'];
      const spaces = names.map((spaceName) => storage.namespace(spaceName));
      await set('key', 'root');
      for (const [index, space] of spaces.entries()) await set('key', index, undefined, space);
      await set('b:x', 'from a', undefined, storage.namespace('a'));
      await set('x', 'from a:b', undefined, storage.namespace('a:b'));
      expect(await value('b:x', storage.namespace('a'))).toBe('from a');
      for (const [index, space] of spaces.entries()) expect(await value('key', space)).toBe(index);

      await storage.namespace('a*').clear();
      await storage.namespace('*').clear();
      await storage.namespace('').clear();
      const left = await Promise.all(spaces.map((space) => space.size()));
      expect(left).toEqual([2, 1, 0, 2, 1, 0, 0, 1, 1, 1, 1, 1]);
      expect(await value('key')).toBe('root');
      await storage.clear();
      expect(await storage.size()).toBe(0);
      expect(await value('key', storage.namespace('ab'))).toBe(1);
    });

    it('clears all of a namespace, however much it is', async () => {
      await Promise.all(Array.from({ length: 3000 }, (_, i) => set(`key:${i}`, i)));
      await storage.clear();
      expect(await storage.size()).toBe(0);
      await storage.clear();
      await set('key:1', 'again');
      expect(await value('key:1')).toBe('again');
    });

    it('shares nothing with the one who wrote, nor among those who read', async () => {
      const plain = { list: [1], deep: { a: 1 } };
      const rich = { when: new Date(0), map: new Map([['a', [1]]]), bytes: Buffer.from([1]) };
      await set('plain', plain);
      await set('rich', rich);
      plain.list.push(2);
      rich.map.set('b', []);
      rich.bytes[0] = 9;
      for (let round = 0; round < 2; round += 1) {
        const readPlain = (await value('plain')) as typeof plain;
        const readRich = (await value('rich')) as typeof rich;
        expect(readPlain).toEqual({ list: [1], deep: { a: 1 } });
        expect(readRich).toEqual({ when: new Date(0), map: new Map([['a', [1]]]), bytes: Buffer.from([1]) });
        mutate(() => readPlain.list.push(3));
        mutate(() => (readPlain.deep.a = 2));
        mutate(() => readRich.when.setTime(5));
        mutate(() => readRich.map.clear());
        mutate(() => (readRich.bytes[0] = 7));
      }
    });

    it('stays whole under concurrent use', async () => {
      const keys = Array.from({ length: 20 }, (_, i) => `key:${i}`);
      await Promise.all(
        Array.from({ length: 1000 }, (_, i) => {
          const key = keys[i % keys.length] ?? '';
          if (i % 7 === 0) return storage.delete(key);
          return i % 3 === 0 ? storage.get(key) : set(key, i);
        }),
      );
      for (const key of keys) expect(['number', 'undefined']).toContain(typeof (await value(key)));
      // Writes that were begun in an order end in it.
      await Promise.all(Array.from({ length: 200 }, (_, i) => set('last', i)));
      expect(await value('last')).toBe(199);
      await Promise.all([set('last', 'x'), storage.delete('last')]);
      expect(await storage.get('last')).toBeUndefined();
      await Promise.all([storage.delete('last'), set('last', 'y')]);
      expect(await value('last')).toBe('y');
    });

    it('tells what it is', () => {
      expect(storage.stats()).toMatchObject({ kind: expect.any(String), evictions: 0, corrupt: 0 });
    });

    it('closes once, twice, and for good', async () => {
      const other = storage.namespace('other');
      await storage.close();
      await storage.close();
      await expect(storage.get('key')).rejects.toThrow(StorageClosedError);
      await expect(set('key', 1)).rejects.toThrow(StorageClosedError);
      await expect(storage.delete('key')).rejects.toThrow(StorageClosedError);
      await expect(other.get('key')).rejects.toThrow(StorageClosedError);
    });
  });
}

/** What is frozen says so in strict mode; what is a copy does not mind. */
function mutate(change: () => unknown): void {
  try {
    change();
  } catch (error) {
    expect(error).toBeInstanceOf(TypeError);
  }
}

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  InvalidCacheOptionError,
  StorageClosedError,
  ValueNotSerializableError,
} from '../../../src/cache/cache.errors.js';
import { HybridLogicalClock } from '../../../src/cache/replication/clock.js';
import type { CacheEntry } from '../../../src/cache/storage/cache-entry.js';
import type { CacheStorage } from '../../../src/cache/storage/cache-storage.js';

export interface StorageUnderTest {
  /** Takes entries of 12 MB. */
  readonly storage: CacheStorage;
  /** Epoch milliseconds, as the storage sees them. */
  readonly now: () => number;
  /** Lets time pass: by setting a clock, or by waiting. */
  readonly pass: (ms: number) => Promise<void>;
  /** By which times are longer, where a write may take long. Default 1. */
  readonly pace?: number;
  /** Versions, where the storage makes some of its own. Default: those of a clock of the test's. */
  readonly stamp?: () => string;
  /** Whether `peek` answers for what was stored. Default: it may. */
  readonly peeks?: boolean;
  /** Ends what `create` began, the storage aside. */
  readonly dispose?: () => Promise<void>;
}

const clock = new HybridLogicalClock('0123456789abcdef');

export function entryOf<T>(
  value: T,
  now: number,
  ttlMs = 60_000,
  tags: string[] = [],
  version = clock.tick(),
): CacheEntry<T> {
  const expiresAt = now + ttlMs;
  return { value, version, createdAt: now, freshUntil: expiresAt, expiresAt, tags };
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
  'a',
  'a\0',
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
  '%00002a',
  'A',
  '__proto__',
  'constructor',
  'toString',
  'ключ',
  '🗝️',
  'e\u0301',
  '\u00e9',
  '\ud83d\udddd',
  '\ud83d',
  '\udddd',
  '\udddd\ud83d',
  '\ufffd',
  '\uffff',
  ':',
  'default:e:{x}',
  '1:ax',
  'x'.repeat(1024),
  'x'.repeat(1025),
  'x'.repeat(1978),
  'x'.repeat(10_000),
  `${'x'.repeat(10_000)}y`,
  'é'.repeat(1000),
];

class Example {
  a = 1;
}

function ownProto(): unknown {
  return JSON.parse('{"__proto__":{"polluted":true},"constructor":1,"toString":2,"hasOwnProperty":3}');
}

const VALUES: readonly (readonly [string, unknown])[] = [
  ['null', null],
  ['undefined', undefined],
  ['zero', 0],
  ['minus zero', -0],
  ['an empty text', ''],
  ['false', false],
  ['true', true],
  ['NaN', Number.NaN],
  ['infinity', -Infinity],
  ['integers', [1, -1, 127, -128, 2 ** 31 - 1, -(2 ** 31), 2 ** 31, 2 ** 53 - 1, -(2 ** 53)]],
  ['fractions', [0.1, -1e-300, Number.MAX_VALUE, Number.MIN_VALUE]],
  ['BigInts', [0n, 1n, -1n, 2n ** 63n, -(2n ** 64n), 3n ** 500n]],
  ['a Date', new Date(1_700_000_000_123)],
  [
    'a Map',
    new Map<unknown, unknown>([
      ['a', { b: new Set([1]) }],
      [{ k: 1 }, undefined],
    ]),
  ],
  ['a Set', new Set(['a', 1, null])],
  ['a RegExp', /a+\/b/giu],
  ['a Buffer', Buffer.from([0, 255, 128])],
  ['an ArrayBuffer', new Uint8Array([1, 2, 3]).buffer],
  ['bytes', [new Uint8Array([1, 2]), new Int8Array([-1]), new Uint8ClampedArray([255])]],
  ['typed arrays', [new Int16Array([-2]), new Uint16Array([2]), new Int32Array([-3]), new Uint32Array([3])]],
  ['more typed arrays', [new Float32Array([1.5]), new Float64Array([0.1]), new BigInt64Array([-1n])]],
  ['undefined fields', { a: undefined, b: [undefined, 1] }],
  ['nested data', { a: [{ b: { c: ['é', '🎉', '\0'] } }], n: { 1: 'x', '01': 'y' } }],
  ['fields that Object.prototype has', ownProto()],
  ['an object without prototype', Object.assign(Object.create(null) as object, { a: 1 })],
  ['lone surrogates', { text: 'a\ud800b', '\udc00': ['\ud83d', '\udddd\ud83d'] }],
  ['nothing in it', [{}, [], new Map(), new Set(), Buffer.alloc(0), new Uint8Array(0)]],
  ['the same thing twice', ((part) => [part, part])({ a: 1 })],
];

const REFUSED: readonly (readonly [string, unknown, string])[] = [
  ['a function', { a: [0, 0, 0, { f: () => 1 }] }, '$.a[3].f is a function'],
  ['a symbol', [Symbol('x')], '$[0] is a symbol'],
  ['a symbol as a name', { a: { [Symbol('x')]: 1 } }, '$.a has a symbol as a name'],
  ['an instance of a class', { 'd e': new Example() }, '$["d e"] is an instance of Example'],
  ['a subclass of what it carries', [new (class Extended extends Map {})()], 'is an instance of Extended'],
  // oxlint-disable-next-line no-sparse-arrays -- holes are the point
  ['a hole', { a: [1, , 2] }, '$.a has a hole at 1'],
  ['an Error', new TypeError('wrong'), '$ is an instance of TypeError'],
  ['a promise', Promise.resolve(1), '$ is an instance of Promise'],
  ['a boxed primitive', [Object('text')], '$[0] is an instance of String'],
  ['a cycle', ((cycle: { self?: unknown }) => (cycle.self = cycle))({}), '$.self is a cycle'],
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
      where.set(key, entryOf(value, test.now(), ttlMs, [], test.stamp?.()));
    const value = async (key: string, where = storage): Promise<unknown> =>
      (await where.get(key))?.entry.value;

    describe('one key', () => {
      it('has the entry that was set, whole', async () => {
        const entry = entryOf({ a: 1 }, test.now(), 60_000, ['x', 'tag\ud800', ''], test.stamp?.());
        expect(['redis', 'local']).toContain(await storage.set('key', entry));
        expect((await storage.get('key'))?.entry).toEqual(entry);
        expect(['memory', 'disk', 'redis']).toContain((await storage.get('key'))?.tier);
        expect(await storage.get('other')).toBeUndefined();
      });

      it('is overwritten, also with a value of another size and type', async () => {
        for (const next of ['a', 'x'.repeat(100_000), { a: 1 }, null, 'z']) {
          await set('key', next);
          expect(await value('key')).toEqual(next);
        }
        expect(await storage.size()).toBe(1);
      });

      it('is deleted, and it is said whether it was there', async () => {
        await set('key', 1);
        expect(await storage.delete('key')).toBe(true);
        expect(await storage.delete('key')).toBe(false);
        expect(await storage.get('key')).toBeUndefined();
      });

      it('answers a peek at once, or not at all', async () => {
        await set('key', 'value');
        const peeked = storage.peek('key')?.entry.value;
        expect(test.peeks === true ? ['value'] : [undefined, 'value']).toContain(peeked);
        expect(storage.peek('other')).toBeUndefined();
      });

      it('refuses a version and times that could not be written', async () => {
        const entry = entryOf(1, test.now(), 60_000, [], test.stamp?.());
        for (const fault of [{ version: 'v1' }, { createdAt: Number.NaN }, { expiresAt: Infinity }]) {
          await expect(storage.set('key', { ...entry, ...fault })).rejects.toThrow(InvalidCacheOptionError);
        }
      });
    });

    describe('many keys', () => {
      it('are answered in their order', async () => {
        await set('a', 1);
        await set('c', undefined);
        const found = await storage.getMany(['c', 'b', 'a', 'c', '']);
        expect(found.map((stored) => stored && [stored.entry.value])).toEqual([
          [undefined],
          undefined,
          [1],
          [undefined],
          undefined,
        ]);
        expect(await storage.getMany([])).toEqual([]);
      });

      it('are listed and counted, each once, by prefix', async () => {
        await Promise.all(Array.from({ length: 2400 }, (_, i) => set(`key:${i % 1200}`, i)));
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

      it('may be any text, and are kept apart', async () => {
        for (const [index, key] of HOSTILE_KEYS.entries()) await set(key, index);
        const found = await storage.getMany(HOSTILE_KEYS);
        expect(found.map((stored) => stored?.entry.value)).toEqual([...HOSTILE_KEYS.keys()]);
        expect((await all(storage.keys())).sort()).toEqual([...HOSTILE_KEYS].sort());
        for (const prefix of ['a', 'a*', '*', '[', '\\', '\udddd', '{', '%', 'x'.repeat(1500)]) {
          const expected = HOSTILE_KEYS.filter((key) => key.startsWith(prefix)).sort();
          expect((await all(storage.keys(prefix))).sort()).toEqual(expected);
        }
        for (const key of HOSTILE_KEYS) expect(await storage.delete(key)).toBe(true);
        expect(await storage.size()).toBe(0);
      });
    });

    describe('time to live', () => {
      it('is kept, and what has expired is nowhere', async () => {
        const { pace = 1 } = test;
        await set('key', 'value', 400 * pace);
        await test.pass(100 * pace);
        expect(await value('key')).toBe('value');
        await test.pass(310 * pace);
        expect(await storage.get('key')).toBeUndefined();
        expect((await storage.getMany(['key']))[0]).toBeUndefined();
        expect(storage.peek('key')).toBeUndefined();
        expect(await storage.size()).toBe(0);
        expect(await all(storage.keys())).toEqual([]);
        expect(await storage.delete('key')).toBe(false);
      });

      it('that has passed is accepted, and removes what was there', async () => {
        await set('key', 'old');
        await set('key', 'new', 0);
        expect(await storage.get('key')).toBeUndefined();
        await set('key', 'old');
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

    describe('values', () => {
      it.each(VALUES.map(([label], index) => [label, index] as const))(
        'carries %s',
        async (_label, index) => {
          const original = VALUES[index]?.[1];
          await set('key', original);
          const stored = await storage.get('key');
          expect(stored).toBeDefined();
          expect(stored?.entry.value).toStrictEqual(original);
          expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
        },
      );

      it('keeps their classes and details', async () => {
        await set('key', {
          buffer: Buffer.from('a'),
          bytes: new Uint8Array([1]),
        });
        const back = (await value('key')) as { buffer: unknown; bytes: object };
        expect(Buffer.isBuffer(back.buffer)).toBe(true);
        expect(Object.getPrototypeOf(back.bytes)).toBe(Uint8Array.prototype);
        await set('key', new Date(Number.NaN));
        expect(((await value('key')) as Date).getTime()).toBeNaN();
        await set('key', ownProto());
        expect(Object.keys((await value('key')) as object)).toContain('__proto__');
      });

      it.each(REFUSED.map(([label], index) => [label, index] as const))(
        'refuses %s, says where it is, and keeps what was there',
        async (_label, index) => {
          const [, bad, message = ''] = REFUSED[index] ?? [];
          await set('key', 'good');
          const outcome = set('key', bad);
          await expect(outcome).rejects.toThrow(ValueNotSerializableError);
          await expect(outcome).rejects.toThrow(message);
          expect(await value('key')).toBe('good');
        },
      );

      it('may be large', async () => {
        const large = { text: 'aé'.repeat(2_000_000), bytes: Buffer.alloc(4_000_000, 7) };
        await set('large', large);
        const back = (await value('large')) as typeof large;
        expect(back.text === large.text).toBe(true);
        expect(back.bytes.equals(large.bytes)).toBe(true);
      });

      it('share nothing with the one who wrote, nor among those who read', async () => {
        const plain = { list: [1], deep: { a: 1 } };
        const rich = { when: new Date(0), map: new Map([['a', [1]]]), bytes: Buffer.from([1]) };
        const tags = ['x'];
        await storage.set('plain', entryOf(plain, test.now(), 60_000, tags, test.stamp?.()));
        await set('rich', rich);
        plain.list.push(2);
        tags.push('y');
        rich.map.set('b', []);
        rich.bytes[0] = 9;
        for (let round = 0; round < 2; round += 1) {
          const stored = await storage.get('plain');
          const readPlain = stored?.entry.value as typeof plain;
          const readRich = (await value('rich')) as typeof rich;
          expect(stored?.entry.tags).toEqual(['x']);
          expect(readPlain).toEqual({ list: [1], deep: { a: 1 } });
          expect(readRich).toEqual({
            when: new Date(0),
            map: new Map([['a', [1]]]),
            bytes: Buffer.from([1]),
          });
          mutate(() => readPlain.list.push(3));
          mutate(() => (readPlain.deep.a = 2));
          mutate(() => readRich.when.setTime(5));
          mutate(() => readRich.map.clear());
          mutate(() => (readRich.bytes[0] = 7));
        }
        expect(Object.isFrozen(plain)).toBe(false);
      });
    });

    describe('namespaces', () => {
      it('are kept apart, whatever their names', async () => {
        const names = [
          'a',
          'ab',
          'a*',
          'a:b',
          'a?',
          '',
          '*',
          '{a}',
          '%61',
          'A',
          '\ud800',
          '\udc00',
          'default:e',
        ];
        const spaces = names.map((spaceName) => storage.namespace(spaceName));
        await set('key', 'root');
        for (const [index, space] of spaces.entries()) await set('key', index, undefined, space);
        await set('b:x', 'from a', undefined, storage.namespace('a'));
        await set('x', 'from a:b', undefined, storage.namespace('a:b'));
        expect(await value('b:x', storage.namespace('a'))).toBe('from a');
        for (const [index, space] of spaces.entries()) expect(await value('key', space)).toBe(index);

        for (const cleared of ['a*', '*', '', '\ud800']) await storage.namespace(cleared).clear();
        const left = await Promise.all(spaces.map((space) => space.size()));
        expect(left).toEqual([2, 1, 0, 2, 1, 0, 0, 1, 1, 1, 0, 1, 1]);
        expect(await value('key')).toBe('root');
        await storage.clear();
        expect(await storage.size()).toBe(0);
        expect(await value('key', storage.namespace('ab'))).toBe(1);
      });

      it('are cleared whole, however much is in them', async () => {
        await Promise.all(Array.from({ length: 3000 }, (_, i) => set(`key:${i}`, i)));
        await storage.clear();
        expect(await storage.size()).toBe(0);
        await storage.clear();
        await set('key:1', 'again');
        expect(await value('key:1')).toBe('again');
      });
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
      await other.close();
      for (const closed of [storage, other]) {
        await expect(closed.get('key')).rejects.toThrow(StorageClosedError);
        await expect(closed.getMany(['key'])).rejects.toThrow(StorageClosedError);
        await expect(set('key', 1, undefined, closed)).rejects.toThrow(StorageClosedError);
        await expect(closed.delete('key')).rejects.toThrow(StorageClosedError);
        await expect(closed.clear()).rejects.toThrow(StorageClosedError);
        await expect(closed.size()).rejects.toThrow(StorageClosedError);
        await expect(all(closed.keys())).rejects.toThrow(StorageClosedError);
        if (test.peeks === true) expect(() => closed.peek('key')).toThrow(StorageClosedError);
      }
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

import { setImmediate as turn } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from '@jest/globals';
import {
  FactoryTimeoutError,
  InvalidCacheOptionError,
  TooManyWaitersError,
} from '../../src/cache/cache.errors.js';
import type { EntryUse, FactoryContext } from '../../src/cache/cache.js';
import { Cache } from '../../src/cache/cache.js';
import { MemoryCacheStorage } from '../../src/cache/storage/memory.storage.js';

const HOUR_MS = 3_600_000;
const WEEK_MS = 7 * 24 * HOUR_MS;

describe('Cache', () => {
  let nowMs: number;
  let cache: Cache;
  beforeEach(() => {
    nowMs = 1_700_000_000_000;
    const now = (): number => nowMs;
    cache = new Cache({ storage: new MemoryCacheStorage({ maxBytes: 2 ** 20, now }), now });
  });

  it('says where a write landed, and what was there', async () => {
    expect(await cache.set('key', 1)).toBe('local');
    expect(await cache.delete('key')).toEqual({ landed: 'local', existed: true });
    expect(await cache.delete('key')).toEqual({ landed: 'local', existed: false });
    expect(await cache.invalidateTags(['tag'])).toBe('local');
    expect(await cache.clear()).toBe('local');
  });

  it('gives values that nobody can change', async () => {
    await cache.set('key', { list: [1] });
    const value = (await cache.get('key')) as { list: number[] };
    expect(() => value.list.push(2)).toThrow(TypeError);
    expect(await cache.get('key')).toBe(value);
    expect(cache.peek('key')).toBe(value);
  });

  it('keeps what was stored with falsy values apart from what was not', async () => {
    for (const value of [null, 0, '', false, undefined]) {
      await cache.set('key', value);
      expect(await cache.inspect(['key'])).toMatchObject([{ entry: { value } }]);
      expect(await cache.getOrSet('key', () => 'computed')).toBe(value);
    }
    expect(await cache.inspect(['other'])).toEqual([undefined]);
  });

  it('lives as long as it says', async () => {
    await cache.set('hour', 1);
    await cache.set('second', 1, { ttlMs: 1000 });
    await cache.set('gone', 1, { ttlMs: 0 });
    expect(await cache.getMany(['hour', 'second', 'gone'])).toEqual([1, 1, undefined]);
    nowMs += 1000;
    expect(await cache.getMany(['hour', 'second'])).toEqual([1, undefined]);
    nowMs += HOUR_MS;
    expect(await cache.get('hour')).toBeUndefined();
  });

  it.each([Number.NaN, -1, WEEK_MS + 1, Infinity])('refuses to keep something for %p ms', async (ttlMs) => {
    await expect(cache.set('key', 1, { ttlMs })).rejects.toThrow(InvalidCacheOptionError);
    await expect(cache.getOrSet('key', () => 1, { ttlMs })).rejects.toThrow(
      /ttlMs must be from 0 to 604800000/,
    );
    expect(() => new Cache({ storage: new MemoryCacheStorage({ maxBytes: 100 }), ttlMs })).toThrow(
      InvalidCacheOptionError,
    );
  });

  it.each<[string, unknown, RegExp]>([
    ['no list', 'tag', /tags must be a list of at most 100 texts; got 3 characters/],
    ['a number', [1], /tags\[0\] must be a text of at most 1000 characters; got number/],
    ['a long text', ['a', 'x'.repeat(1001)], /tags\[1\] .* got 1001 characters/],
    ['too many', Array.from({ length: 101 }, String), /got 101 elements/],
  ])('refuses as tags %s', async (_name, tags, message) => {
    const given = tags as string[];
    await expect(cache.set('key', 1, { tags: given })).rejects.toThrow(message);
    await expect(cache.invalidateTags(given)).rejects.toThrow(message);
    let ran = false;
    const factory = (): boolean => (ran = true);
    await expect(cache.getOrSet('key', factory, { tags: given })).rejects.toThrow(message);
    expect(ran).toBe(false);
  });

  it.each<[string, unknown, RegExp]>([
    ['a number', 7, /key must be a text of at most 65536 characters; got number/],
    ['nothing', undefined, /got undefined/],
    ['a long text', 'x'.repeat(65_537), /got 65537 characters/],
  ])('refuses as a key %s', async (_name, given, message) => {
    const key = given as string;
    expect(() => cache.peek(key)).toThrow(message);
    for (const call of [
      cache.get(key),
      cache.getMany(['a', key]),
      cache.set(key, 1),
      cache.getOrSet(key, () => 1),
      cache.getOrSetMany([key], () => [1]),
      cache.delete(key),
      cache.inspect([key]),
    ]) {
      await expect(call).rejects.toThrow(message);
    }
    expect(await cache.size()).toBe(0);
  });

  it('gives what was computed, and says so, where its tags cannot be stored', async () => {
    const faults: string[] = [];
    const storage = new MemoryCacheStorage({ maxBytes: 2 ** 20 });
    const telling = new Cache({ storage, onFault: ({ code }) => faults.push(code) });
    const tags = (): string[] => Array.from({ length: 101 }, String);
    expect(await telling.resolve('key', () => 'paid', { tags })).toMatchObject({
      entry: { value: 'paid' },
      write: 'none',
    });
    expect(faults).toEqual(['cache_invalid_option']);
  });

  describe('a factory that is running', () => {
    const slow = () => {
      const gate = Promise.withResolvers<string>();
      const first = cache.getOrSet('key', () => gate.promise, { tags: ['tag'] });
      return { first, end: gate.resolve };
    };

    it('is shared by all who ask meanwhile', async () => {
      const { first, end } = slow();
      const second = cache.getOrSet('key', () => 'never');
      end('value');
      expect(await Promise.all([first, second])).toEqual(['value', 'value']);
      expect(cache.stats()).toMatchObject({ computed: 1, collapsed: 1, misses: 1 });
    });

    it.each([() => ({ list: [1] }), () => ({ when: new Date(7) })])(
      'gives those who wait nothing that they can change for each other',
      async (make) => {
        const gate = Promise.withResolvers<object>();
        const calls = [1, 2, 3].map(() => cache.getOrSet<object>('key', () => gate.promise));
        gate.resolve(make());
        const [first, ...others] = await Promise.all(calls);
        for (const value of others) {
          expect(value).toEqual(make());
          expect(value).not.toBe(first);
        }
        Object.assign(first ?? {}, { list: 'changed', when: 'changed' });
        expect(others).toEqual([make(), make()]);
      },
    );

    it('is not told to stop when it has ended', async () => {
      let signal: AbortSignal | undefined;
      await cache.getOrSet('key', (context) => ((signal = context.signal), 1));
      expect(signal?.aborted).toBe(false);
    });

    it.each<[string, () => Promise<unknown>]>([
      ['a delete', () => cache.delete('key')],
      ['a clear', () => cache.clear()],
      ['an invalidation of its tag', () => cache.invalidateTags(['tag'])],
    ])('gives nothing to those who ask after %s, and stores nothing over it', async (_name, change) => {
      const { first, end } = slow();
      await turn();
      await change();
      expect(await cache.getOrSet('key', () => 'after', { tags: ['tag'] })).toBe('after');
      end('before');
      expect(await first).toBe('before');
      expect(await cache.get('key')).toBe('after');
      expect(cache.stats().storage.replication).toMatchObject({ resurrectionsPrevented: 1 });
    });

    it('does not overwrite what was set meanwhile', async () => {
      const { first, end } = slow();
      await turn();
      await cache.set('key', 'set');
      expect(await cache.getOrSet('key', () => 'never')).toBe('set');
      end('late');
      expect(await first).toBe('late');
      expect(await cache.get('key')).toBe('set');
    });
  });

  describe('what is not fresh any more', () => {
    const options = { ttlMs: 1000, staleMs: 10_000 };
    /** A computation that its test lets end. */
    const later = () => {
      const gate = Promise.withResolvers<string>();
      return { factory: () => gate.promise, end: gate.resolve, fail: gate.reject };
    };
    beforeEach(async () => {
      await cache.set('key', 'old', options);
      nowMs += 1500;
    });

    it('is a miss for who computes nothing', async () => {
      expect(await cache.get('key')).toBeUndefined();
      expect(cache.peek('key')).toBeUndefined();
      expect(await cache.resolve('key', () => 'never', { mode: 'cached' })).toBeUndefined();
      const accept = (): boolean => true;
      expect(await cache.resolve('key', () => 'never', { mode: 'cached', accept })).toMatchObject({
        stale: 'stale-while-revalidate',
      });
    });

    it('is served while one computation runs', async () => {
      const { factory, end } = later();
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => cache.resolve('key', factory, options)),
      );
      for (const answer of answers) {
        expect(answer).toMatchObject({
          kind: 'hit',
          stale: 'stale-while-revalidate',
          entry: { value: 'old' },
        });
      }
      expect(cache.stats()).toMatchObject({ computing: 1, staleWhileRevalidating: 20, misses: 0 });
      end('new');
      while (cache.stats().computing > 0) await turn();
      expect(await cache.get('key')).toBe('new');
      expect(cache.stats()).toMatchObject({ computed: 1 });
    });

    it('is served to who would not wait, however fast the computation is', async () => {
      expect(await cache.getOrSet('key', () => 'new', options)).toBe('old');
      while (cache.stats().computing > 0) await turn();
      expect(await cache.get('key')).toBe('new');
    });

    it("is the caller's own, whatever the factory does with what it was given", async () => {
      await cache.set('key', { bytes: Buffer.from('old') }, options);
      nowMs += 1500;
      const spoil = ({ stale }: FactoryContext) =>
        (stale as { value: { bytes: Buffer } }).value.bytes.fill(0);
      const answer = await cache.getOrSet<unknown>('key', spoil, options);
      while (cache.stats().computing > 0) await turn();
      expect(answer).toEqual({ bytes: Buffer.from('old') });
    });

    it('gives way to a computation that is soon done', async () => {
      const { factory, end } = later();
      const answer = cache.getOrSet('key', factory, { ...options, softTimeoutMs: 60_000 });
      end('new');
      expect(await answer).toBe('new');
    });

    it('stands in when the computation fails, and no longer than it lives', async () => {
      const broken = () => Promise.reject(new Error('broken'));
      const soft = { ...options, softTimeoutMs: 60_000 };
      expect(await cache.resolve('key', broken, soft)).toMatchObject({
        kind: 'hit',
        stale: 'stale-if-error',
        entry: { value: 'old' },
      });
      expect(cache.stats()).toMatchObject({ staleIfError: 1, factoryErrors: 1 });
      nowMs += 10_000;
      await expect(cache.resolve('key', broken, soft)).rejects.toThrow('broken');
    });

    it('does not stand in once it was deleted', async () => {
      const { factory, fail } = later();
      const soft = { ...options, softTimeoutMs: 60_000 };
      const answer = cache.resolve('key', factory, soft);
      await turn();
      await cache.delete('key');
      fail(new Error('broken'));
      await expect(answer).rejects.toThrow('broken');
    });

    it('is not for who does not accept it', async () => {
      const accept = (_: unknown, use: EntryUse): boolean => use === 'fresh';
      expect(await cache.getOrSet('key', () => 'new', { ...options, accept })).toBe('new');
      nowMs += 1500;
      const broken = () => Promise.reject(new Error('broken'));
      await expect(cache.getOrSet('key', broken, { ...options, accept })).rejects.toThrow('broken');
    });

    it('is told to the factory', async () => {
      let told: unknown;
      const accept = (): boolean => false;
      await cache.getOrSet('key', ({ stale }) => (told = stale?.value), { accept });
      expect(told).toBe('old');
    });
  });

  it('computes anew, early, what is dear and near its end; for one reader of many', async () => {
    const chances = [0.99, 0.5, 0.5];
    const now = (): number => nowMs;
    const storage = new MemoryCacheStorage({ maxBytes: 2 ** 20, now });
    const eager = new Cache({ storage, now, random: () => chances.shift() ?? 0 });
    const version = '018bcfe56800' + '0'.repeat(20);
    const times = { createdAt: nowMs, freshUntil: nowMs + 1000, expiresAt: nowMs + 1000 };
    await storage.set('key', { value: 'old', version, ...times, tags: [], costMs: 500 });
    nowMs += 300;
    // 300 + 500 * -ln(1 - 0.99) is past the end, 300 + 500 * -ln(1 - 0.5) is not.
    const gate = Promise.withResolvers<string>();
    expect(await eager.getOrSet('key', () => gate.promise)).toBe('old');
    expect(eager.stats()).toMatchObject({ earlyRefreshes: 1, computing: 1 });
    expect(await eager.getOrSet('key', () => 'never')).toBe('old');
    gate.resolve('new');
    while (eager.stats().computing > 0) await turn();
    expect(await eager.getOrSet('key', () => 'never')).toBe('new');
    expect(eager.stats()).toMatchObject({ earlyRefreshes: 1, computed: 1 });
  });

  it('ends the wait of a caller at the hard time-out, and stores what comes', async () => {
    const gate = Promise.withResolvers<string>();
    const call = cache.getOrSet('key', () => gate.promise, { hardTimeoutMs: 5 });
    await expect(call).rejects.toThrow(FactoryTimeoutError);
    gate.resolve('late');
    while (cache.stats().computing > 0) await turn();
    expect(await cache.get('key')).toBe('late');
  });

  it('refuses who would wait beyond its bound, and has room again when the others are gone', async () => {
    let nowMs = 1_000_000;
    const storage = new MemoryCacheStorage({ maxBytes: 2 ** 20, now: () => nowMs });
    const bounded = new Cache({ storage, maxWaiters: 2, staleMs: 60_000, now: () => nowMs });
    await bounded.set('old', 'stale', { ttlMs: 1 });
    await bounded.set('fresh', 'hit');
    nowMs += 10;
    const gate = Promise.withResolvers<string>();
    const begun = Promise.withResolvers<void>();
    let runs = 0;
    const factory = (): Promise<string> => {
      runs += 1;
      begun.resolve();
      return gate.promise;
    };
    const waiting = [bounded.getOrSet('key', factory), bounded.getOrSet('key', factory)];
    await begun.promise;
    await turn();
    await expect(bounded.getOrSet('key', factory)).rejects.toThrow(TooManyWaitersError);
    await expect(bounded.getOrSet('other', factory)).rejects.toMatchObject({
      code: 'cache_too_many_waiters',
      maxWaiters: 2,
    });
    await expect(bounded.getOrSet('key', factory, { mode: 'refresh' })).rejects.toThrow(TooManyWaitersError);
    expect(await bounded.getOrSet('fresh', factory)).toBe('hit');
    expect(await bounded.resolve('old', factory)).toMatchObject({ kind: 'hit', stale: 'stale-if-error' });
    expect(await bounded.getOrSetMany(['fresh', 'old'], () => [])).toEqual(['hit', 'stale']);
    expect(runs).toBe(1);
    gate.resolve('new');
    expect(await Promise.all(waiting)).toEqual(['new', 'new']);
    expect(await bounded.getOrSet('other', factory)).toBe('new');
  });

  it('shortens lives by chance, and those of nothing as it is told', async () => {
    const jittered = new Cache({
      storage: new MemoryCacheStorage({ maxBytes: 2 ** 20 }),
      random: () => 0.5,
    });
    await jittered.set('key', 1, { ttlMs: 1000, jitter: 0.2 });
    const [found] = await jittered.inspect(['key']);
    expect(Math.round((found?.entry.freshUntil ?? 0) - (found?.entry.createdAt ?? 0))).toBe(900);
    await cache.getOrSet('none', () => null, { ttlMs: 1000, negativeTtlMs: 100 });
    await cache.getOrSet('some', () => 1, { ttlMs: 1000, negativeTtlMs: 100 });
    nowMs += 100;
    expect(await cache.inspect(['none', 'some'])).toMatchObject([undefined, { entry: { value: 1 } }]);
  });

  it('lets the factory decide', async () => {
    await cache.getOrSet('key', ({ decide }) => {
      decide({ ttlMs: 5000, tags: ['decided'] });
      return 1;
    });
    expect(await cache.inspect(['key'])).toMatchObject([{ entry: { tags: ['decided'] } }]);
    nowMs += 5000;
    expect(await cache.get('key')).toBeUndefined();
    const notStored = await cache.resolve('other', ({ decide }) => (decide({ store: false }), 2));
    expect(notStored).toMatchObject({ kind: 'computed', entry: { value: 2 }, write: 'none' });
    expect(await cache.get('other')).toBeUndefined();
  });

  describe('getOrSetMany', () => {
    it('computes what is missing at once, and only that', async () => {
      await cache.set('a', 'A');
      const asked: (readonly string[])[] = [];
      const factory = (keys: readonly string[]): string[] => {
        asked.push(keys);
        return keys.map((key) => key.toUpperCase());
      };
      expect(await cache.getOrSetMany(['b', 'a', 'c', 'b'], factory)).toEqual(['B', 'A', 'C', 'B']);
      expect(asked).toEqual([['b', 'c']]);
      expect(await cache.getMany(['b', 'c'])).toEqual(['B', 'C']);
      expect(await cache.getOrSetMany([], factory)).toEqual([]);
    });

    it('joins what runs already, and is joined', async () => {
      const gate = Promise.withResolvers<string>();
      const running = cache.getOrSet('a', () => gate.promise);
      const many = cache.getOrSetMany(['a', 'b'], (keys) => keys.map((key) => `many ${key}`));
      const joined = cache.getOrSet('b', () => 'never');
      gate.resolve('alone a');
      expect(await Promise.all([running, many, joined])).toEqual([
        'alone a',
        ['alone a', 'many b'],
        'many b',
      ]);
    });

    it('fails as its factory does, and leaves nothing behind', async () => {
      const broken = () => Promise.reject(new Error('broken'));
      await expect(cache.getOrSetMany(['a', 'b'], broken)).rejects.toThrow('broken');
      await expect(cache.getOrSetMany(['a', 'b'], () => [1])).rejects.toThrow(/2 values; got 1/);
      expect(await cache.getOrSetMany(['a', 'b'], () => [1, 2])).toEqual([1, 2]);
      expect(cache.stats().computing).toBe(0);
    });
  });
});

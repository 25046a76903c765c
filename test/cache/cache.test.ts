import { setImmediate as turn } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { InvalidCacheOptionError } from '../../src/cache/cache.errors.js';
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
});

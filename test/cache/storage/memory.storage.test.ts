import { describe, expect, it } from '@jest/globals';
import { EntryTooLargeError, InvalidCacheOptionError } from '../../../src/cache/cache.errors.js';
import { MemoryCacheStorage } from '../../../src/cache/storage/memory.storage.js';
import { describeStorageContract, entryOf } from './storage-contract.js';

const MIB = 1024 * 1024;

describeStorageContract('MemoryCacheStorage', async () => {
  let time = 1_700_000_000_000;
  return {
    storage: new MemoryCacheStorage({ maxBytes: 100 * MIB, now: () => time }),
    peeks: true,
    now: () => time,
    pass: async (ms) => {
      time += ms;
    },
  };
});

describe('MemoryCacheStorage', () => {
  it('stays within its bytes, and gives up what was used least recently', async () => {
    const storage = new MemoryCacheStorage({ maxBytes: MIB });
    const value = 'x'.repeat(10_000);
    await storage.set('first', entryOf(value, Date.now()));
    for (let i = 0; i < 500; i += 1) {
      storage.peek('first');
      await storage.set(`key:${i}`, entryOf(value, Date.now()));
      expect(storage.stats().bytes).toBeLessThanOrEqual(MIB);
    }
    expect(storage.peek('first')).toBeDefined();
    expect(storage.peek('key:0')).toBeUndefined();
    expect(storage.peek('key:499')).toBeDefined();
    const { entries = 0, evictions } = storage.stats();
    expect(evictions).toBe(501 - entries);
  });

  it('refuses an entry that would push out the rest', async () => {
    const storage = new MemoryCacheStorage({ maxBytes: MIB });
    await storage.set('kept', entryOf(1, Date.now()));
    await expect(storage.set('huge', entryOf('x'.repeat(MIB / 2), Date.now()))).rejects.toThrow(
      EntryTooLargeError,
    );
    expect(storage.peek('kept')).toBeDefined();
  });

  it('hands out one frozen object to all', async () => {
    const storage = new MemoryCacheStorage({ maxBytes: MIB });
    await storage.set('key', entryOf({ a: [1] }, Date.now()));
    expect(storage.peek('key')).toBe(storage.peek('key'));
    const value = storage.peek('key')?.entry.value as { a: number[] } | undefined;
    expect(Object.isFrozen(value?.a)).toBe(true);
  });

  it("copies what can't be frozen for each reader", async () => {
    const storage = new MemoryCacheStorage({ maxBytes: MIB });
    await storage.set('key', entryOf({ at: new Date(5) }, Date.now()));
    expect(storage.peek('key')).not.toBe(storage.peek('key'));
    expect(storage.peek('key')).toEqual(storage.peek('key'));
  });

  it('does not count what had expired as evicted', async () => {
    let time = 1000;
    const storage = new MemoryCacheStorage({ maxBytes: MIB, now: () => time });
    for (let i = 0; i < 50; i += 1) await storage.set(`old:${i}`, entryOf('x'.repeat(10_000), time, 10));
    time += 10;
    for (let i = 0; i < 90; i += 1) await storage.set(`new:${i}`, entryOf('x'.repeat(10_000), time));
    expect(storage.stats().evictions).toBe(0);
    expect(await storage.size()).toBe(90);
  });

  it('shares its bound among namespaces, and gives all of it back', async () => {
    const storage = new MemoryCacheStorage({ maxBytes: MIB });
    const other = storage.namespace('other');
    for (let i = 0; i < 100; i += 1) await storage.set(`key:${i}`, entryOf('x'.repeat(10_000), Date.now()));
    for (let i = 0; i < 100; i += 1) await other.set(`key:${i}`, entryOf('x'.repeat(10_000), Date.now()));
    expect(storage.stats()).toEqual(other.stats());
    expect(await other.size()).toBeGreaterThan(90);
    expect(await storage.size()).toBeLessThan(10);
    await other.clear();
    await storage.clear();
    expect(storage.stats()).toMatchObject({ entries: 0, bytes: 0 });
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses %d as a bound', (maxBytes) => {
    expect(() => new MemoryCacheStorage({ maxBytes })).toThrow(InvalidCacheOptionError);
  });
});

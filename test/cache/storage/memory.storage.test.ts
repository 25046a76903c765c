import { describe, expect, it } from '@jest/globals';
import { EntryTooLargeError } from '../../../src/cache/cache.errors.js';
import { MemoryCacheStorage } from '../../../src/cache/storage/memory.storage.js';
import { describeStorageContract, entryOf } from './storage-contract.js';

const MIB = 1024 * 1024;

describeStorageContract('MemoryCacheStorage', async () => {
  let time = 1_700_000_000_000;
  return {
    storage: new MemoryCacheStorage({ maxBytes: 100 * MIB, now: () => time }),
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
    expect(Object.isFrozen((storage.peek('key')?.entry.value as { a: number[] }).a)).toBe(true);
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses %d as a bound', (maxBytes) => {
    expect(() => new MemoryCacheStorage({ maxBytes })).toThrow(RangeError);
  });
});

import { describe, expect, it } from '@jest/globals';
import type { LocalStore } from '../../../src/cache/replication/local-copy.js';
import { LocalCopy } from '../../../src/cache/replication/local-copy.js';
import type { CacheEntry } from '../../../src/cache/storage/cache-entry.js';
import { MemoryCacheStorage } from '../../../src/cache/storage/memory.storage.js';

const v = (n: number): string => n.toString(16).padStart(32, '0');
const entry = (version: number): CacheEntry => ({
  value: `value ${version}`,
  version: v(version),
  createdAt: 0,
  freshUntil: 1e13,
  expiresAt: 1e13,
  tags: [],
});

/** A storage whose writes wait until they are let through. */
class SlowStorage implements LocalStore {
  readonly gates: (() => void)[] = [];
  private readonly memory = new MemoryCacheStorage({ maxBytes: 1e6 });

  peek = (key: string) => this.memory.peek(key);
  get = (key: string) => this.memory.get(key);
  delete = (key: string) => this.memory.delete(key);
  clear = () => this.memory.clear();
  keys = () => this.memory.keys();
  async set(key: string, value: CacheEntry): Promise<void> {
    await new Promise<void>((resolve) => this.gates.push(resolve));
    await this.memory.set(key, value);
  }
}

describe('LocalCopy', () => {
  it('keeps the newest, whatever the order of the writes', async () => {
    const copy = new LocalCopy(new MemoryCacheStorage({ maxBytes: 1e6 }));
    await Promise.all([6, 5, 7, 4].map((n) => copy.put('a', v(n), () => entry(n))));
    expect((await copy.get('a'))?.value).toBe('value 7');
    await copy.put('a', v(6), () => undefined);
    expect(copy.peek('a')?.value).toBe('value 7');
  });

  it('removes what is as old as a delete, or older', async () => {
    const copy = new LocalCopy(new MemoryCacheStorage({ maxBytes: 1e6 }));
    await copy.put('a', v(5), () => entry(5));
    await copy.put('a', v(5), () => undefined);
    expect(await copy.get('a')).toBeUndefined();
  });

  it('has at once what is still being written, and writes one after the other', async () => {
    const storage = new SlowStorage();
    const copy = new LocalCopy(storage);
    const first = copy.put('a', v(1), () => entry(1));
    expect(copy.peek('a')?.value).toBe('value 1');
    const removed = copy.put('a', v(2), () => undefined);
    expect(await copy.get('a')).toBeUndefined();
    while (storage.gates.length === 0) await Promise.resolve();
    storage.gates[0]?.();
    await Promise.all([first, removed]);
    expect(await storage.get('a')).toBeUndefined();
  });

  it('stamps anew only what it has', async () => {
    const copy = new LocalCopy(new MemoryCacheStorage({ maxBytes: 1e6 }));
    await copy.put('a', v(9), () => entry(9));
    await copy.replace('a', v(9), entry(3));
    expect(copy.peek('a')?.version).toBe(v(3));
    await copy.replace('a', v(9), entry(4));
    expect(copy.peek('a')?.version).toBe(v(3));
  });
});

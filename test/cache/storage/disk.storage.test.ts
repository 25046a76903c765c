import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, describe, expect, it } from '@jest/globals';
import {
  CacheDirectoryLockedError,
  EntryTooLargeError,
  InvalidCacheOptionError,
  StorageUnavailableError,
} from '../../../src/cache/cache.errors.js';
import type { DiskStorageOptions } from '../../../src/cache/storage/disk.storage.js';
import { DiskCacheStorage } from '../../../src/cache/storage/disk.storage.js';
import { EnvelopeCodec } from '../../../src/cache/storage/envelope.js';
import { describeStorageContract, entryOf } from './storage-contract.js';

const MIB = 1024 * 1024;
/** What the file of a small cache has beside it for a disk that is full. */
const RESERVE = 24 * MIB;
const codec = new EnvelopeCodec({ compressionMinBytes: Infinity });

async function temporaryDirectory(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'athena-disk-'));
}

function startWriter(path: string): ChildProcess & { stdout: NodeJS.ReadableStream } {
  const fixture = join(import.meta.dirname, 'disk-writer.fixture.mjs');
  return spawn(process.execPath, [fixture, path], { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function kill(process: ChildProcess): Promise<void> {
  process.kill('SIGKILL');
  await once(process, 'exit');
}

describeStorageContract('DiskCacheStorage', async () => {
  const directory = await temporaryDirectory();
  let time = 1_700_000_000_000;
  return {
    storage: await DiskCacheStorage.open({ directory, maxBytes: 100 * MIB, codec, now: () => time }),
    peeks: true,
    now: () => time,
    pass: async (ms) => {
      time += ms;
    },
    dispose: () => rm(directory, { recursive: true }),
  };
});

describe('DiskCacheStorage', () => {
  const closing: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).toReversed()) await close();
  });

  async function directory(): Promise<string> {
    const path = await temporaryDirectory();
    closing.push(() => rm(path, { recursive: true, force: true }));
    return path;
  }

  async function openStorage(options: Partial<DiskStorageOptions> = {}): Promise<DiskCacheStorage> {
    const path = options.directory ?? (await directory());
    const storage = await DiskCacheStorage.open({ maxBytes: 8 * MIB, codec, ...options, directory: path });
    closing.push(() => storage.close());
    return storage;
  }

  async function written(): Promise<string> {
    const path = await directory();
    const storage = await openStorage({ directory: path });
    for (let i = 0; i < 200; i += 1) await storage.set(`key:${i}`, entryOf('x'.repeat(5000), Date.now()));
    await storage.close();
    return path;
  }

  describe('after a restart', () => {
    it('has what it had before', async () => {
      const path = await directory();
      const first = await openStorage({ directory: path });
      for (let i = 0; i < 100; i += 1) await first.set(`key:${i}`, entryOf({ i }, Date.now()));
      await first.set('k'.repeat(5000), entryOf('long', Date.now()));
      await first.delete('key:7');
      const { bytes, entries } = first.stats();
      await first.close();
      const second = await openStorage({ directory: path });
      expect(await second.size()).toBe(100);
      expect(second.peek('key:42')?.entry.value).toEqual({ i: 42 });
      expect(second.peek('k'.repeat(5000))?.entry.value).toBe('long');
      expect(second.peek('key:7')).toBeUndefined();
      expect(second.stats()).toMatchObject({ bytes, entries });
    });

    it.each([1, 2, 3])(
      'by kill -9 in the midst of writing has every acknowledged write (%d)',
      async (round) => {
        const path = await directory();
        const writer = startWriter(path);
        let acknowledged = -1;
        for await (const line of createInterface({ input: writer.stdout })) {
          acknowledged = Number(line) || acknowledged;
          if (acknowledged >= round * 300) break;
        }
        await kill(writer);
        const storage = await openStorage({ directory: path, maxBytes: 100 * MIB });
        for (let i = 0; i <= acknowledged - 20; i += 1) {
          const expected = i % 10 === 0 ? undefined : { i, text: 'x'.repeat(i % 5000) };
          expect(storage.peek(`key:${i}`)?.entry.value).toEqual(expected);
        }
        expect(await storage.size()).toBe(storage.stats().entries);
        await storage.set('key', entryOf(1, Date.now()));
        expect(storage.peek('key')?.entry.value).toBe(1);
      },
    );

    it('keeps the order of writes, and so of eviction', async () => {
      const path = await directory();
      const first = await openStorage({ directory: path });
      for (const key of ['a', 'b', 'c']) await first.set(key, entryOf('x'.repeat(MIB), Date.now()));
      await first.set('a', entryOf('x'.repeat(MIB), Date.now()));
      await first.close();
      const second = await openStorage({ directory: path, maxBytes: 5 * MIB });
      for (const key of ['d', 'e']) await second.set(key, entryOf('x'.repeat(MIB), Date.now()));
      expect(second.peek('b')).toBeUndefined();
      expect(second.peek('a')).toBeDefined();
    });
  });

  describe('the bound', () => {
    it('holds, and the file with it; what was written first gives way', async () => {
      const path = await directory();
      const storage = await openStorage({ directory: path });
      let largestFile = 0;
      for (let i = 0; i < 4000; i += 50) {
        const writes = Array.from({ length: 50 }, (_, j) =>
          storage.set(`key:${i + j}`, entryOf('x'.repeat(((i + j) * 7919) % 40_000), Date.now())),
        );
        await Promise.all(writes);
        expect(storage.stats().bytes).toBeLessThanOrEqual(8 * MIB);
        largestFile = Math.max(largestFile, (await stat(join(path, 'data.mdb'))).size);
      }
      expect(largestFile).toBeLessThan(1.6 * 8 * MIB + RESERVE);
      expect(storage.peek('key:0')).toBeUndefined();
      expect(storage.peek('key:3999')).toBeDefined();
      const { entries = 0, evictions } = storage.stats();
      expect(entries + evictions).toBe(4000);
      expect(await storage.size()).toBe(entries);
    });

    it('holds for small entries too', async () => {
      const path = await directory();
      const storage = await openStorage({ directory: path, maxBytes: 2 * MIB });
      for (let i = 0; i < 100_000; i += 1000) {
        await Promise.all(
          Array.from({ length: 1000 }, (_, j) =>
            storage.set(`key:${(i + j) * 7919}`, entryOf(j, Date.now())),
          ),
        );
      }
      expect(storage.stats().bytes).toBeLessThanOrEqual(2 * MIB);
      expect((await stat(join(path, 'data.mdb'))).size).toBeLessThan(2 * 2 * MIB + RESERVE);
      expect(await storage.size()).toBeGreaterThan(3000);
    });

    it('counts a key that is written again and again once', async () => {
      const storage = await openStorage();
      await Promise.all(
        Array.from({ length: 500 }, (_, i) =>
          storage.set('key', entryOf('x'.repeat(20_000 + i), Date.now())),
        ),
      );
      expect(storage.stats()).toMatchObject({ entries: 1, evictions: 0 });
      expect(storage.stats().bytes).toBeLessThan(50_000);
      await storage.delete('key');
      expect(storage.stats()).toMatchObject({ entries: 0, bytes: 0 });
    });

    it('is given back by what has expired, before anything that lives', async () => {
      let time = 1000;
      const storage = await openStorage({ now: () => time });
      await storage.set('lives', entryOf('x'.repeat(MIB), time));
      for (let i = 0; i < 5; i += 1) await storage.set(`key:${i}`, entryOf('x'.repeat(MIB), time, 10));
      time += 10;
      for (let i = 0; i < 5; i += 1) await storage.set(`new:${i}`, entryOf('x'.repeat(MIB), time));
      expect(storage.stats()).toMatchObject({ entries: 6, evictions: 0 });
      expect(storage.peek('lives')).toBeDefined();
    });

    it('refuses an entry that would push out the rest', async () => {
      const storage = await openStorage();
      await expect(storage.set('huge', entryOf('x'.repeat(3 * MIB), Date.now()))).rejects.toThrow(
        EntryTooLargeError,
      );
    });

    it.each([0, -1, 1.5, Number.NaN])('refuses to be %d', async (maxBytes) => {
      await expect(openStorage({ maxBytes })).rejects.toThrow(InvalidCacheOptionError);
    });
  });

  it('says that it is unavailable where it cannot write', async () => {
    const path = join(await directory(), 'file');
    await writeFile(path, '');
    await expect(openStorage({ directory: join(path, 'cache') })).rejects.toThrow(StorageUnavailableError);
  });

  it('commits what was asked for before it closes', async () => {
    const path = await directory();
    const storage = await openStorage({ directory: path });
    const writes = Array.from({ length: 100 }, (_, i) => storage.set(`key:${i}`, entryOf(i, Date.now())));
    await storage.close();
    await Promise.all(writes);
    expect(await (await openStorage({ directory: path })).size()).toBe(100);
  });

  it('finds keys by a prefix that ends within a character', async () => {
    const storage = await openStorage();
    for (const key of ['a🗝', 'a🗝b', 'a\ud83d', 'a', 'b🗝']) await storage.set(key, entryOf(1, Date.now()));
    const found: string[] = [];
    for await (const key of storage.keys('a\ud83d')) found.push(key);
    expect(found.sort()).toEqual(['a🗝', 'a🗝b', 'a\ud83d'].sort());
  });

  describe('the lock', () => {
    it('is one storage’s alone, within a process', async () => {
      const path = await directory();
      const storage = await openStorage({ directory: path });
      await expect(openStorage({ directory: path })).rejects.toMatchObject({
        code: 'cache_directory_locked',
        directory: path,
        pid: process.pid,
      });
      await storage.close();
      await openStorage({ directory: path });
    });

    it('is one process’s alone, and ends with it', async () => {
      const path = await directory();
      const writer = startWriter(path);
      await once(writer.stdout, 'data');
      const outcome = openStorage({ directory: path });
      await expect(outcome).rejects.toThrow(CacheDirectoryLockedError);
      await expect(outcome).rejects.toMatchObject({ pid: writer.pid });
      await kill(writer);
      await openStorage({ directory: path });
    });

    it('is not taken over because of what a dead process wrote', async () => {
      const path = await directory();
      await writeFile(join(path, 'owner.pid'), `${process.ppid}\n`);
      await writeFile(join(path, 'owner.lock'), '');
      await openStorage({ directory: path });
      expect(await readFile(join(path, 'owner.pid'), 'utf8')).toBe(`${process.pid}\n`);
    });
  });

  describe('a damaged database is put aside, and a new one begun:', () => {
    it.each([
      ['overwritten', (file: string) => writeFile(file, 'this was never a database'.repeat(1000))],
      ['cut short', (file: string) => truncate(file, 300_000)],
      ['cut to a stump', (file: string) => truncate(file, 100)],
      ['full of zeros', (file: string) => writeFile(file, Buffer.alloc(1_000_000))],
      [
        'whose opening has killed its process',
        (file: string) => writeFile(join(file, '../state'), 'opening'),
      ],
    ])('one %s', async (_name, damageFile) => {
      const path = await written();
      await damageFile(join(path, 'data.mdb'));
      const moved: string[] = [];
      const storage = await openStorage({ directory: path, onCorruptDatabase: (to) => moved.push(to) });
      expect(await storage.size()).toBe(0);
      await storage.set('key', entryOf(1, Date.now()));
      expect(storage.peek('key')?.entry.value).toBe(1);
      expect(moved).toEqual([expect.stringMatching(/data\.mdb\.corrupt-[\dT.Z-]+$/)]);
      await storage.close();
      expect(await (await openStorage({ directory: path })).size()).toBe(1);
    });

    it('one at a time', async () => {
      const path = await written();
      for (let i = 0; i < 3; i += 1) {
        await truncate(join(path, 'data.mdb'), 4096);
        const storage = await openStorage({ directory: path });
        await storage.set('key', entryOf('x'.repeat(50_000), Date.now()));
        await storage.close();
      }
      expect((await readdir(path)).filter((name) => name.includes('corrupt'))).toHaveLength(1);
    });
  });

  it('counts a record that was damaged as a miss, and removes it', async () => {
    const path = await directory();
    const first = await openStorage({ directory: path });
    const marker = 'MARKER'.repeat(20);
    await first.set('damaged', entryOf(marker, Date.now()));
    await first.set('sound', entryOf(1, Date.now()));
    await first.close();
    const file = await open(join(path, 'data.mdb'), 'r+');
    const content = await file.readFile();
    for (let at = content.indexOf(marker); at !== -1; at = content.indexOf(marker, at + 1)) {
      await file.write('DAMAGE', at + 5);
    }
    await file.close();
    const second = await openStorage({ directory: path });
    expect(second.peek('damaged')).toBeUndefined();
    expect(second.peek('sound')?.entry.value).toBe(1);
    expect(second.stats().corrupt).toBe(1);
    // In the order of writes, so after the removal.
    await second.set('sound', entryOf(2, Date.now()));
    expect(second.stats().entries).toBe(1);
    expect(await second.delete('damaged')).toBe(false);
  });

  it('keeps what only another configuration can read', async () => {
    const path = await directory();
    const keyed = new EnvelopeCodec({ encryptionKeys: [{ id: 'a', key: Buffer.alloc(32, 1) }] });
    const first = await openStorage({ directory: path, codec: keyed });
    await first.set('key', entryOf(1, Date.now()));
    await first.close();
    const second = await openStorage({ directory: path });
    expect(second.peek('key')).toBeUndefined();
    await second.set('other', entryOf(2, Date.now()));
    await second.close();
    const third = await openStorage({ directory: path, codec: keyed });
    expect(third.peek('key')?.entry.value).toBe(1);
    expect(third.peek('other')).toBeUndefined();
    await third.close();
    expect((await openStorage({ directory: path })).peek('other')?.entry.value).toBe(2);
  });
});

import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from '@jest/globals';
import { StorageClosedError } from '../../../src/cache/cache.errors.js';
import type { Journal } from '../../../src/cache/replication/journal.js';
import type { DiskStorageOptions } from '../../../src/cache/storage/disk.storage.js';
import { DiskCacheStorage } from '../../../src/cache/storage/disk.storage.js';
import { EnvelopeCodec } from '../../../src/cache/storage/envelope.js';
import { entryOf } from './storage-contract.js';

const MIB = 1024 * 1024;
const codec = new EnvelopeCodec({ compressionMinBytes: Infinity });

const HOSTILE_IDS = [
  '',
  '\0',
  'item:',
  'item:\0',
  '__proto__',
  'ключ🗝️',
  'e\u0301',
  '\u00e9',
  '\ud83d',
  '\udddd',
  '\udddd\ud83d',
  '\ufffd',
  'x'.repeat(1024),
  'x'.repeat(1025),
  'x'.repeat(1978),
  'x'.repeat(10_000),
  `${'x'.repeat(10_000)}y`,
  'é'.repeat(1000),
];

type Records = Record<string, string | undefined>;

function write(journal: Journal, records: Records): Promise<void> {
  const bytesOf = (content: string | undefined): Buffer | undefined =>
    content === undefined ? undefined : Buffer.from(content);
  return journal.write(new Map(Object.entries(records).map(([id, content]) => [id, bytesOf(content)])));
}

async function contentOf(journal: Journal): Promise<Map<string, string>> {
  const records = await journal.load();
  return new Map(records.map(([id, bytes]) => [id, Buffer.from(bytes).toString()]));
}

function start(fixture: string, path: string): ChildProcess & { stdout: NodeJS.ReadableStream } {
  const script = join(import.meta.dirname, fixture);
  return spawn(process.execPath, [script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Overwrites every occurrence of the marker's beginning in the file of the database. */
async function damage(path: string, marker: string): Promise<void> {
  const file = await open(join(path, 'data.mdb'), 'r+');
  const content = await file.readFile();
  for (let at = content.indexOf(marker); at !== -1; at = content.indexOf(marker, at + 1)) {
    await file.write('?', at);
  }
  await file.close();
}

describe('the journal of DiskCacheStorage', () => {
  const closing: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).toReversed()) await close();
  });

  async function directory(): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), 'athena-journal-'));
    closing.push(() => rm(path, { recursive: true, force: true }));
    return path;
  }

  async function openStorage(options: Partial<DiskStorageOptions> = {}): Promise<DiskCacheStorage> {
    const path = options.directory ?? (await directory());
    const storage = await DiskCacheStorage.open({ maxBytes: 8 * MIB, codec, ...options, directory: path });
    closing.push(() => storage.close());
    return storage;
  }

  it('begins empty, and has what was written', async () => {
    const journal = (await openStorage()).journal();
    expect(await journal.load()).toEqual([]);
    await write(journal, {});
    await write(journal, { a: '1', b: '', c: '3' });
    await write(journal, { a: undefined, c: '4', never: undefined });
    expect(await contentOf(journal)).toEqual(new Map(Object.entries({ b: '', c: '4' })));
  });

  it('has it after a restart', async () => {
    const path = await directory();
    const first = await openStorage({ directory: path });
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    await first.journal().write(new Map([['bytes', bytes]]));
    await write(first.journal(), { a: '1', b: '2' });
    await write(first.journal(), { a: undefined });
    await first.close();
    const second = await openStorage({ directory: path });
    const loaded = new Map(await second.journal().load());
    expect([...loaded.keys()].toSorted()).toEqual(['b', 'bytes']);
    expect(Buffer.from(loaded.get('bytes') ?? []).equals(bytes)).toBe(true);
  });

  it('keeps bytes as they were at the call, and as they were loaded', async () => {
    const journal = (await openStorage()).journal();
    const bytes = Buffer.from('before');
    const writing = journal.write(new Map([['a', bytes]]));
    bytes.write('after!');
    await writing;
    const loaded = await journal.load();
    await write(journal, { a: 'x'.repeat(6) });
    expect(loaded.map(([, content]) => Buffer.from(content).toString())).toEqual(['before']);
  });

  it('commits in the order of the calls', async () => {
    const path = await directory();
    const storage = await openStorage({ directory: path });
    const journals = [storage.journal(), storage.journal()] as const;
    const order: number[] = [];
    const writes = Array.from({ length: 3000 }, async (_, i) => {
      const removed = i % 3 === 0 ? undefined : `${i}`;
      await write(journals[i % 2 === 0 ? 0 : 1], { last: `${i}`, [`key:${i % 7}`]: removed });
      order.push(i);
    });
    await Promise.all(writes);
    expect(order).toEqual(Array.from({ length: 3000 }, (_, i) => i));
    await storage.close();
    const content = await contentOf((await openStorage({ directory: path })).journal());
    const last = Array.from({ length: 7 }, (_, i) => 2993 + i).filter((i) => i % 3 !== 0);
    const expected = last.map((i) => [`key:${i % 7}`, `${i}`] as const);
    expect(content).toEqual(new Map([['last', '2999'], ...expected]));
  });

  it('takes any id', async () => {
    const path = await directory();
    const storage = await openStorage({ directory: path });
    const records = new Map(HOSTILE_IDS.map((id, i) => [id, Buffer.from(`${i}`)]));
    await storage.journal().write(records);
    await storage.close();
    const again = (await openStorage({ directory: path })).journal();
    expect(await contentOf(again)).toEqual(new Map(HOSTILE_IDS.map((id, i) => [id, `${i}`])));
    await again.write(new Map(HOSTILE_IDS.slice(1).map((id) => [id, undefined])));
    expect(await contentOf(again)).toEqual(new Map([['', '0']]));
  });

  it('is its namespace’s alone, and apart from the entries', async () => {
    const storage = await openStorage();
    const names = ['default', 'a', 'a:b', '', '\ud83d', '\ufffd'];
    for (const [i, name] of names.entries()) {
      await write(storage.namespace(name).journal(), { id: `${i}`, [name]: 'own' });
    }
    for (const [i, name] of names.entries()) {
      const content = await contentOf(storage.namespace(name).journal());
      expect(content).toEqual(new Map(Object.entries({ id: `${i}`, [name]: 'own' })));
    }
    expect(await contentOf(storage.journal())).toEqual(
      await contentOf(storage.namespace('default').journal()),
    );
    await storage.set('id', entryOf(1, Date.now()));
    expect(await storage.size()).toBe(1);
    await storage.clear();
    await write(storage.namespace('a').journal(), { id: undefined, a: undefined });
    expect((await storage.journal().load()).length).toBe(2);
    expect(await storage.namespace('a').journal().load()).toEqual([]);
  });

  it('is not evicted with the entries, nor counted among them', async () => {
    const storage = await openStorage({ maxBytes: 2 * MIB });
    const content = 'x'.repeat(100_000);
    for (let i = 0; i < 40; i += 1) await write(storage.journal(), { [`record:${i}`]: content });
    expect(storage.stats()).toMatchObject({ entries: 0, bytes: 0 });
    for (let i = 0; i < 50; i += 1) await storage.set(`key:${i}`, entryOf(content, Date.now()));
    expect(storage.stats().evictions).toBeGreaterThan(10);
    expect(storage.stats().bytes).toBeLessThanOrEqual(2 * MIB);
    expect((await storage.journal().load()).length).toBe(40);
  });

  it('commits what was asked for before the storage closes, and nothing after', async () => {
    const path = await directory();
    const storage = await openStorage({ directory: path });
    const journal = storage.journal();
    const writes = Array.from({ length: 100 }, (_, i) => write(journal, { [`id:${i}`]: 'x' }));
    const closed = storage.close();
    await expect(write(journal, { late: 'x' })).rejects.toThrow(StorageClosedError);
    await expect(write(journal, {})).rejects.toThrow(StorageClosedError);
    await expect(journal.load()).rejects.toThrow(StorageClosedError);
    await Promise.all([closed, ...writes]);
    expect((await (await openStorage({ directory: path })).journal().load()).length).toBe(100);
  });

  describe('damage', () => {
    it('of a record costs that record, is counted, and removed', async () => {
      const path = await directory();
      const first = await openStorage({ directory: path });
      const long = `LONG-ID-${'x'.repeat(2000)}`;
      await write(first.journal(), { bytes: 'MARKER', 'ID-MARKER': 'x', [long]: 'LONG-MARKER', sound: 'y' });
      await first.close();
      for (const marker of ['MARKER', 'ID-MARKER', 'LONG-MARKER']) await damage(path, marker);
      const second = await openStorage({ directory: path });
      expect(await contentOf(second.journal())).toEqual(new Map([['sound', 'y']]));
      expect(second.stats().corrupt).toBe(3);
      // In the order of writes, so after the removal.
      await write(second.journal(), { bytes: 'again' });
      expect(await contentOf(second.journal())).toEqual(
        new Map([
          ['sound', 'y'],
          ['bytes', 'again'],
        ]),
      );
      expect(second.stats().corrupt).toBe(3);
    });

    it('does not remove what was written since it was found', async () => {
      const path = await directory();
      const first = await openStorage({ directory: path });
      await write(first.journal(), { a: 'MARKER' });
      await first.close();
      await damage(path, 'MARKER');
      const journal = (await openStorage({ directory: path })).journal();
      const writing = write(journal, { a: 'again' });
      expect(await journal.load()).toEqual([]);
      await writing;
      await write(journal, { b: 'later' });
      expect(await contentOf(journal)).toEqual(new Map(Object.entries({ a: 'again', b: 'later' })));
    });

    it.each([
      ['cut short', (path: string) => truncate(join(path, 'data.mdb'), 100_000)],
      ['whose opening has killed its process', (path: string) => writeFile(join(path, 'state'), 'opening')],
    ])('of the database, one %s, puts it aside, and a new journal is begun', async (_name, damageFile) => {
      const path = await directory();
      const first = await openStorage({ directory: path });
      for (let i = 0; i < 100; i += 1) await write(first.journal(), { [`id:${i}`]: 'x'.repeat(5000) });
      await first.close();
      await damageFile(path);
      const moved: string[] = [];
      const second = await openStorage({ directory: path, onCorruptDatabase: (to) => moved.push(to) });
      expect(await second.journal().load()).toEqual([]);
      expect(moved).toHaveLength(1);
      await write(second.journal(), { a: '1' });
      expect(await contentOf(second.journal())).toEqual(new Map([['a', '1']]));
    });
  });

  describe('after kill -9 in the midst of writing', () => {
    async function lastAcknowledged(path: string, ms: number): Promise<number> {
      const writer = start('disk-journal-writer.fixture.mjs', path);
      const lines = createInterface({ input: writer.stdout });
      let acknowledged = -1;
      lines.on('line', (line) => (acknowledged = line === 'open' ? acknowledged : Number(line)));
      await once(lines, 'line');
      const exit = once(writer, 'exit');
      const end = once(lines, 'close');
      await sleep(ms);
      writer.kill('SIGKILL');
      await Promise.all([exit, end]);
      return acknowledged;
    }

    it.each([1, 2, 3, 4, 5, 6])(
      'has every batch whole or not at all, and the entries beside it (%d)',
      async () => {
        const path = await directory();
        const acknowledged = await lastAcknowledged(path, 100 + Math.random() * 400);
        const storage = await openStorage({ directory: path, maxBytes: 100 * MIB });
        const content = await contentOf(storage.journal());
        const slots = new Set(Array.from({ length: 10 }, (_, i) => content.get(`slot:${i}`)));
        expect(slots.size).toBe(1);
        const last = Number.parseInt([...slots][0] ?? '-1', 10);
        expect(last).toBeGreaterThanOrEqual(acknowledged);
        const batches = [...content.keys()].filter((id) => id.startsWith('batch:'));
        const first = Math.max(0, last - 49);
        const expected = Array.from({ length: last - first + 1 }, (_, i) => `batch:${first + i}`);
        expect(batches.toSorted()).toEqual(expected.toSorted());
        for (let i = 0; i <= acknowledged; i += 1) expect(storage.peek(`key:${i}`)?.entry.value).toBe(i);
        expect(storage.stats().corrupt).toBe(0);
      },
    );
  });

  it('takes the place of entries where the disk is full, and only then fails', async () => {
    const path = await directory();
    const script = join(import.meta.dirname, 'disk-full.fixture.mjs');
    // In blocks of 512 bytes, 8 MiB.
    const command = ['-c', 'ulimit -f 16384; exec "$0" "$@"', process.execPath, script, path];
    const filler = spawn('/bin/sh', command, { stdio: ['ignore', 'pipe', 'ignore'] });
    const report = JSON.parse(await text(filler.stdout)) as {
      filled: { entries: number; bytes: number };
      entries: string[];
      outcome: string;
      batches: number;
      atTheEnd: { entries: number };
      kept: number;
      removals: string[];
      again: string;
      entry: string;
      left: number;
    };
    const { filled, atTheEnd, outcome, batches, kept, left } = report;
    expect(filled.entries).toBeGreaterThan(1000);
    expect(report.entries.every((result) => result === 'done')).toBe(true);
    expect(outcome).toBe('cache_storage_unavailable');
    expect(atTheEnd.entries).toBe(0);
    expect(batches * 50 * 1000).toBeGreaterThan(filled.bytes);
    expect(kept).toBe(batches * 50);
    expect(new Set([...report.removals, report.again, report.entry])).toEqual(new Set(['done']));
    const storage = await openStorage({ directory: path });
    expect((await storage.journal().load()).length).toBe(left);
    expect(storage.stats()).toMatchObject({ corrupt: 0, entries: 1 });
  });
});

// On a disk of its own: another process writes entries and journal records all the time, while this one fills the disk
// and makes room again, kills the writer where the disk is full, opens what is left, and says what happened.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const [directory, ...numbers] = process.argv.slice(2, 6);
const [bytes, maxBytes, phase] = numbers.map(Number);
const isWriter = process.argv[6] === 'writer';
const dist = process.env.DIST ?? join(import.meta.dirname, '../../../dist');
const { DiskCacheStorage } = await import(join(dist, 'cache/storage/disk.storage.js'));
const { EnvelopeCodec } = await import(join(dist, 'cache/storage/envelope.js'));
const KEYS = 200;
const IDS = 8;
const LEAST_WRITES = 6;
const expiresAt = Date.now() + 3_600_000;
const version = '0'.repeat(32);
const openStorage = () =>
  DiskCacheStorage.open({
    directory: join(directory, 'cache'),
    maxBytes,
    codec: new EnvelopeCodec({ compressionMinBytes: Infinity }),
  });
const entryOf = (value) => ({ value, version, createdAt: 0, freshUntil: 0, expiresAt, tags: [] });
const outcomeOf = (promise) =>
  promise.then(
    () => 'done',
    (error) => error.code ?? error.message,
  );
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
const textOf = (i) => `${i}:`.padEnd(Math.floor(bytes * (0.5 + ((i * 7919) % 100) / 100)), String(i % 10));
const isText = (text) => text === textOf(Number.parseInt(text, 10));

async function write() {
  const storage = await openStorage();
  const journal = storage.journal();
  const report = (kind, i, outcome) => process.send({ kind, i, outcome });
  let i = 0;
  const setEntries = async () => {
    for (;;) {
      const n = (i += 1);
      const key = `key:${(n * 7919) % KEYS}`;
      report('entry', n, await outcomeOf(storage.set(key, entryOf(textOf(n)))));
      const read = storage.peek(`key:${(n * 31) % KEYS}`)?.entry.value;
      if (read !== undefined && !isText(read)) report('wrong', n, read.slice(0, 20));
    }
  };
  const writeJournal = async () => {
    for (;;) {
      const n = (i += 1);
      const records = new Map([[`record:${n % IDS}`, Buffer.from(textOf(n))]]);
      report('journal', n, await outcomeOf(journal.write(records)));
    }
  };
  process.send({ kind: 'open' });
  await Promise.all([setEntries(), setEntries(), writeJournal()]);
}

function fill(file) {
  for (let size = 2 ** 20; size >= 2 ** 9; size /= 2) {
    try {
      for (;;) writeSync(file, Buffer.alloc(size, 1));
    } catch (error) {
      if (error.code !== 'ENOSPC') throw error;
    }
  }
}

async function drive() {
  const filler = join(directory, 'filler');
  let counts = {};
  let acknowledged = new Map();
  const exits = [];
  const start = async () => {
    const writer = fork(import.meta.filename, [...process.argv.slice(2, 6), 'writer']);
    writer.on('message', ({ kind, i, outcome }) => {
      const name = `${kind} ${outcome}`;
      counts[name] = (counts[name] ?? 0) + 1;
      if (kind === 'journal' && outcome === 'done') acknowledged.set(`record:${i % IDS}`, i);
    });
    writer.on('exit', (code, signal) => exits.push(signal ?? code));
    await once(writer, 'message');
    return writer;
  };
  const during = async (ms) => {
    counts = {};
    const end = performance.now() + ms;
    const isShort = () => performance.now() < end || sum(Object.values(counts)) < LEAST_WRITES;
    while (isShort() && exits.length === 0) await sleep(20);
    return counts;
  };
  const whileFull = async (work) => {
    const file = openSync(filler, 'w');
    fill(file);
    const filling = setInterval(() => fill(file), 10);
    const result = await work();
    clearInterval(filling);
    return { result, free: () => (closeSync(file), rmSync(filler)) };
  };

  const writer = await start();
  const before = await during(phase);
  const { result: full, free } = await whileFull(() => during(2 * phase));
  free();
  await during(100);
  const after = await during(phase);
  const { result: again, free: freeAgain } = await whileFull(() => during(phase));
  const diedBefore = exits.length;
  writer.kill('SIGKILL');
  while (exits.length === 0) await sleep(5);

  const storage = await openStorage().catch((error) => error);
  const reopened = {
    opened: storage instanceof DiskCacheStorage,
    message: storage.message,
    cause: String(storage.cause),
  };
  if (reopened.opened) {
    const records = new Map(await storage.journal().load());
    reopened.lost = Array.from(acknowledged).filter(
      ([id, i]) => !(Number.parseInt(Buffer.from(records.get(id) ?? '-1').toString('latin1'), 10) >= i),
    );
    reopened.entries = storage.stats().entries;
    reopened.corrupt = storage.stats().corrupt;
    reopened.damaged = 0;
    for await (const key of storage.keys()) {
      const value = storage.peek(key)?.entry.value;
      if (value === undefined || !isText(value)) reopened.damaged += 1;
    }
    const writes = Array.from({ length: 5 }, (_, i) => storage.set(`key:${i}`, entryOf(textOf(i))));
    reopened.sets = await Promise.all(writes.map(outcomeOf));
    reopened.journal = await outcomeOf(
      storage.journal().write(new Map([['record:0', Buffer.from(textOf(1))]])),
    );
    reopened.removal = await outcomeOf(storage.journal().write(new Map([['record:1', undefined]])));
    freeAgain();
    reopened.withRoom = await outcomeOf(storage.set('key', entryOf(textOf(3))));
    await storage.close();
  }
  process.stdout.write(JSON.stringify({ before, full, after, again, exits, diedBefore, reopened }));
}

await (isWriter ? write() : drive());

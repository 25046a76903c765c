// Fills the disk with entries, then writes to the journal until it fails, and says what happened. It is started with
// a limit on the size of files, which writes beyond meet like a full disk.
import { DiskCacheStorage } from '../../../dist/cache/storage/disk.storage.js';
import { EnvelopeCodec } from '../../../dist/cache/storage/envelope.js';

const storage = await DiskCacheStorage.open({
  directory: process.argv[2],
  maxBytes: 64 * 2 ** 20,
  codec: new EnvelopeCodec({ compressionMinBytes: Infinity }),
});
const journal = storage.journal();
const expiresAt = Date.now() + 3_600_000;
const version = '0'.repeat(32);
const set = (i) => {
  const entry = { value: 'x'.repeat(1500), version, createdAt: 0, freshUntil: 0, expiresAt, tags: [] };
  return storage.set(`key:${(i * 7919) % 100_003}`, entry);
};
const namesOf = (batch) => Array.from({ length: 50 }, (_, i) => `record:${batch}:${i}`);
const write = (batch, bytes) => journal.write(new Map(namesOf(batch).map((name) => [name, bytes])));
const outcomeOf = (promise) =>
  promise.then(
    () => 'done',
    (error) => error.code,
  );

let i = 0;
while (storage.stats().evictions === 0) {
  await Promise.allSettled(Array.from({ length: 100 }, () => set((i += 1))));
}
const filled = storage.stats();
const entries = [];
for (let j = 0; j < 100; j += 1) entries.push(await outcomeOf(set((i += 1))));

const record = Buffer.alloc(1000, 'r');
let batches = 0;
let outcome = 'done';
while (outcome === 'done') {
  [outcome] = await Promise.all([outcomeOf(write(batches, record)), outcomeOf(set((i += 1)))]);
  if (outcome === 'done') batches += 1;
}
const atTheEnd = storage.stats();
const kept = (await journal.load()).length;

const removals = [];
for (let batch = batches / 2; batch < batches; batch += 1) {
  removals.push(await outcomeOf(write(Math.floor(batch), undefined)));
}
const again = await outcomeOf(write('again', record));
const entry = await outcomeOf(set((i += 1)));
const left = (await journal.load()).length;
await storage.close();
process.stdout.write(
  JSON.stringify({ filled, entries, outcome, batches, atTheEnd, kept, removals, again, entry, left }),
);

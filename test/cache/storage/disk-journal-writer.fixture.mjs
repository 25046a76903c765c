// Writes journal records in batches that are all or nothing, and an entry beside each, a few batches under way at a
// time; tells of each that was acknowledged, and ends when it is killed.
import { DiskCacheStorage } from '../../../dist/cache/storage/disk.storage.js';
import { EnvelopeCodec } from '../../../dist/cache/storage/envelope.js';

const SLOTS = 10;
const KEPT = 50;
const storage = await DiskCacheStorage.open({
  directory: process.argv[2],
  maxBytes: 100 * 2 ** 20,
  codec: new EnvelopeCodec(),
});
const journal = storage.journal();
const expiresAt = Date.now() + 3_600_000;
const write = async (i) => {
  const text = `${i}:${'x'.repeat((i * 7919) % 20_000)}`;
  const slots = Array.from({ length: SLOTS }, (_, slot) => [`slot:${slot}`, Buffer.from(text)]);
  const records = new Map([...slots, [`batch:${i}`, Buffer.of(1)], [`batch:${i - KEPT}`, undefined]]);
  const version = i.toString(16).padStart(32, '0');
  const entry = { value: i, version, createdAt: 0, freshUntil: 0, expiresAt, tags: [] };
  await Promise.all([journal.write(records), storage.set(`key:${i}`, entry)]);
  process.stdout.write(`${i}\n`);
};
process.stdout.write('open\n');
for (let i = 0; ; i += 4) await Promise.all(Array.from({ length: 4 }, (_, j) => write(i + j)));

// Writes entries, 20 at a time, and tells of each that was acknowledged; ends when it is killed.
import { DiskCacheStorage } from '../../../dist/cache/storage/disk.storage.js';
import { EnvelopeCodec } from '../../../dist/cache/storage/envelope.js';

const storage = await DiskCacheStorage.open({
  directory: process.argv[2],
  maxBytes: 100 * 2 ** 20,
  codec: new EnvelopeCodec(),
});
const expiresAt = Date.now() + 3_600_000;
const write = async (i) => {
  const version = i.toString(16).padStart(32, '0');
  const entry = { value: { i, text: 'x'.repeat(i % 5000) }, version, createdAt: 0, freshUntil: 0, expiresAt };
  await storage.set(`key:${i}`, { ...entry, tags: [] });
  if (i % 10 === 0) await storage.delete(`key:${i}`);
  process.stdout.write(`${i}\n`);
};
process.stdout.write('open\n');
for (let i = 0; ; i += 20) await Promise.all(Array.from({ length: 20 }, (_, j) => write(i + j)));

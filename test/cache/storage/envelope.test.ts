import { isDeepStrictEqual } from 'node:util';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import { anything, array, assert, integer, property, record, string } from 'fast-check';
import { EntryTooLargeError, InvalidCacheOptionError } from '../../../src/cache/cache.errors.js';
import type { CacheEntry } from '../../../src/cache/storage/cache-entry.js';
import { EnvelopeCodec, HEADER_BYTES, readHeader } from '../../../src/cache/storage/envelope.js';

const address = { namespace: 'default', key: 'key' };
const version = '018f0000000000000123456789abcdef';
const entry: CacheEntry = {
  value: { code: 'x'.repeat(50), list: [1, 2, 3], when: new Date(7) },
  version,
  createdAt: 1_700_000_000_000,
  freshUntil: 1_700_000_060_000,
  expiresAt: 1_700_000_120_000,
  tags: ['file:abc', 'type:deobfuscate'],
};
const secret = { id: 'k1', key: Buffer.alloc(32, 1) };
const plain = new EnvelopeCodec();
const encrypted = new EnvelopeCodec({ encryptionKeys: [secret] });

/** As the table in `envelope.ts` has it. */
function checksumOf(bytes: Buffer): number {
  const { namespace, key } = address;
  const place = crc32(Buffer.from(`${namespace.length}:${namespace}${key}`, 'utf16le'));
  return crc32(bytes.subarray(HEADER_BYTES + 4), crc32(bytes.subarray(0, HEADER_BYTES), place));
}

/** xorshift32: the same mutations in every run. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const MUTATIONS: readonly ((bytes: Buffer, below: (n: number) => number) => Buffer)[] = [
  (bytes, below) => {
    const copy = Buffer.from(bytes);
    const at = below(copy.length);
    copy[at] = (copy[at] ?? 0) ^ (1 << below(8));
    return copy;
  },
  (bytes, below) => bytes.subarray(0, below(bytes.length)),
  (bytes, below) => bytes.subarray(1 + below(bytes.length - 1)),
  (bytes, below) => {
    const at = below(bytes.length);
    return Buffer.concat([bytes.subarray(0, at), Buffer.of(below(256)), bytes.subarray(at)]);
  },
  (bytes, below) => {
    const [from, to] = [below(bytes.length), below(bytes.length)];
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]);
  },
  (bytes, below) => Buffer.concat([bytes, Buffer.alloc(1 + below(10), below(256))]),
  (bytes, below) => {
    const copy = Buffer.from(bytes);
    for (let at = below(HEADER_BYTES); at < copy.length; at += 1 + below(20)) copy[at] = below(256);
    return copy;
  },
  (_bytes, below) => Buffer.from(Array.from({ length: below(200) }, () => below(256))),
];

const changed = (original: Buffer, at: number, text: string): Buffer => {
  const copy = Buffer.from(original);
  copy.write(text, at, 'latin1');
  return copy;
};

describe('EnvelopeCodec', () => {
  it.each([
    ['plain', plain],
    ['encrypted', encrypted],
    ['compressed', new EnvelopeCodec({ compressionMinBytes: 0 })],
  ])('gives back what it was given, %s', (_name, codec) => {
    const time = integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
    const entries = record({
      value: anything({ withBigInt: true, withDate: true, withMap: true, withSet: true }),
      version: string({ unit: 'binary', minLength: 16, maxLength: 16 }).map((text) =>
        Buffer.from(text).subarray(0, 16).toString('hex'),
      ),
      createdAt: time,
      freshUntil: time,
      expiresAt: time,
      tags: array(string({ unit: 'binary' })),
    });
    const text = string({ unit: 'binary' });
    assert(
      property(entries, text, text, (given, namespace, key) => {
        const bytes = codec.encode(given, { namespace, key });
        // As in the tests of the value codec: Jest's equality has no invalid Date as the key of a Map.
        const decoded = codec.decode(bytes, { namespace, key });
        expect(isDeepStrictEqual(decoded, { kind: 'entry', entry: { ...given } })).toBe(true);
        expect(readHeader(bytes.subarray(0, HEADER_BYTES))).toMatchObject({
          version: given.version,
          expiresAt: given.expiresAt,
        });
      }),
      { numRuns: 500 },
    );
  });

  it('has a header that a script can read', () => {
    const header = plain.encode(entry, address).toString('latin1', 0, HEADER_BYTES);
    expect(header).toBe(`ATHN0100${version}00018bcfe5680000018bcfe6526000018bcfe73cc0`);
    expect(encrypted.encode(entry, address).toString('latin1', 0, 8)).toBe('ATHN0104');
  });

  it('rounds times, and never to a shorter life', () => {
    const bytes = plain.encode({ ...entry, createdAt: 1.9, freshUntil: 2.1, expiresAt: 3.5 }, address);
    expect(readHeader(bytes)).toMatchObject({ createdAt: 1, freshUntil: 3, expiresAt: 4 });
  });

  it.each([
    [{ version: 'v1' }],
    [{ version: version.toUpperCase() }],
    [{ createdAt: -1 }],
    [{ freshUntil: Number.NaN }],
    [{ expiresAt: Infinity }],
  ])('refuses %p', (fault) => {
    expect(() => plain.encode({ ...entry, ...fault }, address)).toThrow(InvalidCacheOptionError);
  });

  it('compresses what gets smaller by it, from its size on', () => {
    const codec = new EnvelopeCodec({ compressionMinBytes: 1000 });
    const size = (value: unknown): number => codec.encode({ ...entry, value }, address).length;
    expect(size('x'.repeat(100_000))).toBeLessThan(300);
    expect(size('x'.repeat(900))).toBeGreaterThan(900);
    const noise = random(7);
    const bytes = Buffer.from(Array.from({ length: 5000 }, () => noise(256)));
    expect(codec.encode({ ...entry, value: bytes }, address).toString('latin1', 6, 8)).toBe('00');
  });

  it('neither writes nor reads a body above its limit', () => {
    const small = new EnvelopeCodec({ maxValueBytes: 10_000 });
    expect(() => small.encode({ ...entry, value: 'x'.repeat(10_001) }, address)).toThrow(EntryTooLargeError);
    const bomb = plain.encode({ ...entry, value: 'x'.repeat(10_000_000) }, address);
    expect(bomb.length).toBeLessThan(3000);
    expect(small.decode(bomb, address)).toMatchObject({ kind: 'corrupt', reason: 'compression' });
  });

  describe('reads as corrupt, and says why:', () => {
    const bytes = plain.encode(entry, address);
    const sealed = encrypted.encode(entry, address);
    const other = { ...entry, version: version.replace('1', '2') };

    it.each<[string, EnvelopeCodec, Buffer, string, boolean]>([
      ['nothing', plain, Buffer.alloc(0), 'foreign', true],
      ['foreign bytes', plain, Buffer.from('{"value":1}'.repeat(20)), 'foreign', true],
      ['a newer format', plain, changed(bytes, 4, '02'), 'newer-format', false],
      ['unknown flags', plain, changed(bytes, 6, '80'), 'malformed', true],
      ['half a header', plain, bytes.subarray(0, 40), 'truncated', true],
      ['a header alone', plain, bytes.subarray(0, HEADER_BYTES), 'truncated', true],
      ['another version', plain, changed(bytes, 8, 'f'), 'checksum', true],
      ['another expiry', plain, changed(bytes, 81, '1'), 'checksum', true],
      ['no key to decrypt', plain, sealed, 'unknown-key', false],
      ['plain text where there are keys', encrypted, bytes, 'not-encrypted', false],
      ['encryption taken away', encrypted, changed(sealed, 6, '00'), 'not-encrypted', false],
      [
        'another version over the same ciphertext',
        encrypted,
        changed(sealed, 8, 'f'),
        'authentication',
        true,
      ],
      [
        'the header of another entry',
        encrypted,
        Buffer.concat([
          encrypted.encode(other, address).subarray(0, HEADER_BYTES),
          sealed.subarray(HEADER_BYTES),
        ]),
        'authentication',
        true,
      ],
      [
        'another key of the same id',
        new EnvelopeCodec({ encryptionKeys: [{ id: 'k1', key: Buffer.alloc(32, 2) }] }),
        sealed,
        'authentication',
        true,
      ],
    ])('%s', (_name, codec, given, reason, removable) => {
      expect(codec.decode(given, address)).toEqual({ kind: 'corrupt', reason, removable });
    });

    it.each([
      ['another key', { namespace: 'default', key: 'kez' }],
      ['another namespace', { namespace: 'defaulu', key: 'key' }],
      ['a shifted boundary', { namespace: 'defaultk', key: 'ey' }],
    ])('bytes under %s', (_name, elsewhere) => {
      expect(plain.decode(bytes, elsewhere)).toMatchObject({ reason: 'checksum' });
      expect(encrypted.decode(sealed, elsewhere)).toMatchObject({ reason: 'authentication' });
    });

    it('bytes under another lone surrogate', () => {
      for (const codec of [plain, encrypted]) {
        const moved = codec.encode(entry, { namespace: 'n', key: '\ud800' });
        expect(codec.decode(moved, { namespace: 'n', key: '\ud801' }).kind).toBe('corrupt');
      }
    });
  });

  it('reads what older keys have written', () => {
    const rotated = new EnvelopeCodec({ encryptionKeys: [{ id: 'k2', key: Buffer.alloc(32, 2) }, secret] });
    expect(rotated.decode(encrypted.encode(entry, address), address)).toEqual({ kind: 'entry', entry });
    expect(encrypted.decode(rotated.encode(entry, address), address)).toMatchObject({
      reason: 'unknown-key',
    });
  });

  it('never uses a nonce twice, nor shows what it encrypts', () => {
    const [one, two] = [encrypted.encode(entry, address), encrypted.encode(entry, address)];
    expect(one.equals(two)).toBe(false);
    for (const text of ['xxxxxxxx', 'file:abc', 'deobfuscate']) expect(one.includes(text)).toBe(false);
  });

  it.each([
    [{ encryptionKeys: [{ id: 'a', key: Buffer.alloc(31) }] }],
    [{ encryptionKeys: [{ id: '', key: Buffer.alloc(32) }] }],
    [{ encryptionKeys: [secret, secret] }],
    [{ compressionMinBytes: -1 }],
    [{ maxValueBytes: 0 }],
  ])('refuses the options %p', (options) => {
    expect(() => new EnvelopeCodec(options)).toThrow(InvalidCacheOptionError);
  });

  it.each([
    ['plain', plain, 60_000],
    ['compressed', new EnvelopeCodec({ compressionMinBytes: 0 }), 30_000],
    ['encrypted', encrypted, 30_000],
  ])('survives any damage without an exception or a wrong value, %s', (_name, codec, runs) => {
    const below = random(20_261_124);
    const original = codec.encode(entry, address);
    let accepted = 0;
    for (let run = 0; run < runs; run += 1) {
      const mutated = MUTATIONS[run % MUTATIONS.length]?.(original, below) ?? original;
      if (mutated.equals(original)) continue;
      if (codec.decode(mutated, address).kind !== 'corrupt') accepted += 1;
    }
    expect(accepted).toBe(0);
  });

  it('survives a forged checksum: what gets past it is bounded, and no exception', () => {
    const below = random(4711);
    const original = plain.encode(entry, address);
    const start = HEADER_BYTES + 4;
    for (let run = 0; run < 20_000; run += 1) {
      const mutated = MUTATIONS[run % MUTATIONS.length]?.(original.subarray(start), below) ?? original;
      const bytes = Buffer.concat([original.subarray(0, start), mutated]);
      bytes.writeUInt32BE(checksumOf(bytes), HEADER_BYTES);
      expect(['entry', 'corrupt']).toContain(plain.decode(bytes, address).kind);
    }
  });
});

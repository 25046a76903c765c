import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { constants, crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { EntryTooLargeError } from '../cache.errors.js';
import { VERSION_LENGTH } from '../replication/clock.js';
import type { CacheEntry } from './cache-entry.js';
import { decodeValue, encodeValue } from './value-encoding.js';

/**
 * The bytes of one entry, the same on disk and in Redis. The header has a fixed width, so that a script can read and
 * compare it with `string.sub`, and a client can fetch it alone with `GETRANGE`. Magic and format keep their places in
 * every later format.
 *
 * | offset | bytes | field                                                                   |
 * | ------ | ----- | ----------------------------------------------------------------------- |
 * | 0      | 4     | magic `ATHN`                                                            |
 * | 4      | 1     | format, 1                                                               |
 * | 5      | 1     | flags: 1 tombstone, 2 compressed, 4 encrypted                           |
 * | 6      | 32    | version, lowercase hex                                                  |
 * | 38     | 12    | created, epoch milliseconds in lowercase hex; so are the next two       |
 * | 50     | 12    | fresh until                                                             |
 * | 62     | 12    | expires                                                                 |
 * | 74     | 16    | id of the encryption key, padded with NUL                               |
 * | 90     |       | not encrypted: CRC-32, then the body                                    |
 * |        |       | encrypted: 12 bytes of nonce, the body's ciphertext, 16 bytes of tag    |
 *
 * The body is MessagePack of `[tags, value]`, compressed with zstd where that is smaller. Namespace, key and the whole
 * header are under the checksum, and under the authentication of AES-256-GCM as associated data: bytes that were
 * moved to another key, or put under another version, are not accepted. A checksum stops accidents only; against
 * somebody who writes to the store it takes encryption keys.
 */

const MAGIC = Buffer.from('ATHN', 'latin1');
const FORMAT = 1;
const FORMAT_OFFSET = 4;
const FLAGS_OFFSET = 5;
const VERSION_OFFSET = 6;
const CREATED_OFFSET = VERSION_OFFSET + VERSION_LENGTH;
const TIME_LENGTH = 12;
const FRESH_OFFSET = CREATED_OFFSET + TIME_LENGTH;
const EXPIRES_OFFSET = FRESH_OFFSET + TIME_LENGTH;
const KEY_ID_OFFSET = EXPIRES_OFFSET + TIME_LENGTH;
const KEY_ID_LENGTH = 16;
export const HEADER_BYTES = KEY_ID_OFFSET + KEY_ID_LENGTH;

const CHECKSUM_LENGTH = 4;
const NONCE_LENGTH = 12;
const TAG_LENGTH = 16;

const FLAG = { tombstone: 1, compressed: 2, encrypted: 4 } as const;
const KNOWN_FLAGS = FLAG.tombstone | FLAG.compressed | FLAG.encrypted;

/** Level 3, the library's default, costs a tenth of level 9 for nearly the same size on text. */
const ZSTD = { params: { [constants.ZSTD_c_compressionLevel]: 3 } };
const MAX_BODY_BYTES = 64 * 1024 * 1024;

export interface EncryptionKey {
  /** 1 to 16 letters or digits; stored in clear beside what it encrypted. */
  readonly id: string;
  /** 32 bytes. */
  readonly key: Buffer;
}

export interface EnvelopeOptions {
  /** Bodies of this size and more are compressed. Default 1024. */
  readonly compressionMinBytes?: number;
  /** The first writes, all read. Default none. */
  readonly encryptionKeys?: readonly EncryptionKey[];
}

/** Where an entry lies; bytes are valid there only. */
export interface EntryAddress {
  readonly namespace: string;
  readonly key: string;
}

export type DecodedEnvelope =
  | { readonly kind: 'entry'; readonly entry: CacheEntry }
  | { readonly kind: 'corrupt'; readonly reason: CorruptReason };

export type CorruptReason =
  'foreign' | 'newer-format' | 'truncated' | 'unknown-key' | 'checksum' | 'authentication' | 'malformed';

/** Writes and reads envelopes. Reading never throws: what cannot be read has a reason. */
export class EnvelopeCodec {
  private readonly compressionMinBytes: number;
  private readonly keys: ReadonlyMap<string, Buffer>;
  private readonly writingKey: EncryptionKey | undefined;

  /** @throws RangeError for a key of another length */
  constructor({ compressionMinBytes = 1024, encryptionKeys = [] }: EnvelopeOptions = {}) {
    for (const { id, key } of encryptionKeys) {
      if (key.length !== 32)
        throw new RangeError(`Encryption key "${id}" must have 32 bytes; got ${key.length}.`);
    }
    this.compressionMinBytes = compressionMinBytes;
    this.keys = new Map(encryptionKeys.map(({ id, key }) => [id, key]));
    this.writingKey = encryptionKeys[0];
  }

  /** @throws ValueNotSerializableError, EntryTooLargeError above 64 MiB */
  encode(entry: CacheEntry, address: EntryAddress): Buffer {
    const plain = encodeValue([entry.tags, entry.value]);
    if (plain.length > MAX_BODY_BYTES)
      throw new EntryTooLargeError(address.key, plain.length, MAX_BODY_BYTES);
    const compressed = plain.length >= this.compressionMinBytes ? zstdCompressSync(plain, ZSTD) : plain;
    const body = compressed.length < plain.length ? compressed : plain;
    const flags =
      (body === plain ? 0 : FLAG.compressed) | (this.writingKey === undefined ? 0 : FLAG.encrypted);
    const header = writeHeader(entry, flags, this.writingKey?.id ?? '');
    if (this.writingKey !== undefined) return encrypt(this.writingKey.key, header, body, address);
    const checksum = Buffer.allocUnsafe(CHECKSUM_LENGTH);
    checksum.writeUInt32LE(checksumOf(header, body, address));
    return Buffer.concat([header, checksum, body]);
  }

  /** Never throws, whatever the bytes. */
  decode(bytes: Uint8Array, address: EntryAddress): DecodedEnvelope {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const fault = faultOfHeader(buffer);
    if (fault !== undefined) return { kind: 'corrupt', reason: fault };
    const opened = this.open(buffer, address);
    if ('reason' in opened) return { kind: 'corrupt', reason: opened.reason };
    try {
      return { kind: 'entry', entry: readEntry(buffer, opened.body) };
    } catch {
      return { kind: 'corrupt', reason: 'malformed' };
    }
  }

  /** The body, once it is known to be what was written for this address. */
  private open(buffer: Buffer, address: EntryAddress): { body: Buffer } | { reason: CorruptReason } {
    const header = buffer.subarray(0, HEADER_BYTES);
    const rest = buffer.subarray(HEADER_BYTES);
    if ((flagsOf(buffer) & FLAG.encrypted) === 0) {
      // With keys configured, what is not encrypted is not ours: anybody can compute a checksum.
      if (this.writingKey !== undefined) return { reason: 'unknown-key' };
      if (rest.length < CHECKSUM_LENGTH) return { reason: 'truncated' };
      const body = rest.subarray(CHECKSUM_LENGTH);
      return rest.readUInt32LE() === checksumOf(header, body, address) ? { body } : { reason: 'checksum' };
    }
    const key = this.keys.get(keyIdOf(buffer));
    if (key === undefined) return { reason: 'unknown-key' };
    if (rest.length < NONCE_LENGTH + TAG_LENGTH) return { reason: 'truncated' };
    const body = decrypt(key, header, rest, address);
    return body === undefined ? { reason: 'authentication' } : { body };
  }
}

function writeHeader(entry: CacheEntry, flags: number, keyId: string): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header[FORMAT_OFFSET] = FORMAT;
  header[FLAGS_OFFSET] = flags;
  header.write(entry.version, VERSION_OFFSET, VERSION_LENGTH, 'latin1');
  writeTime(header, CREATED_OFFSET, entry.createdAt);
  writeTime(header, FRESH_OFFSET, entry.freshUntil);
  writeTime(header, EXPIRES_OFFSET, entry.expiresAt);
  header.write(keyId, KEY_ID_OFFSET, KEY_ID_LENGTH, 'latin1');
  return header;
}

function writeTime(header: Buffer, offset: number, ms: number): void {
  header.write(Math.floor(ms).toString(16).padStart(TIME_LENGTH, '0'), offset, TIME_LENGTH, 'latin1');
}

function readTime(buffer: Buffer, offset: number): number {
  return Number.parseInt(buffer.toString('latin1', offset, offset + TIME_LENGTH), 16);
}

/** When the entry of an envelope expires, from its header alone; NaN where that is not one. */
export function expiryOf(envelope: Buffer): number {
  return readTime(envelope, EXPIRES_OFFSET);
}

function flagsOf(buffer: Buffer): number {
  return buffer[FLAGS_OFFSET] ?? 0;
}

function keyIdOf(buffer: Buffer): string {
  return buffer.toString('latin1', KEY_ID_OFFSET, HEADER_BYTES).replace(/\0+$/, '');
}

function faultOfHeader(buffer: Buffer): CorruptReason | undefined {
  if (buffer.length < HEADER_BYTES) return buffer.indexOf(MAGIC) === 0 ? 'truncated' : 'foreign';
  if (!buffer.subarray(0, MAGIC.length).equals(MAGIC)) return 'foreign';
  if ((buffer[FORMAT_OFFSET] ?? 0) > FORMAT) return 'newer-format';
  if (buffer[FORMAT_OFFSET] !== FORMAT || (flagsOf(buffer) & ~KNOWN_FLAGS) !== 0) return 'malformed';
  return undefined;
}

function readEntry(buffer: Buffer, body: Buffer): CacheEntry {
  const compressed = (flagsOf(buffer) & FLAG.compressed) !== 0;
  const plain = compressed ? zstdDecompressSync(body, { maxOutputLength: MAX_BODY_BYTES }) : body;
  const [tags, value] = decodeValue(plain) as [unknown, unknown];
  if (!Array.isArray(tags) || !tags.every((tag) => typeof tag === 'string')) throw new TypeError('No tags.');
  const [createdAt, freshUntil, expiresAt] = [CREATED_OFFSET, FRESH_OFFSET, EXPIRES_OFFSET].map((offset) =>
    readTime(buffer, offset),
  ) as [number, number, number];
  if (!(createdAt >= 0 && freshUntil >= 0 && expiresAt >= 0)) throw new TypeError('No times.');
  const version = buffer.toString('latin1', VERSION_OFFSET, CREATED_OFFSET);
  return { value, version, createdAt, freshUntil, expiresAt, tags };
}

/** Namespace and key, so that no two addresses look alike: the length tells where the one ends. */
function addressBytes({ namespace, key }: EntryAddress): Buffer {
  // UTF-16, because UTF-8 has one replacement character for all lone surrogates.
  return Buffer.from(`${namespace.length}:${namespace}${key}`, 'utf16le');
}

function checksumOf(header: Buffer, body: Buffer, address: EntryAddress): number {
  return crc32(body, crc32(header, crc32(addressBytes(address))));
}

function encrypt(key: Buffer, header: Buffer, body: Buffer, address: EntryAddress): Buffer {
  const nonce = randomBytes(NONCE_LENGTH);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(Buffer.concat([header, addressBytes(address)]));
  return Buffer.concat([header, nonce, cipher.update(body), cipher.final(), cipher.getAuthTag()]);
}

function decrypt(key: Buffer, header: Buffer, rest: Buffer, address: EntryAddress): Buffer | undefined {
  const decipher = createDecipheriv('aes-256-gcm', key, rest.subarray(0, NONCE_LENGTH), {
    authTagLength: TAG_LENGTH,
  });
  decipher.setAAD(Buffer.concat([header, addressBytes(address)]));
  decipher.setAuthTag(rest.subarray(-TAG_LENGTH));
  try {
    return Buffer.concat([decipher.update(rest.subarray(NONCE_LENGTH, -TAG_LENGTH)), decipher.final()]);
  } catch {
    return undefined;
  }
}

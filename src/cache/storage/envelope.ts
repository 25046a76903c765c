import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { EntryTooLargeError, InvalidCacheOptionError } from '../cache.errors.js';
import type { CacheEntry } from './cache-entry.js';
import { decodeValue, encodeValue, ValueTooLarge } from './value-codec.js';

/**
 * The bytes of one entry: a header of plain text, so that a Lua script or a `GETRANGE` of `HEADER_BYTES` can read
 * and compare it, and a body that only this class reads.
 *
 * | offset | bytes | field                                                                                  |
 * | ------ | ----- | -------------------------------------------------------------------------------------- |
 * | 0      | 4     | magic `ATHN`                                                                           |
 * | 4      | 2     | format, hex; now `01`                                                                  |
 * | 6      | 2     | flags, hex: 2 compressed, 4 encrypted                                                  |
 * | 8      | 32    | version, lowercase hex (Lua: `string.sub(bytes, 9, 40)`)                               |
 * | 40     | 14    | createdAt, epoch milliseconds, hex                                                     |
 * | 54     | 14    | freshUntil, likewise                                                                   |
 * | 68     | 14    | expiresAt, likewise; of a tombstone, when it may be forgotten                          |
 * | 82     | ...   | plain: CRC-32 of header, body and address (4 bytes, highest first), body               |
 * |        |       | encrypted: length of the key id (1 byte), key id, nonce (12), tag (16), encrypted body |
 *
 * The body is what the computation took in milliseconds and the length of the encoded tags (4 bytes each, highest
 * first), the tags and the value, as in
 * `value-codec.ts`; all of that as one zstd frame if compressed. Encryption is AES-256-GCM
 * with the whole header, key id, namespace and key as associated data. Without it the checksum finds accidents only.
 * Magic, format and version keep their offsets in every format to come.
 */
export const HEADER_BYTES = 82;

const MAGIC = 'ATHN';
const FORMAT = 1;
const FLAG_COMPRESSED = 2;
const FLAG_ENCRYPTED = 4;
const KNOWN_FLAGS = FLAG_COMPRESSED | FLAG_ENCRYPTED;
const HEADER = /^ATHN([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{32})([0-9a-f]{14})([0-9a-f]{14})([0-9a-f]{14})$/;
const VERSION = /^[0-9a-f]{32}$/;
const CHECKSUM_BYTES = 4;
const NONCE_BYTES = 12;
const AUTH_TAG_BYTES = 16;
const KEY_BYTES = 32;
/** Cost, and length of the tags. */
const PREFACE_BYTES = 8;
const MAX_COST_MS = 2 ** 32 - 1;
const MIB = 1024 * 1024;

export interface EncryptionKey {
  /** 1 to 255 bytes; written in plain text beside what it encrypted. */
  readonly id: string;
  /** 32 bytes. */
  readonly key: Buffer;
}

export interface EnvelopeOptions {
  /** Bodies from this size on are compressed if that makes them smaller. Default 1024; Infinity: never. */
  readonly compressionMinBytes?: number;
  /** The first encrypts, all decrypt. None: entries are written in plain text, and encrypted ones can't be read. */
  readonly encryptionKeys?: readonly EncryptionKey[];
  /** Largest body before compression, written or read. Default 16 MiB. */
  readonly maxValueBytes?: number;
}

/** Where an entry lies; bytes that were moved elsewhere do not decode. Any strings. */
export interface EntryAddress {
  readonly namespace: string;
  readonly key: string;
}

export interface EnvelopeHeader {
  readonly version: string;
  readonly createdAt: number;
  readonly freshUntil: number;
  readonly expiresAt: number;
}

/**
 * Why bytes gave no entry. `newer-format`, `unknown-key` and `not-encrypted` may be sound bytes that another build or
 * configuration can read: a miss here, but not to be removed.
 */
export type CorruptReason =
  | 'foreign'
  | 'newer-format'
  | 'unknown-key'
  | 'not-encrypted'
  | 'truncated'
  | 'checksum'
  | 'authentication'
  | 'compression'
  | 'malformed';

const READABLE_ELSEWHERE: ReadonlySet<CorruptReason> = new Set([
  'newer-format',
  'unknown-key',
  'not-encrypted',
]);

export type DecodedEnvelope =
  | { readonly kind: 'entry'; readonly entry: CacheEntry }
  | { readonly kind: 'corrupt'; readonly reason: CorruptReason; readonly removable: boolean };

/**
 * What the first `HEADER_BYTES` of an envelope say, or undefined if this build can't read them. Not verified: that
 * takes the body.
 */
export function readHeader(bytes: Buffer): EnvelopeHeader | undefined {
  try {
    return parseHeader(bytes);
  } catch {
    return undefined;
  }
}

/**
 * Whether the version and times of an entry can be written. Every storage refuses the others.
 * @throws InvalidCacheOptionError
 */
export function checkEntry({ version, createdAt, freshUntil, expiresAt }: EnvelopeHeader): void {
  if (!VERSION.test(version)) {
    throw new InvalidCacheOptionError('version', '32 lowercase hex digits', version);
  }
  for (const [name, time] of Object.entries({ createdAt, freshUntil, expiresAt })) {
    if (!(time >= 0 && time <= Number.MAX_SAFE_INTEGER)) {
      throw new InvalidCacheOptionError(name, 'epoch milliseconds from 0 to 2^53 - 1', time);
    }
  }
}

export class EnvelopeCodec {
  private readonly compressionMinBytes: number;
  private readonly maxValueBytes: number;
  private readonly writingKey: EncryptionKey | undefined;
  private readonly keys: ReadonlyMap<string, Buffer>;

  /** @throws InvalidCacheOptionError */
  constructor(options: EnvelopeOptions = {}) {
    const { compressionMinBytes = 1024, encryptionKeys = [], maxValueBytes = 16 * MIB } = options;
    if (!(compressionMinBytes >= 0)) {
      throw new InvalidCacheOptionError('compressionMinBytes', '0 or more', compressionMinBytes);
    }
    if (!Number.isSafeInteger(maxValueBytes) || maxValueBytes < 1 || maxValueBytes > 1024 * MIB) {
      throw new InvalidCacheOptionError('maxValueBytes', 'an integer from 1 to 1 GiB', maxValueBytes);
    }
    for (const [index, { id, key }] of encryptionKeys.entries())
      checkKey(`encryptionKeys[${index}]`, id, key);
    this.compressionMinBytes = compressionMinBytes;
    this.maxValueBytes = maxValueBytes;
    this.writingKey = encryptionKeys[0];
    this.keys = new Map(encryptionKeys.map(({ id, key }) => [id, key]));
    if (this.keys.size < encryptionKeys.length) {
      throw new InvalidCacheOptionError('encryptionKeys', 'a list of distinct ids', 'a repeated id');
    }
  }

  /**
   * Times are rounded to whole milliseconds, never to a shorter life.
   * @throws ValueNotSerializableError, EntryTooLargeError, InvalidCacheOptionError (version or times)
   */
  encode(entry: CacheEntry, address: EntryAddress): Buffer {
    checkEntry(entry);
    const body = this.body(entry, address.key);
    const worthIt = body.length >= this.compressionMinBytes;
    const compressed = worthIt ? zstdCompressSync(body) : body;
    return compressed.length < body.length
      ? this.seal(FLAG_COMPRESSED, entry, compressed, address)
      : this.seal(0, entry, body, address);
  }

  /** Never throws, whatever the bytes are. The entry holds no reference to them. */
  decode(bytes: Uint8Array, address: EntryAddress): DecodedEnvelope {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    try {
      return this.open(buffer, address);
    } catch (error) {
      const reason = error instanceof UnreadableError ? error.reason : 'malformed';
      return { kind: 'corrupt', reason, removable: !READABLE_ELSEWHERE.has(reason) };
    }
  }

  private body(entry: CacheEntry, key: string): Buffer {
    try {
      const tags = encodeValue(entry.tags, this.maxValueBytes);
      const value = encodeValue(entry.value, this.maxValueBytes - tags.length);
      const preface = Buffer.allocUnsafe(PREFACE_BYTES);
      preface.writeUInt32BE(Math.min(Math.max(0, Math.round(entry.costMs ?? 0)), MAX_COST_MS));
      preface.writeUInt32BE(tags.length, 4);
      return Buffer.concat([preface, tags, value]);
    } catch (error) {
      if (!(error instanceof ValueTooLarge)) throw error;
      throw new EntryTooLargeError(key, error.bytes, this.maxValueBytes);
    }
  }

  private seal(flags: number, header: EnvelopeHeader, body: Buffer, address: EntryAddress): Buffer {
    return this.writingKey === undefined
      ? sealPlain(headerText(flags, header), body, address)
      : sealEncrypted(headerText(flags | FLAG_ENCRYPTED, header), body, address, this.writingKey);
  }

  private open(bytes: Buffer, address: EntryAddress): DecodedEnvelope {
    const { flags, version, createdAt, freshUntil, expiresAt } = parseHeader(bytes);
    const encrypted = (flags & FLAG_ENCRYPTED) !== 0;
    // Or whoever can write to Redis could pass off as ours what he has not encrypted.
    if (!encrypted && this.keys.size > 0) throw new UnreadableError('not-encrypted');
    const sealed = encrypted ? this.decrypt(bytes, address) : openPlain(bytes, address);
    const body = (flags & FLAG_COMPRESSED) === 0 ? sealed : this.decompress(sealed);
    return { kind: 'entry', entry: { ...readBody(body), version, createdAt, freshUntil, expiresAt } };
  }

  private decrypt(bytes: Buffer, address: EntryAddress): Buffer {
    const idLength = bytes[HEADER_BYTES];
    if (idLength === undefined) throw new UnreadableError('truncated');
    const nonceStart = HEADER_BYTES + 1 + idLength;
    const tagStart = nonceStart + NONCE_BYTES;
    const bodyStart = tagStart + AUTH_TAG_BYTES;
    if (bytes.length < bodyStart) throw new UnreadableError('truncated');
    const key = this.keys.get(bytes.toString('utf8', HEADER_BYTES + 1, nonceStart));
    if (key === undefined) throw new UnreadableError('unknown-key');
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(nonceStart, tagStart));
    decipher.setAAD(associatedData(bytes.subarray(0, nonceStart), address));
    decipher.setAuthTag(bytes.subarray(tagStart, bodyStart));
    try {
      return Buffer.concat([decipher.update(bytes.subarray(bodyStart)), decipher.final()]);
    } catch {
      throw new UnreadableError('authentication');
    }
  }

  private decompress(bytes: Buffer): Buffer {
    try {
      return zstdDecompressSync(bytes, { maxOutputLength: this.maxValueBytes + PREFACE_BYTES });
    } catch {
      throw new UnreadableError('compression');
    }
  }
}

class UnreadableError extends Error {
  constructor(readonly reason: CorruptReason) {
    super(reason);
  }
}

function headerText(flags: number, header: EnvelopeHeader): string {
  const times = hex(Math.floor(header.createdAt), 14) + hex(Math.ceil(header.freshUntil), 14);
  return (
    MAGIC + hex(FORMAT, 2) + hex(flags, 2) + header.version + times + hex(Math.ceil(header.expiresAt), 14)
  );
}

function parseHeader(bytes: Buffer): EnvelopeHeader & { readonly flags: number } {
  const text = bytes.toString('latin1', 0, HEADER_BYTES);
  if (!text.startsWith(MAGIC)) throw new UnreadableError('foreign');
  if (Number.parseInt(text.slice(4, 6), 16) > FORMAT) throw new UnreadableError('newer-format');
  if (text.length < HEADER_BYTES) throw new UnreadableError('truncated');
  const [, format, flagDigits, version, createdAt, freshUntil, expiresAt] = HEADER.exec(text) ?? [];
  const flags = parseHex(flagDigits);
  if (version === undefined || parseHex(format) !== FORMAT || (flags & ~KNOWN_FLAGS) !== 0) {
    throw new UnreadableError('malformed');
  }
  return {
    flags,
    version,
    createdAt: parseHex(createdAt),
    freshUntil: parseHex(freshUntil),
    expiresAt: parseHex(expiresAt),
  };
}

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

function parseHex(digits = ''): number {
  const value = Number.parseInt(digits, 16);
  if (!Number.isSafeInteger(value)) throw new UnreadableError('malformed');
  return value;
}

/** UTF-16, because UTF-8 makes the same bytes of all lone surrogates; the length keeps the two parts apart. */
function addressBytes({ namespace, key }: EntryAddress): Buffer {
  return Buffer.from(`${namespace.length}:${namespace}${key}`, 'utf16le');
}

function associatedData(head: Buffer, address: EntryAddress): Buffer {
  return Buffer.concat([head, addressBytes(address)]);
}

function checksum(bytes: Buffer, address: EntryAddress): number {
  const ofHeader = crc32(bytes.subarray(0, HEADER_BYTES), crc32(addressBytes(address)));
  return crc32(bytes.subarray(HEADER_BYTES + CHECKSUM_BYTES), ofHeader);
}

function sealPlain(header: string, body: Buffer, address: EntryAddress): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + CHECKSUM_BYTES + body.length);
  bytes.write(header, 'latin1');
  body.copy(bytes, HEADER_BYTES + CHECKSUM_BYTES);
  bytes.writeUInt32BE(checksum(bytes, address), HEADER_BYTES);
  return bytes;
}

function openPlain(bytes: Buffer, address: EntryAddress): Buffer {
  if (bytes.length < HEADER_BYTES + CHECKSUM_BYTES) throw new UnreadableError('truncated');
  if (bytes.readUInt32BE(HEADER_BYTES) !== checksum(bytes, address)) throw new UnreadableError('checksum');
  return bytes.subarray(HEADER_BYTES + CHECKSUM_BYTES);
}

function sealEncrypted(
  header: string,
  body: Buffer,
  address: EntryAddress,
  { id, key }: EncryptionKey,
): Buffer {
  const keyId = Buffer.from(id);
  const head = Buffer.concat([Buffer.from(header, 'latin1'), Buffer.from([keyId.length]), keyId]);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(associatedData(head, address));
  const encrypted = cipher.update(body);
  cipher.final();
  return Buffer.concat([head, nonce, cipher.getAuthTag(), encrypted]);
}

function readBody(body: Buffer): Pick<CacheEntry, 'tags' | 'value' | 'costMs'> {
  const costMs = body.readUInt32BE(0);
  const valueStart = PREFACE_BYTES + body.readUInt32BE(4);
  if (valueStart > body.length) throw new UnreadableError('malformed');
  const tags = decodeValue(body.subarray(PREFACE_BYTES, valueStart));
  const value = decodeValue(body.subarray(valueStart));
  if (tags.kind === 'malformed' || value.kind === 'malformed' || !isTagList(tags.value)) {
    throw new UnreadableError('malformed');
  }
  const content = { tags: tags.value, value: value.value };
  return costMs === 0 ? content : { ...content, costMs };
}

const isTagList = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((tag) => typeof tag === 'string');

function checkKey(option: string, id: string, key: Buffer): void {
  const idBytes = Buffer.byteLength(id);
  if (idBytes < 1 || idBytes > 255) {
    throw new InvalidCacheOptionError(`${option}.id`, '1 to 255 bytes long', `${idBytes} bytes`);
  }
  if (key.length !== KEY_BYTES) {
    throw new InvalidCacheOptionError(`${option}.key`, `${KEY_BYTES} bytes long`, `${key.length} bytes`);
  }
}

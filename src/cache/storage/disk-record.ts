import { createHash } from 'node:crypto';

/**
 * The keys and rows of the disk storage. A physical key is 16 bytes of the namespace's SHA-256, a byte of the kind, and
 * the key: in UTF-8, so that keys with a common prefix lie together; or its SHA-256 if it is too long for LMDB or has
 * lone surrogates, of which UTF-8 makes the same bytes. The record has such a key in full.
 */
const SPACE_BYTES = 16;
const MAX_PLAIN_BYTES = 1024;
const PLAIN = 0;
const HASHED = 1;

export const SEQUENCE_BYTES = 6;
const ROW = { sequence: 0, expiresAt: 6, bytes: 14, length: 20 } as const;
const RECORD_HEAD_BYTES = 6;

/** Of a B-tree page of 4096 bytes, what goes inline; larger values take whole pages of their own. */
const INLINE_BYTES = 2000;
const PAGE_BYTES = 4096;
const PAGE_HEADER_BYTES = 16;
/** Rows and node headers in the three trees, at the filling of two thirds that random order leads to. */
const TREE_BYTES = 120;

/** What the index says of an entry. */
export interface IndexRow {
  /** Its place in the log: grows with every write. */
  readonly sequence: number;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
  /** What it takes on disk. */
  readonly bytes: number;
}

export interface LogRecord {
  readonly physicalKey: Buffer;
  /** Where the physical key does not tell. */
  readonly key: string | undefined;
  readonly envelope: Buffer;
}

export interface KeyRange {
  readonly start: Buffer;
  readonly end: Buffer;
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text, 'utf16le').digest();

export function spaceOf(namespace: string): Buffer {
  return sha256(namespace).subarray(0, SPACE_BYTES);
}

export function physicalKeyOf(space: Buffer, key: string): Buffer {
  const plain = key.length <= MAX_PLAIN_BYTES && key.isWellFormed() ? Buffer.from(key) : undefined;
  return plain !== undefined && plain.length <= MAX_PLAIN_BYTES
    ? Buffer.concat([space, Buffer.of(PLAIN), plain])
    : Buffer.concat([space, Buffer.of(HASHED), sha256(key)]);
}

/** The key, unless only the record has it. */
export function plainKeyOf(physicalKey: Buffer): string | undefined {
  return physicalKey[SPACE_BYTES] === PLAIN ? physicalKey.toString('utf8', SPACE_BYTES + 1) : undefined;
}

/** Where the keys of a namespace lie that may begin with the prefix. */
export function rangesOf(space: Buffer, prefix: string): KeyRange[] {
  const plainPart = Buffer.from(prefix.slice(0, firstLoneSurrogate(prefix)));
  return [
    rangeFrom(Buffer.concat([space, Buffer.of(PLAIN), plainPart])),
    rangeFrom(Buffer.concat([space, Buffer.of(HASHED)])),
  ];
}

/** All keys that begin with these bytes. The kind byte is below 0xff, so there is always a next one. */
function rangeFrom(start: Buffer): KeyRange {
  const end = Buffer.from(start);
  let last = end.length - 1;
  while (end[last] === 0xff) last -= 1;
  end[last] = (end[last] ?? 0) + 1;
  return { start, end: end.subarray(0, last + 1) };
}

function firstLoneSurrogate(text: string): number {
  if (text.isWellFormed()) return text.length;
  const wellFormed = text.toWellFormed();
  let index = 0;
  while (text[index] === wellFormed[index]) index += 1;
  return index;
}

export function sequenceKey(sequence: number): Buffer {
  const key = Buffer.allocUnsafe(SEQUENCE_BYTES);
  key.writeUIntBE(sequence, 0, SEQUENCE_BYTES);
  return key;
}

export const sequenceOf = (key: Buffer): number => key.readUIntBE(0, SEQUENCE_BYTES);

/** Ordered by expiry: of positive doubles, the highest byte first, the bytes compare as the numbers do. */
export function expiryKey({ expiresAt, sequence }: IndexRow): Buffer {
  const key = Buffer.allocUnsafe(8 + SEQUENCE_BYTES);
  key.writeDoubleBE(expiresAt, 0);
  key.writeUIntBE(sequence, 8, SEQUENCE_BYTES);
  return key;
}

export const expiryOf = (expiryKeyBytes: Buffer): number => expiryKeyBytes.readDoubleBE(0);

export function encodeRow({ sequence, expiresAt, bytes }: IndexRow): Buffer {
  const row = Buffer.allocUnsafe(ROW.length);
  row.writeUIntBE(sequence, ROW.sequence, SEQUENCE_BYTES);
  row.writeDoubleBE(expiresAt, ROW.expiresAt);
  row.writeUIntBE(bytes, ROW.bytes, 6);
  return row;
}

/** @throws RangeError if it is too short */
export function decodeRow(row: Buffer): IndexRow {
  return {
    sequence: row.readUIntBE(ROW.sequence, SEQUENCE_BYTES),
    expiresAt: row.readDoubleBE(ROW.expiresAt),
    bytes: row.readUIntBE(ROW.bytes, 6),
  };
}

export function encodeRecord(physicalKey: Buffer, key: string, envelope: Uint8Array): Buffer {
  const fullKey = plainKeyOf(physicalKey) === undefined ? Buffer.from(key, 'utf16le') : Buffer.alloc(0);
  const head = Buffer.allocUnsafe(RECORD_HEAD_BYTES);
  head.writeUInt16BE(physicalKey.length, 0);
  head.writeUInt32BE(fullKey.length, 2);
  return Buffer.concat([head, physicalKey, fullKey, envelope]);
}

/** Of damaged bytes, damaged parts: the envelope's checksum finds out. */
export function decodeRecord(record: Buffer): LogRecord | undefined {
  if (record.length < RECORD_HEAD_BYTES) return undefined;
  const keyStart = RECORD_HEAD_BYTES + record.readUInt16BE(0);
  const envelopeStart = keyStart + record.readUInt32BE(2);
  if (envelopeStart > record.length) return undefined;
  return {
    physicalKey: record.subarray(RECORD_HEAD_BYTES, keyStart),
    key: keyStart === envelopeStart ? undefined : record.toString('utf16le', keyStart, envelopeStart),
    envelope: record.subarray(envelopeStart),
  };
}

/** What an entry takes in the file. */
export function footprint(physicalKey: Buffer, record: Buffer): number {
  const rows = TREE_BYTES + 2 * physicalKey.length;
  if (record.length <= INLINE_BYTES) return rows + record.length;
  return rows + Math.ceil((record.length + PAGE_HEADER_BYTES) / PAGE_BYTES) * PAGE_BYTES;
}

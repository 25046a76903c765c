import { crc32 } from 'node:zlib';
import type { Journal } from '../replication/journal.js';
import type { KeyRange } from './disk-record.js';
import { decodeRecord, encodeRecord, physicalKeyOf, plainKeyOf } from './disk-record.js';
import type { Work } from './page-budget.js';
import { pagesOfValue, sumOf, timesOf } from './page-budget.js';

const CHECKSUM_BYTES = 4;
const PAST_EVERY_KIND = Buffer.of(0xff);

/** Its leaf, and the one beside it, which may take in what is left. */
const REMOVAL: Work = { values: 0, changed: 2, added: 0 };

/** The tree of all journals; `put` and `remove` are called in a transaction, and act at once. */
export interface JournalTree {
  getRange(range: KeyRange): Iterable<{ key: Buffer; value: Buffer }>;
  getBinary(key: Buffer): Buffer | undefined;
  put(key: Buffer, value: Buffer): unknown;
  remove(key: Buffer): unknown;
}

/** The database that the tree is in. */
export interface JournalHost {
  /** @throws StorageClosedError */
  checkOpen(): void;
  /** @throws StorageUnavailableError */
  commit(change: () => void, work: Work): Promise<void>;
  /** A record was damaged. */
  foundCorrupt(): void;
  /** The tree itself was. */
  foundDamage(): void;
}

/**
 * The journal of one namespace, in LMDB beside the entries and committed with them. A record is a CRC-32 of all that
 * follows, then the form of `disk-record.ts`: its place, its id where the place has only the hash, and its bytes.
 */
export class DiskJournal implements Journal {
  constructor(
    private readonly space: Buffer,
    private readonly tree: JournalTree,
    private readonly host: JournalHost,
  ) {}

  /** In one go, so that no transaction is seen in part. Damaged records are counted and removed. */
  async load(): Promise<(readonly [id: string, bytes: Uint8Array])[]> {
    this.host.checkOpen();
    const records: (readonly [string, Uint8Array])[] = [];
    const damaged: Buffer[] = [];
    try {
      for (const { key, value } of this.tree.getRange(this.range)) {
        const record = decodeJournalRecord(key, value);
        if (record === undefined) damaged.push(Buffer.from(key));
        else records.push([record.id, Buffer.from(record.bytes)]);
      }
    } catch {
      this.host.foundDamage();
    }
    if (damaged.length > 0) this.discard(damaged);
    return records;
  }

  async write(records: ReadonlyMap<string, Uint8Array | undefined>): Promise<void> {
    this.host.checkOpen();
    if (records.size === 0) return;
    const changes = Array.from(records, ([id, bytes]) => {
      const key = physicalKeyOf(this.space, id);
      return { key, value: bytes && encodeJournalRecord(key, id, bytes) };
    });
    const work = sumOf(
      changes.map(({ key, value }) => (value === undefined ? REMOVAL : additionOf(key, value))),
    );
    const change = (): void => {
      for (const { key, value } of changes) {
        if (value === undefined) this.tree.remove(key);
        else this.tree.put(key, value);
      }
    };
    await this.host.commit(change, work);
  }

  private get range(): KeyRange {
    return { start: this.space, end: Buffer.concat([this.space, PAST_EVERY_KIND]) };
  }

  /** Nobody waits for it; if it fails, they are found again. */
  private discard(keys: readonly Buffer[]): void {
    for (const _ of keys) this.host.foundCorrupt();
    const change = (): void => {
      for (const key of keys) {
        const value = this.tree.getBinary(key);
        if (value !== undefined && decodeJournalRecord(key, value) === undefined) this.tree.remove(key);
      }
    };
    this.host.commit(change, timesOf(REMOVAL, keys.length)).catch(() => {});
  }
}

function additionOf(key: Buffer, value: Buffer): Work {
  return { values: pagesOfValue(key.length, value.length), changed: 1, added: 1 };
}

export function encodeJournalRecord(physicalKey: Buffer, id: string, bytes: Uint8Array): Buffer {
  const record = encodeRecord(physicalKey, id, bytes);
  const checksum = Buffer.allocUnsafe(CHECKSUM_BYTES);
  checksum.writeUInt32BE(crc32(record));
  return Buffer.concat([checksum, record]);
}

/** Undefined if it is damaged, or another place's. */
export function decodeJournalRecord(
  physicalKey: Buffer,
  bytes: Buffer,
): { id: string; bytes: Buffer } | undefined {
  if (bytes.length < CHECKSUM_BYTES) return undefined;
  const body = bytes.subarray(CHECKSUM_BYTES);
  if (crc32(body) !== bytes.readUInt32BE()) return undefined;
  const record = decodeRecord(body);
  if (record?.physicalKey.equals(physicalKey) !== true) return undefined;
  return { id: plainKeyOf(physicalKey) ?? record.key ?? '', bytes: record.envelope };
}

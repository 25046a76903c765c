import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import type { Database, RootDatabase } from 'lmdb';
import { open } from 'lmdb';
import { EntryTooLargeError, StorageClosedError, StorageUnavailableError } from '../cache.errors.js';
import type { CacheEntry } from './cache-entry.js';
import type { CacheStorage, StorageStats, StoredEntry, WriteOutcome } from './cache-storage.js';
import { DirectoryLock } from './directory-lock.js';
import type { EnvelopeCodec } from './envelope.js';
import { expiryOf } from './envelope.js';

export interface DiskStorageOptions {
  /** A directory of its own for each process; made if it is missing. */
  readonly directory: string;
  /** Bound of all records together. One entry may have a quarter of it. */
  readonly maxBytes: number;
  readonly codec: EnvelopeCodec;
  /** Epoch milliseconds. Default `Date.now`. */
  readonly now?: () => number;
  /** How often what has expired is looked for, in milliseconds. Default 30 000. */
  readonly sweepIntervalMs?: number;
  /** Called when a damaged database was put aside, with where it is now. */
  readonly onCorruptDatabase?: (movedTo: string) => void;
}

/** A record: when it was written, and how many bytes it has. */
interface Placement {
  readonly sequence: number;
  readonly bytes: number;
}

const ENTRY_FRACTION = 4;
/** Eviction goes on to here, so that it does not begin again with the next write. */
const LOW_WATER = 0.9;
const EVICTION_BATCH = 256;
const SWEEP_BATCH = 5_000;

/** A record is: sequence (8 bytes), length of the key (4), the key in UTF-16, the envelope. */
const SEQUENCE_LENGTH = 8;
const KEY_OFFSET = SEQUENCE_LENGTH + 4;
/** An entry of the write order is: length of the record (8), expiry (8), key of the record. */
const ORDER_KEY_OFFSET = 16;
const NAMESPACE_HASH_LENGTH = 16;

/**
 * Entries in LMDB. A write that has resolved is in the operating system's hands: it survives `kill -9` of the process.
 * It is flushed to the medium a moment later; a power cut may take the writes of that moment, and leaves the database
 * sound (LMDB writes pages anew and moves the root last).
 *
 * Bounded first-in-first-out, by an order of writes beside the records: reads then write nothing, and what goes first
 * is what was computed longest ago. Keys lie under their hash, for LMDB's are short; the record has them whole.
 */
export class DiskCacheStorage implements CacheStorage {
  private constructor(
    private readonly database: DiskDatabase,
    private readonly namespaceName = 'default',
  ) {}

  /**
   * Opens or makes the database. A damaged one is put aside, and begun anew: this is a cache.
   * @throws CacheDirectoryLockedError, RangeError
   */
  static async open(options: DiskStorageOptions): Promise<DiskCacheStorage> {
    return new DiskCacheStorage(await DiskDatabase.open(options));
  }

  peek(key: string): StoredEntry | undefined {
    const { database, namespaceName } = this;
    const record = database.read(physicalKey(namespaceName, key));
    if (record === undefined) return undefined;
    const decoded = database.options.codec.decode(envelopeOf(record), { namespace: namespaceName, key });
    if (decoded.kind === 'corrupt') {
      database.discardCorrupt(physicalKey(namespaceName, key));
      return undefined;
    }
    return decoded.entry.expiresAt > database.now() ? { entry: decoded.entry, tier: 'disk' } : undefined;
  }

  async get(key: string): Promise<StoredEntry | undefined> {
    return this.peek(key);
  }

  async getMany(keys: readonly string[]): Promise<(StoredEntry | undefined)[]> {
    return keys.map((key) => this.peek(key));
  }

  async set(key: string, entry: CacheEntry): Promise<WriteOutcome> {
    const { database, namespaceName } = this;
    database.checkOpen();
    const envelope = database.options.codec.encode(entry, { namespace: namespaceName, key });
    const physical = physicalKey(namespaceName, key);
    if (entry.expiresAt <= database.now()) await database.remove(physical);
    else await database.write(physical, key, envelope);
    return 'local';
  }

  async delete(key: string): Promise<boolean> {
    const live = this.peek(key) !== undefined;
    await this.database.remove(physicalKey(this.namespaceName, key));
    return live;
  }

  async clear(): Promise<void> {
    await this.database.removeAll(namespaceHash(this.namespaceName));
  }

  async *keys(prefix = ''): AsyncIterable<string> {
    yield* this.database.liveKeys(namespaceHash(this.namespaceName), prefix);
  }

  async size(): Promise<number> {
    let count = 0;
    for (const _ of this.database.liveKeys(namespaceHash(this.namespaceName), '')) count += 1;
    return count;
  }

  stats(): StorageStats {
    return this.database.stats();
  }

  namespace(name: string): DiskCacheStorage {
    return new DiskCacheStorage(this.database, name);
  }

  close(): Promise<void> {
    return this.database.close();
  }
}

/** Records and their write order, in one LMDB environment that this process alone has open. */
class DiskDatabase {
  readonly now: () => number;
  private readonly records: Database<Buffer, Buffer>;
  private readonly order: Database<Buffer, Buffer>;
  /** Writes that are on their way: LMDB's reads see what is committed. */
  private readonly pending = new Map<string, Placement>();
  private readonly sweeper: NodeJS.Timeout;
  private bytes = 0;
  private entries = 0;
  private lastSequence = 0;
  private sweptTo = 0;
  private evictions = 0;
  private corrupt = 0;
  private evicting: Promise<void> | undefined;
  private closing: Promise<void> | undefined;

  private constructor(
    readonly options: DiskStorageOptions,
    private readonly lock: DirectoryLock,
    private readonly root: RootDatabase,
  ) {
    this.now = options.now ?? Date.now;
    const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
    this.records = root.openDB<Buffer, Buffer>('records', binary);
    this.order = root.openDB<Buffer, Buffer>('order', binary);
    for (const { key, value } of this.order.getRange()) {
      this.bytes += readUint64(value, 0);
      this.entries += 1;
      this.lastSequence = readUint64(key, 0);
    }
    this.sweeper = setInterval(() => void this.sweep().catch(() => {}), options.sweepIntervalMs ?? 30_000);
    this.sweeper.unref();
  }

  static async open(options: DiskStorageOptions): Promise<DiskDatabase> {
    const { directory, maxBytes } = options;
    if (!(Number.isSafeInteger(maxBytes) && maxBytes > 0)) {
      throw new RangeError(`maxBytes must be a positive whole number; got ${maxBytes}.`);
    }
    mkdirSync(directory, { recursive: true });
    const lock = await DirectoryLock.acquire(directory);
    try {
      return new DiskDatabase(options, lock, openEnvironment(directory));
    } catch (error) {
      const path = join(directory, 'data.mdb');
      if (!existsSync(path)) {
        await lock.release();
        throw error;
      }
      const movedTo = `${path}.corrupt-${Date.now()}`;
      renameSync(path, movedTo);
      options.onCorruptDatabase?.(movedTo);
      return new DiskDatabase(options, lock, openEnvironment(directory));
    }
  }

  checkOpen(): void {
    if (this.closing !== undefined) throw new StorageClosedError('disk');
  }

  read(physical: Buffer): Buffer | undefined {
    this.checkOpen();
    try {
      return this.records.getBinary(physical);
    } catch (error) {
      throw unavailable(error);
    }
  }

  async write(physical: Buffer, key: string, envelope: Buffer): Promise<void> {
    const keyBytes = Buffer.from(key, 'utf16le');
    const bytes = KEY_OFFSET + keyBytes.length + envelope.length;
    const limit = Math.floor(this.options.maxBytes / ENTRY_FRACTION);
    if (bytes > limit) throw new EntryTooLargeError(key, bytes, limit);
    this.lastSequence += 1;
    const sequence = this.lastSequence;
    const head = Buffer.allocUnsafe(KEY_OFFSET);
    writeUint64(head, sequence, 0);
    head.writeUInt32BE(keyBytes.length, SEQUENCE_LENGTH);
    const place = Buffer.allocUnsafe(ORDER_KEY_OFFSET);
    writeUint64(place, bytes, 0);
    writeUint64(place, expiryOf(envelope), 8);
    this.forgetPlacement(physical);
    this.bytes += bytes;
    this.entries += 1;
    // Both in one turn of the event loop: lmdb commits them in one transaction.
    const committed = Promise.all([
      this.records.put(physical, Buffer.concat([head, keyBytes, envelope])),
      this.order.put(sequenceKey(sequence), Buffer.concat([place, physical])),
    ]);
    await this.commit(physical, { sequence, bytes }, committed);
    if (this.bytes > this.options.maxBytes) {
      this.evicting ??= this.evict().finally(() => (this.evicting = undefined));
      await this.evicting;
    }
  }

  async remove(physical: Buffer): Promise<void> {
    this.checkOpen();
    if (this.forgetPlacement(physical)) await this.commit(physical, GONE, this.records.remove(physical));
    // Nothing to remove, or somebody is at it: then it is gone with the next commit.
    else await this.records.committed;
  }

  async removeAll(namespace: Buffer): Promise<void> {
    this.checkOpen();
    for (;;) {
      const batch = [...this.records.getKeys({ ...rangeOf(namespace), limit: EVICTION_BATCH })];
      // A key of LMDB's iterator lies in a buffer that is used again.
      const keys = batch.map((key) => Buffer.from(key));
      if (keys.length === 0) return;
      await Promise.all(keys.map((key) => this.remove(key)));
    }
  }

  *liveKeys(namespace: Buffer, prefix: string): Iterable<string> {
    this.checkOpen();
    for (const { value } of this.records.getRange(rangeOf(namespace))) {
      const key = keyOf(value);
      if (key.startsWith(prefix) && expiryOf(envelopeOf(value)) > this.now()) yield key;
    }
  }

  discardCorrupt(physical: Buffer): void {
    this.corrupt += 1;
    this.remove(physical).catch(() => {});
  }

  stats(): StorageStats {
    const { entries, bytes, evictions, corrupt } = this;
    return { kind: 'disk', entries, bytes, maxBytes: this.options.maxBytes, evictions, corrupt };
  }

  close(): Promise<void> {
    this.closing ??= (async () => {
      clearInterval(this.sweeper);
      await this.evicting?.catch(() => {});
      await this.root.close();
      await this.lock.release();
    })();
    return this.closing;
  }

  /** Takes a record out of the order and of the account; false if there is none. Its bytes go with the next commit. */
  private forgetPlacement(physical: Buffer): boolean {
    const placement = this.placementOf(physical);
    if (placement === undefined || placement === GONE) return false;
    this.bytes -= placement.bytes;
    this.entries -= 1;
    this.order.remove(sequenceKey(placement.sequence)).catch(() => {});
    return true;
  }

  private placementOf(physical: Buffer): Placement | undefined {
    const pending = this.pending.get(physical.toString('latin1'));
    if (pending !== undefined) return pending;
    const record = this.read(physical);
    if (record === undefined) return undefined;
    return { sequence: record.length < SEQUENCE_LENGTH ? 0 : readUint64(record, 0), bytes: record.length };
  }

  private async commit(physical: Buffer, placement: Placement, committed: Promise<unknown>): Promise<void> {
    const name = physical.toString('latin1');
    this.pending.set(name, placement);
    try {
      await committed;
    } catch (error) {
      throw unavailable(error);
    } finally {
      if (this.pending.get(name) === placement) this.pending.delete(name);
    }
  }

  /** Removes the oldest until there is room again. */
  private async evict(): Promise<void> {
    while (this.bytes > this.options.maxBytes * LOW_WATER) {
      const oldest = this.placesFrom(0, EVICTION_BATCH);
      if (oldest.length === 0) return;
      const removals: Promise<void>[] = [];
      for (const place of oldest) {
        if (this.bytes <= this.options.maxBytes * LOW_WATER) break;
        if (place.expiresAt > this.now()) this.evictions += 1;
        removals.push(this.removeIfStill(place));
      }
      await Promise.all(removals);
    }
  }

  /** Removes what has expired, a bounded number of places at a time, and goes on from there the next time. */
  async sweep(): Promise<void> {
    const places = this.placesFrom(this.sweptTo, SWEEP_BATCH);
    this.sweptTo = places.length < SWEEP_BATCH ? 0 : (places.at(-1)?.sequence ?? 0) + 1;
    const expired = places.filter(({ expiresAt }) => expiresAt <= this.now());
    await Promise.all(expired.map((place) => this.removeIfStill(place)));
  }

  private placesFrom(
    sequence: number,
    limit: number,
  ): (Placement & { expiresAt: number; physical: Buffer })[] {
    this.checkOpen();
    const range = this.order.getRange({ start: sequenceKey(sequence), limit });
    return [...range].map(({ key, value }) => ({
      sequence: readUint64(key, 0),
      bytes: readUint64(value, 0),
      expiresAt: readUint64(value, 8),
      physical: Buffer.from(value.subarray(ORDER_KEY_OFFSET)),
    }));
  }

  /** The record may have been written again since, and have another place. */
  private async removeIfStill({ sequence, physical }: { sequence: number; physical: Buffer }): Promise<void> {
    if (this.placementOf(physical)?.sequence === sequence) await this.remove(physical);
    else await this.order.remove(sequenceKey(sequence));
  }
}

const GONE: Placement = { sequence: -1, bytes: 0 };

function openEnvironment(directory: string): RootDatabase {
  // Reading keys and records as bytes; caching and versions of the library are not used.
  return open({ path: directory, noSubdir: false, maxDbs: 2, encoding: 'binary', keyEncoding: 'binary' });
}

function namespaceHash(namespace: string): Buffer {
  return createHash('sha256').update(namespace, 'utf16le').digest().subarray(0, NAMESPACE_HASH_LENGTH);
}

function physicalKey(namespace: string, key: string): Buffer {
  return Buffer.concat([namespaceHash(namespace), createHash('sha256').update(key, 'utf16le').digest()]);
}

function rangeOf(namespace: Buffer): { start: Buffer; end: Buffer } {
  return { start: namespace, end: Buffer.concat([namespace, Buffer.alloc(33, 0xff)]) };
}

function keyOf(record: Buffer): string {
  return record.toString('utf16le', KEY_OFFSET, KEY_OFFSET + keyLengthOf(record));
}

function envelopeOf(record: Buffer): Buffer {
  return record.subarray(KEY_OFFSET + keyLengthOf(record));
}

/** Damaged records have any length; what is read of them the envelope's checksum refuses. */
function keyLengthOf(record: Buffer): number {
  return record.length < KEY_OFFSET ? 0 : record.readUInt32BE(SEQUENCE_LENGTH);
}

function sequenceKey(sequence: number): Buffer {
  const key = Buffer.allocUnsafe(SEQUENCE_LENGTH);
  writeUint64(key, sequence, 0);
  return key;
}

/** Milliseconds, bytes and sequences stay below 2^53. */
function writeUint64(buffer: Buffer, value: number, offset: number): void {
  buffer.writeBigUInt64BE(BigInt(value), offset);
}

function readUint64(buffer: Buffer, offset: number): number {
  return Number(buffer.readBigUInt64BE(offset));
}

function unavailable(error: unknown): StorageUnavailableError {
  const reason = error instanceof Error ? error.message : String(error);
  return new StorageUnavailableError('disk', reason, { cause: error });
}

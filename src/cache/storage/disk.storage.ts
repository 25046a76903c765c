import { mkdirSync } from 'node:fs';
import type { Database, RootDatabase } from 'lmdb';
import { open } from 'lmdb';
import {
  CacheError,
  EntryTooLargeError,
  InvalidCacheOptionError,
  StorageClosedError,
  StorageUnavailableError,
} from '../cache.errors.js';
import type { CacheEntry } from './cache-entry.js';
import type { CacheStorage, StorageStats, StoredEntry, WriteOutcome } from './cache-storage.js';
import { DatabaseFile } from './database-file.js';
import { DirectoryLock } from './directory-lock.js';
import type { JournalHost } from './disk-journal.js';
import { decodeJournalRecord, DiskJournal } from './disk-journal.js';
import type { IndexRow, LogRecord } from './disk-record.js';
import {
  decodeRecord,
  decodeRow,
  encodeRecord,
  encodeRow,
  expiryKey,
  expiryOf,
  footprint,
  physicalKeyOf,
  plainKeyOf,
  rangesOf,
  SEQUENCE_BYTES,
  sequenceKey,
  sequenceOf,
  spaceOf,
} from './disk-record.js';
import type { EnvelopeCodec } from './envelope.js';
import { FileRoom } from './file-room.js';
import type { Work } from './page-budget.js';
import { PageCounts, pagesOfValue, sumOf, timesOf } from './page-budget.js';

export interface DiskStorageOptions {
  /** A directory of its own for each process; made if it is missing. */
  readonly directory: string;
  /** Bound of all entries together, in bytes on disk. The file may grow to twice that: see ADR 5. */
  readonly maxBytes: number;
  readonly codec: EnvelopeCodec;
  /** Epoch milliseconds. Default `Date.now`. */
  readonly now?: () => number;
  /** Called when a database that could not be used was put aside, and a new one begun. */
  readonly onCorruptDatabase?: (movedTo: string) => void;
}

/** One entry may take this part of `maxBytes`. */
const LARGEST_PART = 1 / 4;
/** Eviction goes on to here, so that the next write does not begin again. */
const LOW_WATER = 0.9;
const BATCH_OPERATIONS = 1000;
/**
 * Of `maxBytes`: a transaction writes to at most that much more than what LMDB has written before. The part beside it
 * is kept for a disk that is full: pages freed there have to do, but LMDB may want others, and these are at hand.
 */
const BATCH_PART = 1 / 16;
const SPARE_PART = 1 / 16;
const SMALLEST_BATCH = 8 * 2 ** 20;
const SMALLEST_SPARE = 8 * 2 ** 20;
/** For the first transactions of a new database. */
const BEGINNING = 2 ** 20;
/** Looked at with each batch of writes, beside two for each write: whatever expires is gone after that many writes. */
const EXPIRED_PER_BATCH = 64;
const EVICTED_AT_ONCE = 4096;
/** Where the disk is not full, so that eviction rewrites the trees seldom: LMDB takes single pages from the free ones. */
const FREE_COUNTED_ON = 1 / 2;
/** On a full disk a write waits for that many times the pages it may need: the last ones freed are not free yet. */
const FREE_ENOUGH = 2;
/** Of the pages at hand when the disk fills up, what a write leaves to those that matter more. */
const LEFT = { byWritesBeforeEviction: 3 / 4, byLargeEntries: 1 / 2, byJournal: 1 / 4 } as const;
const PAGE = 1000;
const CLEARED_AT_ONCE = 250;
/** An entry dropped: in each of three trees its leaf, and the one beside it, which may take in what is left. */
const DROP: Work = { values: 0, changed: 6, added: 0 };
/** An entry put, and what the key had before dropped: a put where a row was, or at the end, changes that leaf. */
const PUT: Work = { values: 0, changed: 8, added: 3 };
/** A record put at the end, and removed. */
const TOUCH: Work = { values: 0, changed: 2, added: 1 };
const FULL = 'the disk is full';
const NOTHING = Buffer.of(0);
/** A transaction that can't be aborted, which lmdb-js 3.5 needs to close afterwards. */
const SYNCHRONOUS: number = 0;
const TREES = 4;
const BINARY = { encoding: 'binary', keyEncoding: 'binary' } as const;
/**
 * With its defaults, lmdb-js 3.5 leaves rejections unhandled when a commit fails (a full disk), and then never closes.
 * These two make failure orderly; the first also has each commit synced, in the library's thread, before it resolves.
 */
const ENVIRONMENT = {
  ...BINARY,
  overlappingSync: false,
  eventTurnBatching: false,
  noSubdir: false,
  maxDbs: TREES,
} as const;

/**
 * Entries in LMDB. A write that has resolved is synced to the disk: it survives `kill -9` of the process, and a power
 * failure where the disk keeps its word. Bounded by bytes: what has expired gives way, then what was written first; an order of use would
 * make a write of every read. Reads are synchronous, from the memory map; writes are committed together, one
 * transaction for all that came while the one before was under way.
 */
export class DiskCacheStorage implements CacheStorage {
  private readonly space: Buffer;

  private constructor(
    private readonly log: EntryLog,
    private readonly namespaceName = 'default',
  ) {
    this.space = spaceOf(namespaceName);
  }

  /**
   * Opens the database of the directory, or begins one. What can't be used is put aside (see `onCorruptDatabase`).
   * @throws CacheDirectoryLockedError, InvalidCacheOptionError, StorageUnavailableError
   */
  static async open(options: DiskStorageOptions): Promise<DiskCacheStorage> {
    return new DiskCacheStorage(await openLog(options));
  }

  peek(key: string): StoredEntry | undefined {
    const entry = this.log.read({ namespace: this.namespaceName, key }, physicalKeyOf(this.space, key));
    return entry && { entry, tier: 'disk' };
  }

  async get(key: string): Promise<StoredEntry | undefined> {
    return this.peek(key);
  }

  async getMany(keys: readonly string[]): Promise<(StoredEntry | undefined)[]> {
    this.log.checkOpen();
    return keys.map((key) => this.peek(key));
  }

  async set(key: string, entry: CacheEntry): Promise<WriteOutcome> {
    await this.log.store({ namespace: this.namespaceName, key }, physicalKeyOf(this.space, key), entry);
    return 'local';
  }

  async delete(key: string): Promise<boolean> {
    return this.log.remove(physicalKeyOf(this.space, key));
  }

  async clear(): Promise<WriteOutcome> {
    await this.log.clear(this.space);
    return 'local';
  }

  keys(prefix = ''): AsyncIterable<string> {
    return this.log.keys(this.space, prefix);
  }

  async size(): Promise<number> {
    let count = 0;
    for await (const _ of this.keys()) count += 1;
    return count;
  }

  stats(): StorageStats {
    return this.log.stats();
  }

  /** Of this namespace; committed with the entries, but neither evicted nor bounded like them. */
  journal(): DiskJournal {
    return this.log.journal(this.space);
  }

  namespace(name: string): DiskCacheStorage {
    return new DiskCacheStorage(this.log, name);
  }

  close(): Promise<void> {
    return this.log.close();
  }
}

interface EntryAddress {
  readonly namespace: string;
  readonly key: string;
}

interface CommitOptions {
  /** What it adds to the entries. */
  readonly bytes?: number;
  /** An entry: on a full disk, it leaves pages to the others. */
  readonly givesWay?: boolean;
}

/** A change that waits for its transaction. */
interface Operation extends Required<CommitOptions> {
  readonly work: Work;
  readonly apply: () => void;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

/**
 * The database: a log of records by sequence, an index from physical key to place in the log, and the places by
 * expiry. The log is written at its end and evicted at its beginning, so its pages fill and empty as a whole; the
 * index is small, and all that listing and expiring need.
 */
class EntryLog implements JournalHost {
  private readonly records: Database<Buffer, Buffer>;
  private readonly index: Database<Buffer, Buffer>;
  private readonly expiries: Database<Buffer, Buffer>;
  private readonly journals: Database<Buffer, Buffer>;
  private readonly now: () => number;
  private readonly largest: number;
  private readonly trees: readonly Database<Buffer, Buffer>[];
  private readonly batchPages: number;
  private readonly spare: number;
  private readonly queue: Operation[] = [];
  private writing: Promise<void> | undefined;
  private closing: Promise<void> | undefined;
  private freeEnough = FREE_ENOUGH;
  private counted: PageCounts | undefined;
  private uncounted = 0;
  private sequence = 0;
  private entries = 0;
  private bytes = 0;
  private evictions = 0;
  private corrupt = 0;

  constructor(
    private readonly root: RootDatabase<Buffer, Buffer>,
    private readonly options: DiskStorageOptions,
    private readonly file: DatabaseFile,
    private readonly room: FileRoom,
    private readonly lock: DirectoryLock,
  ) {
    this.records = root.openDB<Buffer, Buffer>('records', BINARY);
    this.index = root.openDB<Buffer, Buffer>('index', BINARY);
    this.expiries = root.openDB<Buffer, Buffer>('expiries', BINARY);
    this.journals = root.openDB<Buffer, Buffer>('journals', BINARY);
    this.trees = [this.records, this.index, this.expiries, this.journals];
    this.now = options.now ?? Date.now;
    this.largest = Math.floor(options.maxBytes * LARGEST_PART);
    const { pageSize } = this.counts();
    this.batchPages = Math.max(options.maxBytes * BATCH_PART, SMALLEST_BATCH) / pageSize;
    this.spare = Math.ceil(Math.max(options.maxBytes * SPARE_PART, SMALLEST_SPARE) / pageSize);
    this.count();
  }

  /** Reads all there is, and writes if there is room: what is damaged throws, or kills, now and not later. */
  async verify(): Promise<void> {
    for (const { value } of this.index.getRange()) {
      const record = this.records.getBinary(sequenceKey(decodeRow(value).sequence));
      if (record !== undefined) decodeRecord(record);
    }
    for (const key of this.expiries.getKeys()) expiryOf(key);
    for (const { key, value } of this.journals.getRange()) decodeJournalRecord(key, value);
    if (!(await this.reserve(timesOf(TOUCH, 2)))) return;
    const end = sequenceKey(this.sequence + 1);
    this.root.transactionSync(() => void this.records.put(end, NOTHING), SYNCHRONOUS);
    this.root.transactionSync(() => void this.records.remove(end), SYNCHRONOUS);
  }

  checkOpen(): void {
    if (this.closing !== undefined) throw new StorageClosedError('disk');
  }

  read(address: EntryAddress, physicalKey: Buffer): CacheEntry | undefined {
    this.checkOpen();
    const row = this.rowOf(physicalKey);
    if (row === undefined || row.expiresAt <= this.now()) return undefined;
    const record = this.recordAt(row.sequence);
    const decoded =
      record?.physicalKey.equals(physicalKey) === true
        ? this.options.codec.decode(record.envelope, address)
        : ({ kind: 'corrupt', removable: true } as const);
    if (decoded.kind === 'entry') return decoded.entry.expiresAt > this.now() ? decoded.entry : undefined;
    if (decoded.kind === 'corrupt') {
      this.foundCorrupt();
      if (decoded.removable) this.discard(physicalKey, row.sequence);
    }
    return undefined;
  }

  async store(address: EntryAddress, physicalKey: Buffer, entry: CacheEntry): Promise<void> {
    this.checkOpen();
    const { expiresAt } = entry;
    const envelope = this.options.codec.encode(entry, address);
    const record = encodeRecord(physicalKey, address.key, envelope);
    const bytes = footprint(physicalKey, record);
    if (bytes > this.largest) throw new EntryTooLargeError(address.key, bytes, this.largest);
    const put = (): void => this.put(physicalKey, record, { expiresAt, bytes });
    const work = { ...PUT, values: pagesOfValue(SEQUENCE_BYTES, record.length) };
    await this.commit(put, work, { bytes, givesWay: true });
  }

  /** True if what was removed was live. */
  remove(physicalKey: Buffer): Promise<boolean> {
    this.checkOpen();
    return this.commit(() => {
      const row = this.drop(physicalKey);
      return row !== undefined && row.expiresAt > this.now();
    }, DROP);
  }

  /** What was written before the call; a page in each transaction, for others to come between. */
  async clear(space: Buffer): Promise<void> {
    this.checkOpen();
    let written = Infinity;
    for (const { start, end } of rangesOf(space, '')) {
      let from: Buffer | undefined = start;
      while (from !== undefined) {
        const pageStart: Buffer = from;
        from = await this.commit(
          () => {
            written = Math.min(written, this.sequence);
            const page = this.page(pageStart, end, CLEARED_AT_ONCE);
            for (const { key, row } of page) if (row.sequence <= written) this.drop(key);
            return after(page, CLEARED_AT_ONCE);
          },
          timesOf(DROP, CLEARED_AT_ONCE),
        );
      }
    }
  }

  async *keys(space: Buffer, prefix: string): AsyncIterable<string> {
    for (const { start, end } of rangesOf(space, prefix)) {
      let from: Buffer | undefined = start;
      while (from !== undefined) {
        this.checkOpen();
        const page = this.page(from, end, PAGE);
        for (const { key: physicalKey, row } of page) {
          if (row.expiresAt <= this.now()) continue;
          const key = plainKeyOf(physicalKey) ?? this.recordAt(row.sequence)?.key;
          if (key?.startsWith(prefix) === true) yield key;
        }
        from = after(page, PAGE);
      }
    }
  }

  stats(): StorageStats {
    const { entries, bytes, evictions, corrupt } = this;
    return { kind: 'disk', entries, bytes, maxBytes: this.options.maxBytes, evictions, corrupt };
  }

  journal(space: Buffer): DiskJournal {
    return new DiskJournal(space, this.journals, this);
  }

  foundCorrupt(): void {
    this.corrupt += 1;
  }

  /** What LMDB can't read is missing, and the next process begins anew. */
  foundDamage(): void {
    this.corrupt += 1;
    this.file.note('damaged');
  }

  /** @throws StorageUnavailableError */
  commit<T>(change: () => T, work: Work, { bytes = 0, givesWay = false }: CommitOptions = {}): Promise<T> {
    return new Promise((resolve, reject) => {
      let result: T;
      const apply = (): void => {
        result = change();
      };
      this.queue.push({ work, bytes, givesWay, apply, done: () => resolve(result), failed: reject });
      this.writing ??= this.writeQueued();
    });
  }

  close(): Promise<void> {
    this.closing ??= (async () => {
      await this.writing;
      await this.root.close();
      await this.room.close();
      if (!this.file.damaged) this.file.note('closed');
      this.lock.release();
    })();
    return this.closing;
  }

  /**
   * A range that stays open keeps LMDB from reusing the pages of what is removed meanwhile: so one page at a time.
   * Its keys lie in a buffer that is used again, and are copied as they come.
   */
  private page(start: Buffer, end: Buffer, limit: number): { key: Buffer; row: IndexRow }[] {
    try {
      const range = this.index.getRange({ start, end, limit });
      return Array.from(range.map(({ key, value }) => ({ key: Buffer.from(key), row: decodeRow(value) })));
    } catch {
      this.foundDamage();
      return [];
    }
  }

  private count(): void {
    this.entries = 0;
    this.bytes = 0;
    for (const { value } of this.index.getRange()) {
      this.entries += 1;
      this.bytes += decodeRow(value).bytes;
    }
    for (const key of this.records.getKeys({ reverse: true, limit: 1 })) this.sequence = sequenceOf(key);
  }

  private rowOf(physicalKey: Buffer): IndexRow | undefined {
    const row = this.load(this.index, physicalKey);
    return row && decodeRow(row);
  }

  private recordAt(sequence: number): LogRecord | undefined {
    const record = this.load(this.records, sequenceKey(sequence));
    return record && decodeRecord(record);
  }

  private load(database: Database<Buffer, Buffer>, key: Buffer): Buffer | undefined {
    try {
      return database.getBinary(key);
    } catch {
      this.foundDamage();
      return undefined;
    }
  }

  private put(physicalKey: Buffer, record: Buffer, entry: Omit<IndexRow, 'sequence'>): void {
    this.drop(physicalKey);
    if (entry.expiresAt <= this.now()) return;
    this.sequence += 1;
    const row = { ...entry, sequence: this.sequence };
    void this.records.put(sequenceKey(row.sequence), record);
    void this.index.put(physicalKey, encodeRow(row));
    void this.expiries.put(expiryKey(row), NOTHING);
    this.entries += 1;
    this.bytes += row.bytes;
  }

  /** In a transaction `put` and `remove` act at once; their promises are the transaction's. */
  private drop(physicalKey: Buffer): IndexRow | undefined {
    const row = this.rowOf(physicalKey);
    if (row === undefined) return undefined;
    void this.index.remove(physicalKey);
    void this.records.remove(sequenceKey(row.sequence));
    void this.expiries.remove(expiryKey(row));
    this.entries -= 1;
    this.bytes -= row.bytes;
    return row;
  }

  /** Nobody waits for it; if it fails, the record stays a miss. */
  private discard(physicalKey: Buffer, sequence: number): void {
    this.commit(() => {
      if (this.rowOf(physicalKey)?.sequence === sequence) this.drop(physicalKey);
    }, DROP).catch(() => {});
  }

  private async writeQueued(): Promise<void> {
    // What else this turn of the event loop wants to write.
    await Promise.resolve();
    while (this.queue.length > 0) await this.write(this.nextBatch());
    // In the same breath as the look at the queue: an operation that comes later begins anew.
    this.writing = undefined;
  }

  /** LMDB is never asked to write where there may be no block: see ADR 5. */
  private async write(batch: readonly Operation[]): Promise<void> {
    await settle(batch, async () => {
      const expired = this.oldestExpiry() <= this.now() ? EXPIRED_PER_BATCH + 2 * batch.length : 0;
      const work = sumOf([...batch.map((operation) => operation.work), timesOf(DROP, expired)]);
      if (await this.reserveWithSpare(work)) {
        this.freeEnough = FREE_ENOUGH;
        return this.writeBatch(batch, expired, FREE_COUNTED_ON);
      }
      for (const operation of batch) await settle([operation], () => this.writeOnFullDisk(operation));
    });
  }

  private nextBatch(): Operation[] {
    let pages = 0;
    let count = 0;
    for (const { work } of this.queue) {
      pages += work.values + work.changed + work.added;
      if (count > 0 && (pages > this.batchPages || count === BATCH_OPERATIONS)) break;
      count += 1;
    }
    return this.queue.splice(0, count);
  }

  private async writeBatch(
    batch: readonly Operation[],
    expired: number,
    freeCountedOn: number,
  ): Promise<void> {
    const { maxBytes } = this.options;
    await this.transact(() => {
      for (const { apply } of batch) apply();
      this.removeExpired(expired);
    });
    if (this.bytes <= maxBytes) return;
    const target = maxBytes * LOW_WATER;
    while (this.bytes > target && (await this.evict(target, freeCountedOn)));
  }

  /** As `reserve`, but counts pages now and then only: up to a quarter of what is spare may be had in between. */
  private async reserveWithSpare(work: Work): Promise<boolean> {
    const later = this.counted?.pagesOfLater(work) ?? Infinity;
    if (this.uncounted + later <= this.spare / 4) {
      this.uncounted += later;
      return true;
    }
    const reserved = await this.reserve(work, this.spare);
    if (reserved) {
      this.counted = this.counts();
      this.uncounted = this.counted.pagesOf(work);
    }
    return reserved;
  }

  /** Whether the transaction will find blocks whatever pages it takes, and so many pages are left beside it. */
  private async reserve(work: Work, beside = 0): Promise<boolean> {
    this.counted = undefined;
    const counts = this.counts();
    return this.room.growTo((counts.used + counts.pagesOf(work) + beside) * counts.pageSize);
  }

  private async writeOnFullDisk(operation: Operation): Promise<void> {
    if (!(await this.findRoomFor(operation))) throw new Error(FULL);
    const { used } = this.counts();
    await this.writeBatch([operation], 0, 0);
    // No run of free pages was as long as a value: of twice as many one may be.
    if (this.counts().used > used) this.freeEnough *= 2;
  }

  private async findRoomFor({ work, givesWay }: Operation): Promise<boolean> {
    if (work.added === 0) return this.reserve(work);
    // A disk may be smaller than `maxBytes`.
    const atHand = Math.min(this.spare, this.room.bytes / this.counts().pageSize / 3);
    if (await this.reserve(work, atHand * LEFT.byWritesBeforeEviction)) return true;
    const freed = await this.freePagesFor(work);
    if (givesWay) return freed && this.reserve(work, work.values > 1 ? atHand * LEFT.byLargeEntries : 0);
    return this.reserve(work, freed ? 0 : atHand * LEFT.byJournal);
  }

  /** So that LMDB finds them and need not write beyond them. At the cost of every entry, if need be. */
  private async freePagesFor(work: Work): Promise<boolean> {
    if (this.missingFor(work) <= 0) return true;
    for (let missing = this.missingFor(work); missing > 0; missing = this.missingFor(work)) {
      if (!(await this.evict(Math.max(0, this.bytes - missing), 0))) return false;
    }
    // What a transaction frees, the one after the next can write.
    for (let i = 0; i < 2 && (await this.reserve(TOUCH)); i += 1) await this.transact(() => this.touch());
    return true;
  }

  private missingFor(work: Work): number {
    const counts = this.counts();
    const pages = counts.pagesOf(work);
    const enough = Math.max(pages * FREE_ENOUGH, Math.min(pages * this.freeEnough, counts.used / 4));
    return (enough - counts.free) * counts.pageSize;
  }

  /**
   * A step towards so many bytes: as large as the room at hand allows, for LMDB writes more pages the more it removes.
   * False if there is nothing to remove, or no room to do even that.
   */
  private async evict(target: number, freeCountedOn: number): Promise<boolean> {
    this.counted = undefined;
    const counts = this.counts();
    const atHand = this.room.bytes / counts.pageSize - counts.used + counts.free * freeCountedOn;
    let drops = EVICTED_AT_ONCE;
    while (drops >= 1 && counts.pagesOf(timesOf(DROP, drops)) > atHand) drops = Math.floor(drops * 0.75);
    const before = this.bytes;
    if (drops >= 1) await this.transact(() => this.makeRoom(target, drops - this.removeExpired(drops)));
    return this.bytes < before;
  }

  private counts(): PageCounts {
    return new PageCounts(this.root, this.trees);
  }

  private async transact(change: () => void): Promise<void> {
    const { sequence, entries, bytes, evictions } = this;
    try {
      await this.root.transaction(change);
    } catch (error) {
      // A change that throws does not undo the transaction; a commit that fails does.
      if (!isCommitError(error)) this.count();
      else Object.assign(this, { sequence, entries, bytes, evictions });
      throw await causeOf(error);
    }
  }

  /** Changes nothing, but makes a transaction. */
  private touch(): void {
    const end = sequenceKey(this.sequence + 1);
    void this.records.put(end, NOTHING);
    void this.records.remove(end);
  }

  private oldestExpiry(): number {
    for (const key of this.expiries.getKeys({ limit: 1 })) return expiryOf(key);
    return Infinity;
  }

  /** How many it removed. */
  private removeExpired(limit: number): number {
    const now = this.now();
    const keys = Array.from(this.expiries.getKeys({ limit }).map((key) => Buffer.from(key)));
    const expired = keys.filter((key) => expiryOf(key) <= now);
    for (const key of expired) {
      this.dropPlace(sequenceOf(key.subarray(8)));
      void this.expiries.remove(key);
    }
    return expired.length;
  }

  /** Removes the oldest until no more than `target` bytes are left, or so many are removed. */
  private makeRoom(target: number, limit: number): void {
    const now = this.now();
    const oldest = Array.from(this.records.getKeys({ limit }).map(sequenceOf));
    for (const sequence of oldest) {
      if (this.bytes <= target) return;
      const row = this.dropPlace(sequence);
      if (row !== undefined && row.expiresAt > now) this.evictions += 1;
    }
  }

  /** Removes the record of a place, and its entry unless that has moved on. */
  private dropPlace(sequence: number): IndexRow | undefined {
    const physicalKey = this.recordAt(sequence)?.physicalKey;
    const row = physicalKey && this.rowOf(physicalKey);
    if (physicalKey !== undefined && row?.sequence === sequence) return this.drop(physicalKey);
    void this.records.remove(sequenceKey(sequence));
    return undefined;
  }
}

/** Where the next page begins; undefined after the last one. */
function after(page: readonly { key: Buffer }[], limit: number): Buffer | undefined {
  const last = page.length < limit ? undefined : page.at(-1);
  return last && Buffer.concat([last.key, Buffer.of(0)]);
}

function unavailable(error: unknown): StorageUnavailableError {
  const reason = error instanceof Error ? error.message : String(error);
  return new StorageUnavailableError('disk', reason, { cause: error });
}

/** The library hangs the cause of a failed commit on its error: a promise that rejects, a moment later. */
interface CommitError {
  readonly commitError: Promise<never>;
}

function isCommitError(error: unknown): error is CommitError {
  return error instanceof Error && 'commitError' in error;
}

async function causeOf(error: unknown): Promise<unknown> {
  if (!isCommitError(error)) return error;
  return error.commitError.catch((cause: unknown) => cause);
}

/** An operation that is settled already stays so. */
async function settle(batch: readonly Operation[], write: () => Promise<void>): Promise<void> {
  try {
    await write();
    for (const { done } of batch) done();
  } catch (error) {
    const failure = unavailable(error);
    for (const { failed } of batch) failed(failure);
  }
}

async function openLog(options: DiskStorageOptions): Promise<EntryLog> {
  const { directory, maxBytes, now = Date.now, onCorruptDatabase } = options;
  if (!Number.isSafeInteger(maxBytes) || maxBytes <= 0) {
    throw new InvalidCacheOptionError('maxBytes', 'a positive integer', maxBytes);
  }
  try {
    mkdirSync(directory, { recursive: true });
    const lock = DirectoryLock.acquire(directory);
    try {
      const file = new DatabaseFile(directory);
      const asideOfFile = file.damaged ? file.moveAside(now()) : undefined;
      const { log, aside = asideOfFile } = await openOrBeginAnew(options, file, lock);
      if (aside !== undefined) onCorruptDatabase?.(aside);
      return log;
    } catch (error) {
      lock.release();
      throw error;
    }
  } catch (error) {
    throw error instanceof CacheError ? error : unavailable(error);
  }
}

async function openOrBeginAnew(
  options: DiskStorageOptions,
  file: DatabaseFile,
  lock: DirectoryLock,
): Promise<{ log: EntryLog; aside?: string | undefined }> {
  try {
    return { log: await openGuarded(options, file, lock) };
  } catch (error) {
    const aside = isDamage(error) ? file.moveAside((options.now ?? Date.now)()) : undefined;
    if (aside === undefined) throw error;
    return { log: await openGuarded(options, file, lock), aside };
  }
}

/** Errors of the system, a full disk say, have a positive number or a name as their code: no fault of the file. */
function isDamage(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return typeof code === 'number' ? code < 0 : code === undefined;
}

/** A process that dies in here leaves the note `opening`, and the next one begins anew. */
async function openGuarded(
  options: DiskStorageOptions,
  file: DatabaseFile,
  lock: DirectoryLock,
): Promise<EntryLog> {
  const { closedCleanly } = file;
  file.note('opening');
  let root: RootDatabase<Buffer, Buffer> | undefined;
  let room: FileRoom | undefined;
  try {
    file.fillReaders();
    root = open<Buffer, Buffer>({ ...ENVIRONMENT, path: options.directory });
    room = await FileRoom.open(file.path);
    const { entryCount } = root.getStats() as { entryCount: number };
    if (entryCount < TREES && !(await room.growTo(BEGINNING))) throw unavailable(FULL);
    const log = new EntryLog(root, options, file, room, lock);
    if (!closedCleanly) await log.verify();
    file.note('open');
    return log;
  } catch (error) {
    void root?.close();
    void room?.close();
    if (!isDamage(error)) file.note('open');
    throw error;
  }
}

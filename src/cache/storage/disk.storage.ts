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
  sequenceKey,
  sequenceOf,
  spaceOf,
} from './disk-record.js';
import type { EnvelopeCodec } from './envelope.js';

export interface DiskStorageOptions {
  /** A directory of its own for each process; made if it is missing. */
  readonly directory: string;
  /** Bound of all entries together, in bytes on disk. The file may grow to 1.5 times that. */
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
/** Of `maxBytes`: pages that a transaction frees are written again by the next ones only. */
const BATCH_PART = 1 / 16;
/** Looked at with each batch of writes, beside two for each write: whatever expires is gone after that many writes. */
const EXPIRED_PER_BATCH = 64;
/** Below that, a step of eviction is one entry. */
const SMALLEST_STEP = 256;
const PAGE = 1000;
const NOTHING = Buffer.of(0);
/** A transaction that can't be aborted, which lmdb-js 3.5 needs to close afterwards. */
const SYNCHRONOUS: number = 0;
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
  maxDbs: 4,
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
    return new DiskCacheStorage(openLog(options));
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
  /** What it writes. */
  readonly bytes?: number;
  /** Where the disk is full, it fails so that the others succeed. */
  readonly givesWay?: boolean;
}

/** A change that waits for its transaction. */
interface Operation extends Required<CommitOptions> {
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
  private readonly queue: Operation[] = [];
  private writing: Promise<void> | undefined;
  private closing: Promise<void> | undefined;
  private sequence = 0;
  private entries = 0;
  private bytes = 0;
  private evictions = 0;
  private corrupt = 0;

  constructor(
    private readonly root: RootDatabase<Buffer, Buffer>,
    private readonly options: DiskStorageOptions,
    private readonly file: DatabaseFile,
    private readonly lock: DirectoryLock,
  ) {
    this.records = root.openDB<Buffer, Buffer>('records', BINARY);
    this.index = root.openDB<Buffer, Buffer>('index', BINARY);
    this.expiries = root.openDB<Buffer, Buffer>('expiries', BINARY);
    this.journals = root.openDB<Buffer, Buffer>('journals', BINARY);
    this.now = options.now ?? Date.now;
    this.largest = Math.floor(options.maxBytes * LARGEST_PART);
    this.count();
  }

  /** Reads all there is, and writes: what is damaged throws, or kills, now and not later. */
  verify(): void {
    for (const { value } of this.index.getRange()) {
      const record = this.records.getBinary(sequenceKey(decodeRow(value).sequence));
      if (record !== undefined) decodeRecord(record);
    }
    for (const key of this.expiries.getKeys()) expiryOf(key);
    for (const { key, value } of this.journals.getRange()) decodeJournalRecord(key, value);
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
    await this.commit(put, { bytes: record.length, givesWay: true });
  }

  /** True if what was removed was live. */
  remove(physicalKey: Buffer): Promise<boolean> {
    this.checkOpen();
    return this.commit(() => {
      const row = this.drop(physicalKey);
      return row !== undefined && row.expiresAt > this.now();
    });
  }

  /** What was written before the call; a page in each transaction, for others to come between. */
  async clear(space: Buffer): Promise<void> {
    this.checkOpen();
    let written = Infinity;
    for (const { start, end } of rangesOf(space, '')) {
      let from: Buffer | undefined = start;
      while (from !== undefined) {
        const pageStart: Buffer = from;
        from = await this.commit(() => {
          written = Math.min(written, this.sequence);
          const page = this.page(pageStart, end);
          for (const { key, row } of page) if (row.sequence <= written) this.drop(key);
          return after(page);
        });
      }
    }
  }

  async *keys(space: Buffer, prefix: string): AsyncIterable<string> {
    for (const { start, end } of rangesOf(space, prefix)) {
      let from: Buffer | undefined = start;
      while (from !== undefined) {
        this.checkOpen();
        const page = this.page(from, end);
        for (const { key: physicalKey, row } of page) {
          if (row.expiresAt <= this.now()) continue;
          const key = plainKeyOf(physicalKey) ?? this.recordAt(row.sequence)?.key;
          if (key?.startsWith(prefix) === true) yield key;
        }
        from = after(page);
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
  commit<T>(change: () => T, { bytes = 0, givesWay = false }: CommitOptions = {}): Promise<T> {
    return new Promise((resolve, reject) => {
      let result: T;
      const apply = (): void => {
        result = change();
      };
      this.queue.push({ bytes, givesWay, apply, done: () => resolve(result), failed: reject });
      this.writing ??= this.writeQueued();
    });
  }

  close(): Promise<void> {
    this.closing ??= (async () => {
      await this.writing;
      await this.root.close();
      if (!this.file.damaged) this.file.note('closed');
      this.lock.release();
    })();
    return this.closing;
  }

  /**
   * A range that stays open keeps LMDB from reusing the pages of what is removed meanwhile: so one page at a time.
   * Its keys lie in a buffer that is used again, and are copied as they come.
   */
  private page(start: Buffer, end: Buffer): { key: Buffer; row: IndexRow }[] {
    try {
      const range = this.index.getRange({ start, end, limit: PAGE });
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
    }).catch(() => {});
  }

  private async writeQueued(): Promise<void> {
    // What else this turn of the event loop wants to write.
    await Promise.resolve();
    while (this.queue.length > 0) await this.write(this.nextBatch());
    // In the same breath as the look at the queue: an operation that comes later begins anew.
    this.writing = undefined;
  }

  private async write(batch: readonly Operation[]): Promise<void> {
    try {
      await this.writeMakingRoom(batch, 1);
      for (const { done } of batch) done();
    } catch (error) {
      const entries = batch.filter(({ givesWay }) => givesWay);
      const others = batch.filter(({ givesWay }) => !givesWay);
      fail(entries, error);
      if (others.length > 0) await this.writeAtAnyCost(others);
    }
  }

  /** At the cost of every entry, if need be. */
  private async writeAtAnyCost(batch: readonly Operation[]): Promise<void> {
    try {
      await this.writeMakingRoom(batch, Infinity);
      for (const { done } of batch) done();
    } catch (error) {
      fail(batch, error);
    }
  }

  private nextBatch(): Operation[] {
    let bytes = 0;
    let count = 0;
    for (const operation of this.queue) {
      bytes += operation.bytes;
      if (count > 0 && (bytes > this.options.maxBytes * BATCH_PART || count === BATCH_OPERATIONS)) break;
      count += 1;
    }
    return this.queue.splice(0, count);
  }

  private writeBatch(batch: readonly Operation[]): Promise<void> {
    return this.transact(() => {
      for (const { apply } of batch) apply();
      this.removeExpired(EXPIRED_PER_BATCH + 2 * batch.length);
      if (this.bytes > this.options.maxBytes) this.makeRoom(this.options.maxBytes * LOW_WATER);
    });
  }

  /** Until the batch is written, nothing is left to evict, or this many attempts at eviction were made. */
  private async writeMakingRoom(batch: readonly Operation[], attempts: number): Promise<void> {
    const bytes = batch.reduce((sum, operation) => sum + operation.bytes, 0);
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.writeBatch(batch);
      } catch (error) {
        const before = this.bytes;
        if (attempt <= attempts && !isDamage(error)) {
          await this.evict(Math.max(before * (1 - LOW_WATER), 2 * bytes));
        }
        if (this.bytes === before) throw error;
      }
    }
  }

  /**
   * For a disk that is full: pages within the file have to do, and those that a transaction frees, the one after the
   * next can write. It writes more of them the more it removes, so it goes in steps.
   */
  private async evict(bytes: number): Promise<void> {
    const target = Math.max(0, this.bytes - bytes);
    let step = bytes;
    while (this.bytes > target && step >= SMALLEST_STEP) {
      const goal = Math.max(target, this.bytes - step);
      const removed = await this.transact(() => this.makeRoom(goal)).then(
        () => true,
        () => false,
      );
      if (removed && this.bytes > goal) break;
      step = removed ? step * 2 : step / 4;
    }
    await this.transact(() => this.touch()).catch(() => {});
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

  private removeExpired(limit: number): void {
    const now = this.now();
    const keys = Array.from(this.expiries.getKeys({ limit }).map((key) => Buffer.from(key)));
    for (const key of keys) {
      if (expiryOf(key) > now) return;
      this.dropPlace(sequenceOf(key.subarray(8)));
      void this.expiries.remove(key);
    }
  }

  /** Removes the oldest until no more than `target` bytes are left. */
  private makeRoom(target: number): void {
    const now = this.now();
    while (this.bytes > target) {
      const oldest = Array.from(this.records.getKeys({ limit: 64 }).map(sequenceOf));
      if (oldest.length === 0) return;
      for (const sequence of oldest) {
        if (this.bytes <= target) return;
        const row = this.dropPlace(sequence);
        if (row !== undefined && row.expiresAt > now) this.evictions += 1;
      }
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
function after(page: readonly { key: Buffer }[]): Buffer | undefined {
  const last = page.length < PAGE ? undefined : page.at(-1);
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

function fail(batch: readonly Operation[], error: unknown): void {
  const failure = unavailable(error);
  for (const { failed } of batch) failed(failure);
}

function openLog(options: DiskStorageOptions): EntryLog {
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
      const { log, aside = asideOfFile } = openOrBeginAnew(options, file, lock);
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

function openOrBeginAnew(
  options: DiskStorageOptions,
  file: DatabaseFile,
  lock: DirectoryLock,
): { log: EntryLog; aside?: string | undefined } {
  try {
    return { log: openGuarded(options, file, lock) };
  } catch (error) {
    const aside = isDamage(error) ? file.moveAside((options.now ?? Date.now)()) : undefined;
    if (aside === undefined) throw error;
    return { log: openGuarded(options, file, lock), aside };
  }
}

/** Errors of the system, a full disk say, have a positive number or a name as their code: no fault of the file. */
function isDamage(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return typeof code === 'number' ? code < 0 : code === undefined;
}

/** A process that dies in here leaves the note `opening`, and the next one begins anew. */
function openGuarded(options: DiskStorageOptions, file: DatabaseFile, lock: DirectoryLock): EntryLog {
  const { closedCleanly } = file;
  file.note('opening');
  const root = open<Buffer, Buffer>({ ...ENVIRONMENT, path: options.directory });
  try {
    const log = new EntryLog(root, options, file, lock);
    if (!closedCleanly) log.verify();
    file.note('open');
    return log;
  } catch (error) {
    void root.close();
    if (!isDamage(error)) file.note('open');
    throw error;
  }
}

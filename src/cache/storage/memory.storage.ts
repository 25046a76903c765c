import { LRUCache } from 'lru-cache';
import { EntryTooLargeError, StorageClosedError } from '../cache.errors.js';
import type { CacheEntry } from './cache-entry.js';
import type { CacheStorage, StorageStats, StoredEntry, WriteOutcome } from './cache-storage.js';
import { decodeValue, encodeValue, freezeDeep } from './value-encoding.js';

export interface MemoryStorageOptions {
  /** Bound of all entries together: keys, values as encoded, and overhead. One entry may have a quarter of it. */
  readonly maxBytes: number;
  /** Epoch milliseconds. Default `Date.now`. */
  readonly now?: () => number;
}

/** What an entry costs beside its key and its encoded value: measured at 400 to 600 bytes with Node 24. */
const OVERHEAD_BYTES = 512;
const ENTRY_FRACTION = 4;

/** Either the frozen entry, for all to share; or, for what cannot be frozen, the bytes to make a copy of. */
type Slot =
  | { readonly expiresAt: number; readonly stored: StoredEntry }
  | { readonly expiresAt: number; readonly entry: Omit<CacheEntry, 'value'>; readonly bytes: Buffer };

interface Shared {
  readonly slots: LRUCache<string, Slot>;
  readonly maxBytes: number;
  readonly now: () => number;
  evictions: number;
  closed: boolean;
}

/**
 * Entries in this process, bounded by bytes; the least recently used go first. What is stored is a copy of its own:
 * frozen and shared by all readers, or copied for each where it cannot be frozen.
 */
export class MemoryCacheStorage implements CacheStorage {
  private readonly head: string;

  /** @throws RangeError unless `maxBytes` is a positive whole number */
  constructor(
    private readonly options: MemoryStorageOptions,
    private readonly shared: Shared = createShared(options),
    namespace = 'default',
  ) {
    // The length tells where the namespace ends: `a` with key `b:x` is not `a:b` with key `x`.
    this.head = `${namespace.length}:${namespace}`;
  }

  peek(key: string): StoredEntry | undefined {
    const { shared } = this;
    if (shared.closed) throw new StorageClosedError('memory');
    const slot = shared.slots.get(this.head + key);
    if (slot === undefined) return undefined;
    if (slot.expiresAt <= shared.now()) {
      shared.slots.delete(this.head + key);
      return undefined;
    }
    return 'stored' in slot ? slot.stored : thaw(slot);
  }

  async get(key: string): Promise<StoredEntry | undefined> {
    return this.peek(key);
  }

  async getMany(keys: readonly string[]): Promise<(StoredEntry | undefined)[]> {
    return keys.map((key) => this.peek(key));
  }

  async set(key: string, entry: CacheEntry): Promise<WriteOutcome> {
    const { slots, maxBytes, now, closed } = this.shared;
    if (closed) throw new StorageClosedError('memory');
    const bytes = encodeValue(entry.value);
    const size = bytes.length + 2 * (this.head.length + key.length) + OVERHEAD_BYTES;
    const limit = Math.floor(maxBytes / ENTRY_FRACTION);
    if (size > limit) throw new EntryTooLargeError(key, size, limit);
    if (entry.expiresAt <= now()) slots.delete(this.head + key);
    else slots.set(this.head + key, slotOf(entry, bytes), { size });
    return 'local';
  }

  async delete(key: string): Promise<boolean> {
    const live = this.peek(key) !== undefined;
    this.shared.slots.delete(this.head + key);
    return live;
  }

  async clear(): Promise<void> {
    if (this.shared.closed) throw new StorageClosedError('memory');
    const names = [...this.shared.slots.keys()];
    for (const name of names) {
      if (name.startsWith(this.head)) this.shared.slots.delete(name);
    }
  }

  async *keys(prefix = ''): AsyncIterable<string> {
    yield* this.liveKeys(prefix);
  }

  async size(): Promise<number> {
    return this.liveKeys('').length;
  }

  stats(): StorageStats {
    const { slots, maxBytes, evictions } = this.shared;
    return {
      kind: 'memory',
      entries: slots.size,
      bytes: slots.calculatedSize,
      maxBytes,
      evictions,
      corrupt: 0,
    };
  }

  namespace(name: string): MemoryCacheStorage {
    return new MemoryCacheStorage(this.options, this.shared, name);
  }

  async close(): Promise<void> {
    this.shared.closed = true;
    this.shared.slots.clear();
  }

  private liveKeys(prefix: string): string[] {
    const { slots, now, closed } = this.shared;
    if (closed) throw new StorageClosedError('memory');
    const start = this.head + prefix;
    const live: string[] = [];
    for (const [name, { expiresAt }] of slots.entries()) {
      if (name.startsWith(start) && expiresAt > now()) live.push(name.slice(this.head.length));
    }
    return live;
  }
}

function createShared({ maxBytes, now = Date.now }: MemoryStorageOptions): Shared {
  if (!(Number.isSafeInteger(maxBytes) && maxBytes > 0)) {
    throw new RangeError(`maxBytes must be a positive whole number; got ${maxBytes}.`);
  }
  const shared: Shared = {
    slots: new LRUCache<string, Slot>({
      maxSize: maxBytes,
      dispose: ({ expiresAt }, _, reason) => {
        if (reason === 'evict' && expiresAt > now()) shared.evictions += 1;
      },
    }),
    maxBytes,
    now,
    evictions: 0,
    closed: false,
  };
  return shared;
}

function slotOf(entry: CacheEntry, encoded: Buffer): Slot {
  const { expiresAt } = entry;
  const value = decodeValue(encoded);
  const tags = Object.freeze([...entry.tags]);
  if (freezeDeep(value)) {
    const stored = Object.freeze({
      entry: Object.freeze({ ...entry, value, tags }),
      tier: 'memory' as const,
    });
    return { expiresAt, stored };
  }
  const { value: _, ...rest } = entry;
  // A copy: the encoder's bytes lie in a larger buffer, which they would keep alive.
  return { expiresAt, entry: { ...rest, tags }, bytes: Buffer.from(encoded) };
}

function thaw({ entry, bytes }: Extract<Slot, { bytes: Buffer }>): StoredEntry {
  return { entry: { ...entry, value: decodeValue(bytes) }, tier: 'memory' };
}

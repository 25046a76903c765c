import { LRUCache } from 'lru-cache';
import { EntryTooLargeError, InvalidCacheOptionError, StorageClosedError } from '../cache.errors.js';
import type { CacheEntry } from './cache-entry.js';
import type { CacheStorage, StorageStats, StoredEntry, WriteOutcome } from './cache-storage.js';
import { checkEntry } from './envelope.js';
import type { IsolatedValue } from './value-codec.js';
import { decodeValue, isolate, ValueTooLarge } from './value-codec.js';

export interface MemoryStorageOptions {
  /** Bound of all entries together, in bytes: encoded values, keys, tags and a fixed overhead. */
  readonly maxBytes: number;
  /** Epoch milliseconds. Default `Date.now`. */
  readonly now?: () => number;
}

/** One entry may take this part of `maxBytes`. */
const LARGEST_PART = 1 / 4;

/** What an entry with a small value costs beside its key and its encoded value, measured on Node 24. */
const OVERHEAD_BYTES = 500;

/** `stored` is frozen and shared by all readers; without it, `encoded` makes a value for each of them. */
interface Slot {
  readonly key: string;
  readonly space: Space;
  readonly expiresAt: number;
  readonly stored: StoredEntry | undefined;
  readonly encoded: Buffer | undefined;
  readonly rest: Omit<CacheEntry, 'value'>;
}

/** The slots of one namespace. A map for each spares every read the joining and hashing of a longer name. */
type Space = Map<string, Slot>;

/** What all namespaces of a storage have in common. */
interface Shared {
  readonly spaces: Map<string, Space>;
  /** Only the order of use and the sizes; a slot that leaves it leaves its space. */
  readonly order: LRUCache<Slot, Slot>;
  readonly maxBytes: number;
  readonly now: () => number;
  evictions: number;
  corrupt: number;
  closed: boolean;
}

/**
 * Entries in the memory of this process. Bounded by bytes: the least recently used give way. What is stored is a
 * copy: frozen and shared by all readers where it consists of plain objects, arrays and primitives, else copied for
 * each read. What has expired is removed when it is met, or gives way in its turn.
 */
export class MemoryCacheStorage implements CacheStorage {
  private readonly space: Space;

  /** @throws InvalidCacheOptionError */
  constructor(
    private readonly options: MemoryStorageOptions,
    private readonly shared: Shared = createShared(options),
    namespace = 'default',
  ) {
    const space = shared.spaces.get(namespace) ?? new Map<string, Slot>();
    shared.spaces.set(namespace, space);
    this.space = space;
  }

  peek(key: string): StoredEntry | undefined {
    const { shared } = this;
    if (shared.closed) throw new StorageClosedError('memory');
    const slot = this.space.get(key);
    if (slot === undefined) return undefined;
    if (slot.expiresAt <= shared.now()) {
      shared.order.delete(slot);
      return undefined;
    }
    shared.order.get(slot);
    return slot.stored ?? this.copyOf(slot);
  }

  /** The version of a live entry; no use of it, so it does not change what gives way first. */
  versionOf(key: string): string | undefined {
    this.checkOpen();
    const slot = this.space.get(key);
    return slot === undefined || slot.expiresAt <= this.shared.now() ? undefined : slot.rest.version;
  }

  async get(key: string): Promise<StoredEntry | undefined> {
    return this.peek(key);
  }

  async getMany(keys: readonly string[]): Promise<(StoredEntry | undefined)[]> {
    this.checkOpen();
    return keys.map((key) => this.peek(key));
  }

  async set(key: string, entry: CacheEntry): Promise<WriteOutcome> {
    this.checkOpen();
    checkEntry(entry);
    const { order, maxBytes, now } = this.shared;
    const largest = Math.floor(maxBytes * LARGEST_PART);
    const value = isolateWithin(entry.value, key, largest);
    const size = value.bytes + bytesOfTexts(key, entry.tags) + OVERHEAD_BYTES;
    if (size > largest) throw new EntryTooLargeError(key, size, largest);
    const former = this.space.get(key);
    if (former !== undefined) order.delete(former);
    if (entry.expiresAt > now()) {
      const slot = slotOf(key, this.space, entry, value);
      this.space.set(key, slot);
      order.set(slot, slot, { size });
    }
    return 'local';
  }

  async delete(key: string): Promise<boolean> {
    this.checkOpen();
    const slot = this.space.get(key);
    if (slot === undefined) return false;
    this.shared.order.delete(slot);
    return slot.expiresAt > this.shared.now();
  }

  async clear(): Promise<WriteOutcome> {
    this.checkOpen();
    for (const slot of this.space.values()) this.shared.order.delete(slot);
    return 'local';
  }

  async *keys(prefix = ''): AsyncIterable<string> {
    yield* this.liveKeys(prefix);
  }

  async size(): Promise<number> {
    return this.liveKeys('').length;
  }

  stats(): StorageStats {
    const { order, maxBytes, evictions, corrupt } = this.shared;
    return {
      kind: 'memory',
      entries: order.size,
      bytes: order.calculatedSize,
      maxBytes,
      evictions,
      corrupt,
    };
  }

  namespace(name: string): MemoryCacheStorage {
    return new MemoryCacheStorage(this.options, this.shared, name);
  }

  async close(): Promise<void> {
    this.shared.closed = true;
    this.shared.order.clear();
  }

  private checkOpen(): void {
    if (this.shared.closed) throw new StorageClosedError('memory');
  }

  private liveKeys(prefix: string): string[] {
    this.checkOpen();
    const time = this.shared.now();
    const live: string[] = [];
    for (const { key, expiresAt } of this.space.values()) {
      if (expiresAt > time && key.startsWith(prefix)) live.push(key);
    }
    return live;
  }

  private copyOf({ encoded, rest }: Slot): StoredEntry | undefined {
    const decoded = decodeValue(encoded ?? Buffer.alloc(0));
    if (decoded.kind === 'value') return { entry: { ...rest, value: decoded.value }, tier: 'memory' };
    this.shared.corrupt += 1;
    return undefined;
  }
}

function createShared({ maxBytes, now = Date.now }: MemoryStorageOptions): Shared {
  if (!Number.isSafeInteger(maxBytes) || maxBytes <= 0) {
    throw new InvalidCacheOptionError('maxBytes', 'a positive integer', maxBytes);
  }
  const order = new LRUCache<Slot, Slot>({
    maxSize: maxBytes,
    dispose: (slot, _slot, reason) => {
      slot.space.delete(slot.key);
      if (reason === 'evict' && slot.expiresAt > now()) shared.evictions += 1;
    },
  });
  const shared: Shared = {
    spaces: new Map(),
    order,
    maxBytes,
    now,
    evictions: 0,
    corrupt: 0,
    closed: false,
  };
  return shared;
}

function isolateWithin(value: unknown, key: string, largest: number): IsolatedValue {
  try {
    return isolate(value, largest);
  } catch (error) {
    if (error instanceof ValueTooLarge) throw new EntryTooLargeError(key, error.bytes, largest);
    throw error;
  }
}

function slotOf(key: string, space: Space, entry: CacheEntry, value: IsolatedValue): Slot {
  const { version, createdAt, freshUntil, expiresAt, costMs } = entry;
  const tags = Object.freeze([...entry.tags]);
  const cost = costMs === undefined ? {} : { costMs };
  const rest = { version, createdAt, freshUntil, expiresAt, tags, ...cost };
  if (value.kind === 'copied') {
    return { key, space, expiresAt, stored: undefined, encoded: value.encoded, rest };
  }
  const shared = Object.freeze({ ...rest, value: value.value });
  const stored = Object.freeze({ entry: shared, tier: 'memory' as const });
  return { key, space, expiresAt, stored, encoded: undefined, rest: shared };
}

/** As UTF-16, which is what V8 uses at most. */
function bytesOfTexts(key: string, tags: readonly string[]): number {
  return tags.reduce((total, tag) => total + 2 * tag.length, 2 * key.length);
}

import { StorageUnavailableError } from '../cache.errors.js';
import type { CacheEntry } from './cache-entry.js';
import type { CacheStorage, StorageStats, StoredEntry, WriteOutcome } from './cache-storage.js';

/** The shared half: a storage that knows whether it can be reached. */
export interface SharedStorage extends CacheStorage {
  readonly available: boolean;
  namespace(name: string): SharedStorage;
}

/**
 * A local and a shared storage as one. While Redis answers it decides what is there, because only it has seen the
 * writes and deletes of every instance; what passes by is kept locally. When it does not answer, the local storage
 * serves, and a write says that it landed there only. A fault of Redis never reaches the caller.
 */
export class ReplicatedCacheStorage implements CacheStorage {
  constructor(
    private readonly local: CacheStorage,
    private readonly shared: SharedStorage,
    private readonly counters = { faults: 0 },
  ) {}

  peek(key: string): StoredEntry | undefined {
    return this.shared.available ? undefined : this.local.peek(key);
  }

  async get(key: string): Promise<StoredEntry | undefined> {
    const shared = await this.attempt(() => this.shared.get(key));
    if (shared.kind === 'fault') return this.local.get(key);
    return this.adopt(key, shared.value);
  }

  async getMany(keys: readonly string[]): Promise<(StoredEntry | undefined)[]> {
    const shared = await this.attempt(() => this.shared.getMany(keys));
    if (shared.kind === 'fault') return this.local.getMany(keys);
    return Promise.all(keys.map((key, index) => this.adopt(key, shared.value[index])));
  }

  async set(key: string, entry: CacheEntry): Promise<WriteOutcome> {
    const [shared] = await Promise.all([
      this.attempt(() => this.shared.set(key, entry)),
      this.local.set(key, entry),
    ]);
    return shared.kind === 'answer' ? shared.value : 'local';
  }

  async delete(key: string): Promise<boolean> {
    const [shared, local] = await Promise.all([
      this.attempt(() => this.shared.delete(key)),
      this.local.delete(key),
    ]);
    return shared.kind === 'answer' ? shared.value || local : local;
  }

  async clear(): Promise<void> {
    await Promise.all([this.attempt(() => this.shared.clear()), this.local.clear()]);
  }

  async *keys(prefix = ''): AsyncIterable<string> {
    const seen = new Set<string>();
    const shared = this.shared.keys(prefix)[Symbol.asyncIterator]();
    for (;;) {
      const step = await this.attempt(() => shared.next());
      if (step.kind === 'fault') break;
      if (step.value.done === true) return;
      seen.add(step.value.value);
      yield step.value.value;
    }
    for await (const key of this.local.keys(prefix)) {
      if (!seen.has(key)) yield key;
    }
  }

  async size(): Promise<number> {
    const shared = await this.attempt(() => this.shared.size());
    return shared.kind === 'answer' ? shared.value : this.local.size();
  }

  stats(): StorageStats {
    const parts = [this.local.stats(), this.shared.stats()];
    const sum = (count: (part: StorageStats) => number): number =>
      parts.reduce((total, part) => total + count(part), 0);
    return {
      kind: 'replicated',
      evictions: sum((part) => part.evictions),
      corrupt: sum((part) => part.corrupt),
      faults: this.counters.faults,
      parts,
    };
  }

  namespace(name: string): ReplicatedCacheStorage {
    return new ReplicatedCacheStorage(this.local.namespace(name), this.shared.namespace(name), this.counters);
  }

  async close(): Promise<void> {
    await Promise.all([this.local.close(), this.shared.close()]);
  }

  /** Keeps the local copy in step with what the shared storage says, and shares the local copy's object. */
  private async adopt(key: string, found: StoredEntry | undefined): Promise<StoredEntry | undefined> {
    const copy = this.local.peek(key);
    if (found === undefined) {
      if (copy !== undefined) await this.local.delete(key);
      return undefined;
    }
    if (copy?.entry.version === found.entry.version) return { entry: copy.entry, tier: found.tier };
    await this.local.set(key, found.entry);
    return found;
  }

  private async attempt<T>(call: () => Promise<T>): Promise<Attempt<T>> {
    try {
      return { kind: 'answer', value: await call() };
    } catch (error) {
      if (!(error instanceof StorageUnavailableError)) throw error;
      this.counters.faults += 1;
      return { kind: 'fault' };
    }
  }
}

type Attempt<T> = { readonly kind: 'answer'; readonly value: T } | { readonly kind: 'fault' };

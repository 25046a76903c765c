import type { Journal } from '../../src/cache/replication/journal.js';
import type { LocalStore } from '../../src/cache/replication/local-copy.js';
import type { CacheEntry } from '../../src/cache/storage/cache-entry.js';
import type { Random } from './random.js';
import type { Scheduler } from './scheduler.js';

/** What survives the process: only what was committed. */
export class ModelDisk {
  readonly entries = new Map<string, CacheEntry>();
  readonly records = new Map<string, Uint8Array>();
}

type Commit = (change: () => void) => Promise<void>;

/** One process's hands on a disk: writes are committed in the order of their calls, until the process dies. */
export class DiskWriter {
  private lastMs = 0;
  private dead = false;

  constructor(
    private readonly scheduler: Scheduler,
    private readonly random: Random,
  ) {}

  readonly commit: Commit = (change) =>
    new Promise((resolve) => {
      this.lastMs = Math.max(this.lastMs, this.scheduler.nowMs + this.random.next() * 4);
      this.scheduler.after(this.lastMs - this.scheduler.nowMs, () => {
        if (this.dead) return;
        change();
        resolve();
      });
    });

  die(): void {
    this.dead = true;
  }
}

/** The local storage of one instance. Never returns what has expired. */
abstract class ModelLocalStore implements LocalStore {
  constructor(
    protected readonly entries: Map<string, CacheEntry>,
    private readonly now: () => number,
  ) {}

  abstract set(key: string, entry: CacheEntry): Promise<void>;
  abstract delete(key: string): Promise<void>;
  abstract clear(): Promise<void>;

  peek(key: string): { readonly entry: CacheEntry } | undefined {
    const entry = this.entries.get(key);
    return entry === undefined || entry.expiresAt <= this.now() ? undefined : { entry };
  }

  get(key: string): Promise<{ readonly entry: CacheEntry } | undefined> {
    return Promise.resolve(this.peek(key));
  }

  async *keys(prefix = ''): AsyncIterable<string> {
    for (const key of this.entries.keys()) {
      if (key.startsWith(prefix) && this.peek(key) !== undefined) yield key;
    }
  }
}

/** It writes within the call. */
export class ModelMemoryStore extends ModelLocalStore {
  versionOf(key: string): string | undefined {
    return this.peek(key)?.entry.version;
  }

  override set(key: string, entry: CacheEntry): Promise<void> {
    this.entries.set(key, entry);
    return Promise.resolve();
  }

  override delete(key: string): Promise<void> {
    this.entries.delete(key);
    return Promise.resolve();
  }

  override clear(): Promise<void> {
    this.entries.clear();
    return Promise.resolve();
  }
}

/** What it writes is there when it has been committed. */
export class ModelDiskStore extends ModelLocalStore {
  constructor(
    entries: Map<string, CacheEntry>,
    private readonly commit: Commit,
    now: () => number,
  ) {
    super(entries, now);
  }

  override set(key: string, entry: CacheEntry): Promise<void> {
    return this.commit(() => void this.entries.set(key, entry));
  }

  override delete(key: string): Promise<void> {
    return this.commit(() => void this.entries.delete(key));
  }

  override clear(): Promise<void> {
    return this.commit(() => this.entries.clear());
  }
}

export class ModelJournal implements Journal {
  constructor(
    private readonly records: Map<string, Uint8Array>,
    private readonly commit: Commit,
  ) {}

  load(): Promise<readonly (readonly [string, Uint8Array])[]> {
    return Promise.resolve([...this.records]);
  }

  write(changes: ReadonlyMap<string, Uint8Array | undefined>): Promise<void> {
    return this.commit(() => {
      for (const [id, bytes] of changes) {
        if (bytes === undefined) this.records.delete(id);
        else this.records.set(id, bytes);
      }
    });
  }
}

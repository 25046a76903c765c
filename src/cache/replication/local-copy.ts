import type { CacheEntry } from '../storage/cache-entry.js';

/** What this instance has of its own: any storage of the instance. */
export interface LocalStore {
  /** At once; undefined for what it can't answer at once. */
  peek(key: string): { readonly entry: CacheEntry } | undefined;
  /**
   * The version of what is stored. Only a storage that answers and writes at once, within the call, has this: then the
   * value is the caller's as long as the call lasts, and his alone.
   */
  versionOf?(key: string): string | undefined;
  get(key: string): Promise<{ readonly entry: CacheEntry } | undefined>;
  set(key: string, entry: CacheEntry): Promise<unknown>;
  delete(key: string): Promise<unknown>;
  clear(): Promise<unknown>;
  keys(prefix?: string): AsyncIterable<string>;
}

interface Write {
  readonly version: string;
  /** Made for each reader anew: the writer may still hold, and change, what he gave. */
  readonly entry: () => CacheEntry | undefined;
  readonly done: Promise<void>;
}

/**
 * The local storage, with newest-wins writes. A storage may take its time to write (a disk commits in batches); what
 * is on its way counts at once, and the writes of one key take place one after the other.
 */
export class LocalCopy {
  private readonly writing = new Map<string, Write>();

  constructor(
    private readonly store: LocalStore,
    /** What can't have been stamped by a clock that is right; it counts as absent. */
    private readonly isImpossible: (version: string) => boolean = () => false,
    /** Whether something newer is known of the key, though it is not stored: a delete. */
    private readonly isBeaten: (key: string, version: string) => boolean = () => false,
  ) {}

  /** Whether a write is done when `put` returns. */
  get writesAtOnce(): boolean {
    return this.store.versionOf !== undefined;
  }

  peek(key: string): CacheEntry | undefined {
    const write = this.writing.get(key);
    return write === undefined ? this.store.peek(key)?.entry : write.entry();
  }

  async get(key: string): Promise<CacheEntry | undefined> {
    const write = this.writing.get(key);
    return write === undefined ? (await this.store.get(key))?.entry : write.entry();
  }

  /**
   * Stores an entry, or for undefined removes what is as old as `version` or older. What is newer stays; of the same
   * version, the removal wins.
   */
  put(key: string, version: string, entry: () => CacheEntry | undefined): Promise<void> {
    if (this.store.versionOf !== undefined) {
      return this.isNewer(this.store.versionOf(key), version)
        ? Promise.resolve()
        : this.save(key, this.isBeaten(key, version) ? undefined : entry());
    }
    const former = this.writing.get(key);
    if (former !== undefined && former.version > version) return former.done;
    return this.begin(key, version, entry, former, async () => {
      if (this.isNewer((await this.store.get(key))?.entry.version, version)) return;
      await this.save(key, this.isBeaten(key, version) ? undefined : entry());
    });
  }

  /** Stores an entry in place of exactly that version: the same value, stamped anew. */
  replace(key: string, version: string, entry: CacheEntry): Promise<void> {
    const former = this.writing.get(key);
    return this.begin(
      key,
      entry.version,
      () => entry,
      former,
      async () => {
        const current = (await this.store.get(key))?.entry.version ?? version;
        if (current === version) await this.save(key, entry);
      },
    );
  }

  clear(): Promise<unknown> {
    return this.store.clear();
  }

  keys(prefix = ''): AsyncIterable<string> {
    return this.store.keys(prefix);
  }

  private begin(
    key: string,
    version: string,
    entry: Write['entry'],
    former: Write | undefined,
    write: () => Promise<void>,
  ): Promise<void> {
    // What became of the former write its own caller learns.
    const done = (former?.done ?? Promise.resolve()).catch(() => {}).then(write);
    const current: Write = { version, entry, done };
    this.writing.set(key, current);
    const forget = (): void => {
      if (this.writing.get(key) === current) this.writing.delete(key);
    };
    done.then(forget, forget);
    return done;
  }

  private isNewer(current: string | undefined, version: string): boolean {
    return current !== undefined && current > version && !this.isImpossible(current);
  }

  private async save(key: string, entry: CacheEntry | undefined): Promise<void> {
    if (entry === undefined) await this.store.delete(key);
    else await this.store.set(key, entry);
  }
}

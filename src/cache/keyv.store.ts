import type { Cache } from './cache.js';

/** An entry of `setMany`; `ttl` as in `set`. */
export interface KeyvStoreEntry {
  readonly key: string;
  readonly value: unknown;
  readonly ttl?: number | undefined;
}

/** Entries that the iterator reads at once. */
const BATCH = 100;

/**
 * A `Cache` as the store of a Keyv, and so of `cache-manager` and `@nestjs/cache-manager`; one store for each Keyv. It
 * is an adapter as Keyv 5 wants it, with relative times, which Keyv 6 bridges. Every method is an `async function`,
 * because Keyv 6 takes others for those of a synchronous Map.
 *
 * Whatever Keyv hands over is stored as it is: the text that Keyv made of value and expiry, or, where it was given no
 * serializer, both as an object, which keeps the types of the value (Date, Map, BigInt) and is frozen.
 *
 * What fails rejects, and Keyv tells its `error` listeners; a fault of Redis is none.
 */
export class KeyvStore {
  /** Keyv 5 iterates only over stores that name one of the kinds that it knows. */
  readonly opts: Record<string, unknown> = { dialect: 'redis', url: '' };
  /**
   * Set by Keyv 5, which begins the keys with it; here it only bounds `clear`. Declared, not defined: Keyv 6 would leave
   * the names of the keys to a store that has the property.
   */
  declare namespace?: string;

  constructor(private readonly cache: Cache) {}

  async get<T>(key: string): Promise<T | undefined> {
    return this.cache.get<T>(key);
  }

  /** In the order of `keys`, in one round trip. */
  async getMany<T>(keys: string[]): Promise<(T | undefined)[]> {
    return this.cache.getMany<T>(keys);
  }

  /**
   * `ttl` in milliseconds. Without one, or with 0, which to Keyv is none: the `ttlMs` of the cache. Longer than the cache
   * keeps anything: as long as that. Negative: gone at once.
   * @throws CacheError
   */
  async set(key: string, value: unknown, ttl?: number): Promise<boolean> {
    const tags = this.namespace === undefined ? [] : [tagOf(this.namespace)];
    await this.cache.set(key, value, { ...this.lifeOf(ttl), staleMs: 0, tags });
    return true;
  }

  /** Each as `set`; rejects if one of them fails, and the others are stored. */
  async setMany(entries: readonly KeyvStoreEntry[]): Promise<undefined> {
    await Promise.all(entries.map(({ key, value, ttl }) => this.set(key, value, ttl)));
    // Keyv 5 declares that it wants nothing, and hands it to its caller as what became of each entry.
    return entries.map(() => true) as unknown as undefined;
  }

  /** Whether there was one. */
  async delete(key: string): Promise<boolean> {
    return (await this.cache.delete(key)).existed;
  }

  /** Whether all of them were there. */
  async deleteMany(keys: string[]): Promise<boolean> {
    const existed = await Promise.all(keys.map((key) => this.delete(key)));
    return existed.every(Boolean);
  }

  async has(key: string): Promise<boolean> {
    return (await this.hasMany([key]))[0] === true;
  }

  async hasMany(keys: string[]): Promise<boolean[]> {
    return (await this.cache.inspect(keys)).map((stored) => stored !== undefined);
  }

  /** Everything that was stored with the namespace that Keyv set, or all that the cache has; in one step. */
  async clear(): Promise<void> {
    if (this.namespace === undefined) await this.cache.clear();
    else await this.cache.invalidateTags([tagOf(this.namespace)]);
  }

  /** Keys, as they are stored, and values: of a namespace those that begin with it. In no order, and no snapshot. */
  async *iterator<T>(namespace?: string): AsyncGenerator<[string, T | undefined], void> {
    let keys: string[] = [];
    for await (const key of this.cache.keys(namespace === undefined ? '' : `${namespace}:`)) {
      if (keys.push(key) < BATCH) continue;
      yield* this.pairs<T>(keys);
      keys = [];
    }
    yield* this.pairs<T>(keys);
  }

  /** For the listeners that Keyv adds; there is nothing to listen to. */
  on(_event: string, _listener: (...args: never[]) => void): this {
    return this;
  }

  /** Nothing is closed: the storage is that of `CacheModule`, which closes it with the application. */
  async disconnect(): Promise<void> {}

  private async *pairs<T>(keys: readonly string[]): AsyncGenerator<[string, T | undefined], void> {
    const found = await this.cache.inspect<T>(keys);
    for (const [index, key] of keys.entries()) {
      const stored = found[index];
      if (stored !== undefined) yield [key, stored.entry.value];
    }
  }

  private lifeOf(ttl: number | undefined): { ttlMs?: number } {
    if (ttl === undefined || ttl === 0) return {};
    return { ttlMs: Math.min(Math.max(0, Math.ceil(ttl)), this.cache.maxLifeMs) };
  }
}

/** By which `clear` finds what Keyv stored with a namespace, on all instances and also while Redis is away. */
const tagOf = (namespace: string): string => `keyv:${namespace}`;

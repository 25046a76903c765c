import type { RedisConnection } from '../redis/connection.js';
import { Keyspace } from '../redis/keyspace.js';
import type { CacheEntry } from './cache-entry.js';
import type { CacheStorage, StorageStats, StoredEntry, WriteOutcome } from './cache-storage.js';
import type { EnvelopeCodec } from './envelope.js';

const SCAN_COUNT = 500;

export interface RedisStorageOptions {
  readonly connection: RedisConnection;
  readonly codec: EnvelopeCodec;
  readonly namespace?: string;
  readonly now?: () => number;
}

/**
 * Entries as one Redis string each (see `envelope.ts`), expired by Redis at their absolute time (`PXAT`, so that a
 * command which waited in a stopped server does not lengthen a life). Only keys of its own namespace are ever
 * touched, by `SCAN` and `UNLINK`. Every call throws StorageUnavailableError while Redis is away.
 */
export class RedisCacheStorage implements CacheStorage {
  private readonly connection: RedisConnection;
  private readonly codec: EnvelopeCodec;
  private readonly namespaceName: string;
  private readonly now: () => number;
  private readonly keyspace: Keyspace;
  private readonly counters: { corrupt: number };

  constructor(
    private readonly options: RedisStorageOptions,
    counters = { corrupt: 0 },
  ) {
    const { connection, codec, namespace = 'default', now = Date.now } = options;
    this.connection = connection;
    this.codec = codec;
    this.namespaceName = namespace;
    this.now = now;
    this.keyspace = new Keyspace(connection.settings.keyPrefix, namespace);
    this.counters = counters;
  }

  get available(): boolean {
    return this.connection.available;
  }

  peek(): undefined {
    return undefined;
  }

  async get(key: string): Promise<StoredEntry | undefined> {
    const bytes = await this.connection.run((client) => client.getBuffer(this.keyspace.physical(key)));
    return this.decode(key, bytes);
  }

  async getMany(keys: readonly string[]): Promise<(StoredEntry | undefined)[]> {
    if (keys.length === 0) return [];
    const physical = keys.map((key) => this.keyspace.physical(key));
    const replies = await this.connection.run((client) => client.mgetBuffer(physical));
    return keys.map((key, index) => this.decode(key, replies[index] ?? null));
  }

  async set(key: string, entry: CacheEntry): Promise<WriteOutcome> {
    const bytes = this.codec.encode(entry, { namespace: this.namespaceName, key });
    const physical = this.keyspace.physical(key);
    await this.connection.run<unknown>((client) =>
      entry.expiresAt <= this.now()
        ? client.unlink(physical)
        : client.set(physical, bytes, 'PXAT', Math.ceil(entry.expiresAt)),
    );
    return 'redis';
  }

  async delete(key: string): Promise<boolean> {
    const removed = await this.connection.run((client) => client.unlink(this.keyspace.physical(key)));
    return removed > 0;
  }

  async clear(): Promise<void> {
    for await (const page of this.scan('')) {
      if (page.length > 0) await this.connection.run((client) => client.unlink(page));
    }
  }

  async *keys(prefix = ''): AsyncIterable<string> {
    // SCAN may return a key more than once (redis.io/docs/latest/commands/scan, "Scan guarantees").
    const seen = new Set<string>();
    for await (const page of this.scan(prefix)) {
      for (const physical of page) {
        if (seen.has(physical)) continue;
        seen.add(physical);
        yield this.keyspace.logical(physical);
      }
    }
  }

  async size(): Promise<number> {
    let count = 0;
    for await (const _ of this.keys()) count += 1;
    return count;
  }

  stats(): StorageStats {
    return { kind: 'redis', evictions: 0, corrupt: this.counters.corrupt };
  }

  namespace(name: string): RedisCacheStorage {
    return new RedisCacheStorage({ ...this.options, namespace: name }, this.counters);
  }

  close(): Promise<void> {
    return this.connection.close();
  }

  private async *scan(prefix: string): AsyncIterable<string[]> {
    const pattern = this.keyspace.pattern(prefix);
    let cursor = '0';
    do {
      const [next, page] = await this.connection.run((client) =>
        client.scan(cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT),
      );
      cursor = next;
      yield page;
    } while (cursor !== '0');
  }

  private decode(key: string, bytes: Buffer | null): StoredEntry | undefined {
    if (bytes === null) return undefined;
    const decoded = this.codec.decode(bytes, { namespace: this.namespaceName, key });
    if (decoded.kind === 'corrupt') this.counters.corrupt += 1;
    if (decoded.kind !== 'entry' || decoded.entry.expiresAt <= this.now()) return undefined;
    return { entry: decoded.entry, tier: 'redis' };
  }
}

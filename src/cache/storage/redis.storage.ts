import { StorageClosedError, StorageUnavailableError } from '../cache.errors.js';
import type { RedisLink } from '../redis/link.js';
import { RedisRemote } from '../redis/redis-remote.js';
import { servedOf } from '../replication/live-keys.js';
import { Marks } from '../replication/marks.js';
import type { Mutation } from '../replication/mutation.js';
import { tombstoneOf } from '../replication/outbox.js';
import type { ApplyOutcome, MarksState } from '../replication/remote.js';
import { MAX_TAG_MARKS, WEEK_MS } from '../replication/replica.js';
import type { CacheEntry } from './cache-entry.js';
import type { CacheStorage, StorageStats, StoredEntry, WriteOutcome } from './cache-storage.js';
import { NamespaceCodec } from './entry-codec.js';
import type { EnvelopeCodec } from './envelope.js';

export interface RedisStorageOptions {
  readonly connection: RedisLink;
  readonly codec: EnvelopeCodec;
  readonly namespace?: string;
  /** The same for all who share the Redis. Default a week. */
  readonly maxLifeMs?: number;
  readonly now?: () => number;
}

/**
 * Redis alone, without a copy here: every call throws StorageUnavailableError while it is away. It shares its entries
 * with replicated storages: the newest version wins, and a delete or clear is of what is there at that moment. Expiries
 * are absolute (`PXAT`), so that a command which waited in a stopped server does not lengthen a life. Only keys of its
 * own namespace are ever touched, by `SCAN`, `UNLINK` and scripts.
 */
export class RedisCacheStorage implements CacheStorage {
  private readonly remote: RedisRemote;
  private readonly codec: NamespaceCodec;
  private readonly now: () => number;
  private readonly marks = new Marks(MAX_TAG_MARKS);
  private marksState: MarksState | undefined;

  constructor(private readonly options: RedisStorageOptions) {
    const { connection, codec, namespace = 'default', maxLifeMs = WEEK_MS, now = Date.now } = options;
    this.remote = new RedisRemote({ connection, namespace, maxLifeMs });
    this.codec = new NamespaceCodec(codec, namespace);
    this.now = now;
  }

  peek(): undefined {
    return undefined;
  }

  async get(key: string): Promise<StoredEntry | undefined> {
    return (await this.getMany([key]))[0];
  }

  async getMany(keys: readonly string[]): Promise<(StoredEntry | undefined)[]> {
    if (this.options.connection.state === 'closed') throw new StorageClosedError('redis');
    if (keys.length === 0) return [];
    const { values, marks } = await this.remote.read(keys);
    await this.follow(marks);
    return keys.map((key, index) => this.stored(key, values[index]?.bytes));
  }

  async set(key: string, entry: CacheEntry): Promise<WriteOutcome> {
    const bytes = this.codec.encode(key, entry);
    const { version, expiresAt } = entry;
    const [outcome] = await this.apply([{ key, version, bytes, expiresAt }]);
    return outcome?.kind === 'applied' ? 'redis' : 'superseded';
  }

  async delete(key: string): Promise<boolean> {
    const { values } = await this.remote.read([key]);
    const version = values[0]?.version;
    if (version === undefined) return false;
    const [outcome] = await this.apply([tombstoneOf({ key, version })]);
    return outcome?.kind === 'applied' && outcome.existed;
  }

  async clear(): Promise<WriteOutcome> {
    for await (const page of this.remote.keys('')) {
      if (page.length > 0) await this.apply(page.map(tombstoneOf));
    }
    return 'redis';
  }

  async *keys(prefix = ''): AsyncIterable<string> {
    await this.follow((await this.remote.read([])).marks);
    const { marks, codec, now } = this;
    for await (const page of this.remote.keys(prefix)) {
      yield* await servedOf(this.remote, page, { marks, codec, nowMs: now(), known: () => '' });
    }
  }

  async size(): Promise<number> {
    let count = 0;
    for await (const _ of this.keys()) count += 1;
    return count;
  }

  stats(): StorageStats {
    return { kind: 'redis', evictions: 0, corrupt: this.codec.corrupt };
  }

  namespace(name: string): RedisCacheStorage {
    return new RedisCacheStorage({ ...this.options, namespace: name });
  }

  close(): Promise<void> {
    return this.options.connection.close();
  }

  /** What others have cleared or invalidated. */
  private async follow(state: MarksState | undefined): Promise<void> {
    const { incarnation, revision } = this.marksState ?? {};
    if (state === undefined || (state.incarnation === incarnation && state.revision === revision)) return;
    const answer = await this.remote.exchangeMarks(new Map(), state.incarnation);
    this.marks.merge(answer.marks);
    this.marksState = answer;
  }

  /** @throws StorageUnavailableError also where Redis answered with an error */
  private async apply(mutations: readonly Mutation[]): Promise<ApplyOutcome[]> {
    const outcomes = await this.remote.apply(mutations, { live: false });
    for (const outcome of outcomes) {
      if (outcome.kind === 'refused') throw new StorageUnavailableError('redis', outcome.reason);
    }
    return outcomes;
  }

  private stored(key: string, bytes: Uint8Array | undefined): StoredEntry | undefined {
    const entry = bytes && this.codec.decode(key, bytes);
    if (entry === undefined || entry.expiresAt <= this.now() || this.marks.hides(entry)) return undefined;
    return { entry, tier: 'redis' };
  }
}

import type { Redis } from 'ioredis';
import { Keyspace } from '../../src/cache/redis/keyspace.js';
import type { CacheEntry } from '../../src/cache/storage/cache-entry.js';
import { EnvelopeCodec } from '../../src/cache/storage/envelope.js';

export const KEY_PREFIX = 'athena:';
export const NAMESPACE = 'default';

const PAGE = 500;

/** What lies in Redis, read past the cache: the values, without those that the marks hide. */
export class RedisView {
  private readonly keyspace = new Keyspace(KEY_PREFIX, NAMESPACE);
  private readonly codec = new EnvelopeCodec();

  constructor(private readonly client: Redis) {}

  /** Names of the values, in the order of `keys`. */
  async values(keys: readonly string[]): Promise<(string | undefined)[]> {
    const marks = await this.client.hgetall(this.keyspace.marks);
    const values: (string | undefined)[] = [];
    for (let at = 0; at < keys.length; at += PAGE) {
      const page = keys.slice(at, at + PAGE);
      const found = await this.client.mgetBuffer(page.map((key) => this.keyspace.physical(key)));
      values.push(...page.map((key, n) => this.valueOf(key, found[n] ?? null, marks)));
    }
    return values;
  }

  /** How many of the keys Redis remembers, as deleted or otherwise. */
  async guards(keys: readonly string[]): Promise<number> {
    const guards = keys.map((key) => this.keyspace.all(key)[1]);
    let count = 0;
    for (let at = 0; at < guards.length; at += PAGE)
      count += await this.client.exists(guards.slice(at, at + PAGE));
    return count;
  }

  private valueOf(
    key: string,
    bytes: Buffer | null,
    marks: Readonly<Record<string, string>>,
  ): string | undefined {
    if (bytes === null) return undefined;
    const decoded = this.codec.decode(bytes, { namespace: NAMESPACE, key });
    if (decoded.kind === 'corrupt') return `corrupt: ${decoded.reason}`;
    if (decoded.kind !== 'entry' || isHidden(decoded.entry, marks)) return undefined;
    return (decoded.entry.value as { id: string }).id;
  }
}

function isHidden({ version, tags }: CacheEntry, marks: Readonly<Record<string, string>>): boolean {
  const names = tags.length > 0 ? ['clear', 'floor', ...tags.map((tag) => `tag:${tag}`)] : ['clear'];
  return names.some((name) => version <= (marks[name] ?? ''));
}

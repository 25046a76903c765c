import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import type { CacheModuleOptions } from '../../src/cache/cache.options.js';
import { RedisServer } from '../support/redis-server.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { AppInstance } from './app-instance.js';
import { KEY_PREFIX, RedisView } from './redis-view.js';

export const COMMAND_TIMEOUT_MS = 250;
export const USER = { name: 'athena', password: 'right' };

const MERGE_LIMIT_MS = 20_000;
const MIB = 1024 * 1024;
/** Two hold their entries in memory; one, the last, on disk. */
const LOCALS = ['memory', 'memory', 'disk'] as const;

export interface ClusterOptions {
  /** Environment of Redis. */
  readonly redisVariables?: Readonly<Record<string, string>>;
}

interface InstanceStats {
  readonly connection: string;
  readonly cache: unknown;
}

/** One Redis, three instances, and a proxy between each of them and Redis. */
export class Cluster {
  readonly view: RedisView;
  private probes = 0;

  private constructor(
    readonly redis: RedisServer,
    /** Of the test itself; not through a proxy. */
    readonly admin: Redis,
    readonly proxies: readonly TcpProxy[],
    readonly instances: readonly AppInstance[],
    private readonly directory: string,
  ) {
    this.view = new RedisView(admin);
  }

  static async start({ redisVariables = {} }: ClusterOptions = {}): Promise<Cluster> {
    const user = ['--user', USER.name, 'on', `>${USER.password}`, '~*', '&*', '+@all'];
    const redis = await RedisServer.start(['--appendfsync', 'everysec', ...user], redisVariables);
    const directory = await mkdtemp(join(tmpdir(), 'athena-chaos-'));
    const proxies = await Promise.all(LOCALS.map(() => TcpProxy.start(redis.port)));
    const instances = proxies.map(
      ({ port }, index) => new AppInstance(index, instanceOptions(index, port, directory)),
    );
    const admin = new Redis({ port: redis.port, retryStrategy: () => 20, maxRetriesPerRequest: null });
    admin.on('error', () => {});
    const cluster = new Cluster(redis, admin, proxies, instances, directory);
    try {
      await Promise.all(instances.map((instance) => instance.start()));
      await cluster.merged();
      return cluster;
    } catch (error) {
      await cluster.close();
      throw error;
    }
  }

  get disk(): AppInstance {
    return this.instance(LOCALS.indexOf('disk'));
  }

  instance(index: number): AppInstance {
    const instance = this.instances[index];
    if (instance === undefined) throw new RangeError(`There is no instance ${index}.`);
    return instance;
  }

  proxy(index: number): TcpProxy {
    const proxy = this.proxies[index];
    if (proxy === undefined) throw new RangeError(`There is no proxy ${index}.`);
    return proxy;
  }

  /** Waits until every instance is connected, has nothing left to send or offer, and sees what the others write. */
  async merged(): Promise<void> {
    const deadline = AbortSignal.timeout(MERGE_LIMIT_MS);
    for (;;) {
      await Promise.all(this.instances.map((instance) => within(deadline, 'connect', connected(instance))));
      await Promise.all(this.instances.map((instance) => within(deadline, 'merge', instance.ask('idle'))));
      const stats = await this.stats();
      if (stats.every(isMerged) && (await this.isShared())) return;
      if (deadline.aborted) throw new Error(`The merge does not end: ${JSON.stringify(stats)}`);
      // What Redis refuses is tried again by the instance's own heartbeat, of which nobody is told.
      await pause(20);
    }
  }

  private async isShared(): Promise<boolean> {
    const id = String((this.probes += 1));
    const seen = this.instances.map(async (instance) => {
      const key = `probe:${instance.index}`;
      await instance.ask('set', { key, id, size: 0, ttlMs: 60_000, tags: [] });
      return Promise.all(this.instances.map(async (other) => (await other.ask('get', { key })) === id));
    });
    return (await Promise.all(seen)).flat().every(Boolean);
  }

  stats(): Promise<InstanceStats[]> {
    return Promise.all(this.instances.map((instance) => instance.ask<InstanceStats>('stats')));
  }

  async close(): Promise<void> {
    await Promise.all(this.instances.map((instance) => instance.close()));
    this.admin.disconnect();
    await Promise.all(this.proxies.map((proxy) => proxy.close()));
    await this.redis.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}

function instanceOptions(index: number, port: number, directory: string): CacheModuleOptions {
  const local = LOCALS[index] ?? 'memory';
  return {
    local,
    directory: join(directory, String(index)),
    memoryMaxBytes: 256 * MIB,
    outboxMaxBytes: 256 * MIB,
    redis: {
      mode: 'standalone',
      host: '127.0.0.1',
      port,
      // One instance has a name and password of its own, so that both ways to be refused are seen.
      ...(local === 'disk' ? { username: USER.name, password: USER.password } : {}),
      db: 0,
      tls: false,
      keyPrefix: KEY_PREFIX,
      commandTimeoutMs: COMMAND_TIMEOUT_MS,
      connectTimeoutMs: 2000,
    },
  };
}

export async function connected(instance: AppInstance): Promise<void> {
  for (;;) {
    const ready = instance.event('redis.ready', 'redis.responsive');
    const { connection } = await instance.ask<InstanceStats>('stats');
    if (connection === 'ready') {
      ready.catch(() => {});
      return;
    }
    await ready;
  }
}

const isMerged = ({ connection, cache }: InstanceStats): boolean =>
  connection === 'ready' && isOnline(cache) && pendingOf(cache) === 0;

/** Unless the statistics say anywhere that the replica is not `online` yet. */
function isOnline(stats: unknown): boolean {
  if (typeof stats !== 'object' || stats === null) return true;
  return Object.entries(stats).every(([name, value]) =>
    name === 'online' ? value === true : isOnline(value),
  );
}

/** The sum of everything that is called `pending` in the statistics. */
export function pendingOf(stats: unknown): number {
  if (typeof stats !== 'object' || stats === null) return 0;
  return Object.entries(stats).reduce(
    (sum, [name, value]) =>
      sum + (name === 'pending' && typeof value === 'number' ? value : pendingOf(value)),
    0,
  );
}

function within<T>(deadline: AbortSignal, what: string, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = (): void => reject(new Error(`It did not ${what} within ${MERGE_LIMIT_MS} ms.`));
    if (deadline.aborted) late();
    deadline.addEventListener('abort', late, { once: true });
    work.then(resolve, reject).finally(() => deadline.removeEventListener('abort', late));
  });
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

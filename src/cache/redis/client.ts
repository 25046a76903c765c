import type { RedisOptions } from 'ioredis';
import { Redis } from 'ioredis';

/** Where Redis is and how long it may take. */
export interface RedisSettings {
  readonly mode: 'standalone' | 'sentinel' | 'cluster';
  /** The sentinels, or some of the nodes of the cluster; instead of url, host and port. */
  readonly nodes?: readonly RedisAddress[] | undefined;
  /** For `sentinel`. */
  readonly sentinel?: SentinelSettings | undefined;
  /** `redis://` or `rediss://`; replaces host, port, username, password, db and tls. */
  readonly url?: string | undefined;
  readonly host: string;
  readonly port: number;
  /** Of every Redis server; sentinels have their own. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** 0 in a cluster. */
  readonly db: number;
  /** For sentinels too. */
  readonly tls: boolean;
  /** Begins every key, e.g. `athena:`. */
  readonly keyPrefix: string;
  /** How long one call may wait for Redis. */
  readonly commandTimeoutMs: number;
  readonly connectTimeoutMs: number;
}

export interface RedisAddress {
  readonly host: string;
  readonly port: number;
}

export interface SentinelSettings {
  /** Under which the sentinels watch the master. */
  readonly name: string;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

type ClientOptions = Omit<RedisOptions, 'replyMapping'>;

const RETRY_FIRST_MS = 50;
const RETRY_MAX_MS = 2000;

/**
 * Full-jitter exponential backoff without end ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015):
 * instances that lost Redis together do not come back together.
 */
export function retryDelayMs(attempt: number, random: () => number): number {
  const ceiling = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(attempt, 10));
  return Math.round(ceiling / 2 + (random() * ceiling) / 2);
}

export const addressOf = ({ host, port }: RedisAddress): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;

/**
 * The one place that knows how a client of one server is made: the server itself, or whichever the sentinels call the
 * master. It never queues while it is away and never resends on its own (a resent command may overtake a newer one):
 * what to do about a failed command is the storage's decision.
 */
export function createRedisClient(
  settings: RedisSettings,
  random: () => number,
  { protocol }: Pick<RedisOptions, 'protocol'> = {},
): Redis {
  const { connectTimeoutMs } = settings;
  const retryStrategy = (attempt: number): number => retryDelayMs(attempt, random);
  const options: ClientOptions = {
    ...whereabouts(settings, retryStrategy),
    ...(protocol === undefined ? {} : { protocol }),
    connectionName: 'athena',
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    connectTimeout: connectTimeoutMs,
    // After a disconnect of our own there is nothing to wait for.
    disconnectTimeout: 100,
    // Bounds the handshake, which has no caller; calls have the tighter budget of `RedisConnection.run`.
    commandTimeout: Math.max(connectTimeoutMs, settings.commandTimeoutMs * 2),
    retryStrategy,
  };
  return new LastingClient(options, () => retryStrategy(1));
}

/**
 * Only `disconnect` ends it. Of itself a client of ioredis 6.0 ends for good when the sentinels tell of a failover while
 * it asks them for the master: its `FailoverDetector` breaks the attempt off, and nobody begins another.
 */
class LastingClient extends Redis {
  private isGivenUp = false;

  constructor(options: ClientOptions, revivalDelayMs: () => number) {
    super(options);
    this.on('end', () => {
      if (!this.isGivenUp) setTimeout(() => this.revive(), revivalDelayMs());
    });
  }

  override disconnect(reconnect = false): void {
    if (!reconnect) this.isGivenUp = true;
    super.disconnect(reconnect);
  }

  private revive(): void {
    if (!this.isGivenUp && this.status === 'end') this.connect().catch(() => {});
  }
}

/** Its number: that of the URL, where the URL counts. */
export function databaseOf({ mode, sentinel, url, db }: RedisSettings): number {
  if (mode === 'cluster') return 0;
  const parsed = url === undefined || (mode === 'sentinel' && sentinel !== undefined) ? null : URL.parse(url);
  return parsed === null ? db : Number(parsed.pathname.slice(1));
}

function whereabouts(settings: RedisSettings, retryStrategy: (attempt: number) => number): ClientOptions {
  const { url, nodes = [], sentinel } = settings;
  if (settings.mode === 'sentinel' && sentinel !== undefined) {
    return {
      ...identity(settings),
      sentinels: [...nodes],
      name: sentinel.name,
      ...(sentinel.username ? { sentinelUsername: sentinel.username } : {}),
      ...(sentinel.password ? { sentinelPassword: sentinel.password } : {}),
      ...(settings.tls ? { enableTLSForSentinelMode: true, sentinelTLS: {} } : {}),
      sentinelRetryStrategy: retryStrategy,
      sentinelReconnectStrategy: retryStrategy,
      sentinelCommandTimeout: settings.connectTimeoutMs,
      // They tell of a failover before the old master's socket does: a stopped server closes nothing
      // (redis.io/docs/latest/develop/reference/sentinel-clients, "Sentinel failover disconnection").
      failoverDetector: true,
    };
  }
  const parsed = url === undefined ? undefined : URL.parse(url);
  if (!parsed) return { host: settings.host, port: settings.port, ...identity(settings) };
  return {
    host: parsed.hostname.replace(/^\[|\]$/g, ''),
    port: parsed.port === '' ? 6379 : Number(parsed.port),
    ...identity({
      username: decodeURIComponent(parsed.username),
      password: decodeURIComponent(parsed.password),
      db: databaseOf(settings),
      tls: parsed.protocol === 'rediss:',
    }),
  };
}

function identity({
  username,
  password,
  db,
  tls,
}: Pick<RedisSettings, 'username' | 'password' | 'db' | 'tls'>): ClientOptions {
  return {
    ...(username ? { username } : {}),
    ...(password ? { password } : {}),
    ...(tls ? { tls: {} } : {}),
    db,
  };
}

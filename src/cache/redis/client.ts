import { Redis } from 'ioredis';

/** Where Redis is and how long it may take. */
export interface RedisSettings {
  readonly mode: 'standalone';
  /** `redis://` or `rediss://`; replaces host, port, username, password, db and tls. */
  readonly url?: string | undefined;
  readonly host: string;
  readonly port: number;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly db: number;
  readonly tls: boolean;
  /** Begins every key, e.g. `athena:`. */
  readonly keyPrefix: string;
  /** How long one call may wait for Redis. */
  readonly commandTimeoutMs: number;
  readonly connectTimeoutMs: number;
}

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

/**
 * The one place that knows how a client is made. It never queues while it is away and never resends on its own
 * (a resent command may overtake a newer one): what to do about a failed command is the storage's decision.
 */
export function createRedisClient(settings: RedisSettings, random: () => number): Redis {
  const { url, connectTimeoutMs } = settings;
  const parsed = url === undefined ? undefined : URL.parse(url);
  const address = parsed
    ? {
        host: parsed.hostname.replace(/^\[|\]$/g, ''),
        port: parsed.port === '' ? 6379 : Number(parsed.port),
        username: decodeURIComponent(parsed.username),
        password: decodeURIComponent(parsed.password),
        db: Number(parsed.pathname.slice(1)),
        tls: parsed.protocol === 'rediss:',
      }
    : settings;
  return new Redis({
    host: address.host,
    port: address.port,
    ...(address.username ? { username: address.username } : {}),
    ...(address.password ? { password: address.password } : {}),
    ...(address.tls ? { tls: {} } : {}),
    db: address.db,
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
    retryStrategy: (attempt) => retryDelayMs(attempt, random),
  });
}

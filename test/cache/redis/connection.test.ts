import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { StorageClosedError, StorageUnavailableError } from '../../../src/cache/cache.errors.js';
import type { RedisSettings } from '../../../src/cache/redis/client.js';
import { createRedisClient, retryDelayMs } from '../../../src/cache/redis/client.js';
import type { RedisEvent } from '../../../src/cache/redis/link.js';
import { RedisConnection } from '../../../src/cache/redis/connection.js';
import { RedisServer } from '../../support/redis-server.js';
import { TcpProxy } from '../../support/tcp-proxy.js';

const COMMAND_TIMEOUT_MS = 100;

function settingsFor(port: number, changes: Partial<RedisSettings> = {}): RedisSettings {
  return {
    mode: 'standalone',
    host: '127.0.0.1',
    port,
    db: 0,
    tls: false,
    keyPrefix: 'test:',
    commandTimeoutMs: COMMAND_TIMEOUT_MS,
    connectTimeoutMs: 300,
    ...changes,
  };
}

/** A connection that tells what it reports, and closes with the test. */
class Watched {
  static readonly open: Watched[] = [];
  readonly events: RedisEvent[] = [];
  readonly connection: RedisConnection;
  private wake = Promise.withResolvers<void>();

  constructor(settings: RedisSettings) {
    this.connection = new RedisConnection(settings, {
      onEvent: (event) => {
        this.events.push(event);
        this.wake.resolve();
        this.wake = Promise.withResolvers<void>();
      },
    });
    Watched.open.push(this);
  }

  get types(): string[] {
    return this.events.map(({ type }) => type);
  }

  /** Waits for an event of the type among those after the first `from`. */
  async event(type: RedisEvent['type'], from = 0): Promise<RedisEvent> {
    for (;;) {
      const found = this.events.slice(from).find((event) => event.type === type);
      if (found !== undefined) return found;
      await this.wake.promise;
    }
  }
}

const servers: RedisServer[] = [];
async function startServer(args?: string[]): Promise<RedisServer> {
  const server = await RedisServer.start(args);
  servers.push(server);
  return server;
}

const proxies: TcpProxy[] = [];
async function startProxy(port: number): Promise<TcpProxy> {
  const proxy = await TcpProxy.start(port);
  proxies.push(proxy);
  return proxy;
}

afterEach(async () => {
  await Promise.all(Watched.open.splice(0).map(({ connection }) => connection.close()));
  await Promise.all(proxies.splice(0).map((proxy) => proxy.close()));
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

interface Outcome {
  readonly ms: number;
  /** Before the event loop came round again, however long that takes on a busy machine. */
  readonly atOnce: boolean;
  readonly error: unknown;
}

async function timed(call: () => Promise<unknown>): Promise<Outcome> {
  const begun = performance.now();
  let atOnce = true;
  setImmediate(() => (atOnce = false));
  const error = await call().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return { ms: performance.now() - begun, atOnce, error };
}

/** One call after the other, for so long. */
async function outcomesFor(forMs: number, call: () => Promise<unknown>): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const begun = performance.now(); performance.now() - begun < forMs; await sleep(5)) {
    outcomes.push(await timed(call));
  }
  return outcomes;
}

describe('RedisConnection', () => {
  it('connects, answers, and inspects the server', async () => {
    const server = await startServer(['--maxmemory', '64mb', '--maxmemory-policy', 'allkeys-lru']);
    const { connection, events, event } = bound(new Watched(settingsFor(server.port)));
    await event('ready');
    expect(connection.available).toBe(true);
    expect(await connection.run((client) => client.ping())).toBe('PONG');
    expect(await connection.inspect()).toMatchObject({
      maxMemoryBytes: 64 * 2 ** 20,
      evictionPolicy: 'allkeys-lru',
    });
    expect(events.map(({ type }) => type)).toEqual(['connect', 'ready']);
  });

  it('fails at once while nothing listens, reports it once, and connects when something does', async () => {
    const server = await RedisServer.absent();
    servers.push(server);
    const watched = new Watched(settingsFor(server.port));
    await watched.connection.settled(1000);
    const { atOnce, error } = await timed(() => watched.connection.run((client) => client.ping()));
    expect(error).toBeInstanceOf(StorageUnavailableError);
    expect(atOnce).toBe(true);
    await server.up();
    const ready = await watched.event('ready');
    expect(ready).toMatchObject({ type: 'ready', attempts: expect.any(Number) });
    expect(watched.types.filter((type) => type === 'error')).toHaveLength(1);
    expect(watched.types.filter((type) => type === 'reconnecting')).toHaveLength(1);
  });

  it('survives kill -9 and comes back, one line per change', async () => {
    const server = await startServer();
    const watched = new Watched(settingsFor(server.port));
    await watched.event('ready');
    await server.kill();
    await watched.event('close');
    expect(watched.connection.available).toBe(false);
    const from = watched.events.length;
    await server.up();
    await watched.event('ready', from);
    expect(await watched.connection.run((client) => client.ping())).toBe('PONG');
    expect(watched.types.filter((type) => type === 'close')).toHaveLength(1);
  });

  it('waits one time-out for a stopped server, then nothing; and finds it when it goes on', async () => {
    const server = await startServer();
    const watched = new Watched(settingsFor(server.port));
    await watched.event('ready');
    server.freeze();
    const first = await Promise.all(
      Array.from({ length: 20 }, () => timed(() => watched.connection.run((client) => client.get('key')))),
    );
    for (const { ms, error } of first) {
      expect(error).toBeInstanceOf(StorageUnavailableError);
      expect(ms).toBeLessThan(COMMAND_TIMEOUT_MS + 100);
    }
    const second = await timed(() => watched.connection.run((client) => client.get('key')));
    expect(second.error).toBeInstanceOf(StorageUnavailableError);
    expect(second.atOnce).toBe(true);
    expect(watched.connection.state).toBe('unresponsive');
    server.thaw();
    await Promise.race([watched.event('responsive'), watched.event('close')]);
    expect(watched.types.filter((type) => type === 'unresponsive')).toHaveLength(1);
  });

  it('gives up a socket that stays silent, and reports each kind of error once', async () => {
    const server = await startServer();
    const watched = new Watched(settingsFor(server.port));
    await watched.event('ready');
    server.freeze();
    await timed(() => watched.connection.run((client) => client.ping()));
    await watched.event('reconnecting');
    const from = watched.events.length;
    server.thaw();
    await watched.event('ready', from);
    expect(await watched.connection.run((client) => client.ping())).toBe('PONG');
  });

  it('does not take a reply that came too late for an answer in time, and keeps the socket that gave it', async () => {
    const server = await startServer();
    const proxy = await startProxy(server.port);
    const watched = new Watched(settingsFor(proxy.port));
    await watched.event('ready');
    // There and back take 180 ms: each reply comes, and none in time.
    proxy.delay(90);
    await timed(() => watched.connection.run((client) => client.ping()));
    const calls = await outcomesFor(3000, () => watched.connection.run((client) => client.ping()));
    expect(calls.filter(({ atOnce }) => !atOnce)).toEqual([]);
    expect(watched.types).toEqual(['connect', 'ready', 'unresponsive']);
    await proxy.pass();
    await watched.event('responsive');
    expect(await watched.connection.run((client) => client.ping())).toBe('PONG');
  });

  it('lets few calls wait, and says little, while commands take too long and a PING does not', async () => {
    const server = await startServer();
    const watched = new Watched(settingsFor(server.port));
    await watched.event('ready');
    // Without replicas WAIT takes all of its time, and the PING behind it half of what it may.
    const slow = () => watched.connection.run((client) => client.wait(1, COMMAND_TIMEOUT_MS * 1.5));
    const calls = await outcomesFor(4000, slow);
    // A reply that comes late is in time where the event loop was later still.
    const waited = calls.filter(({ atOnce, error }) => !atOnce && error !== undefined);
    expect(waited.length).toBeGreaterThan(1);
    // Of pauses from 50 ms to 1 s, each twice the last, more do not fit.
    expect(waited.length).toBeLessThanOrEqual(8);
    expect(watched.types.filter((type) => type === 'unresponsive')).toHaveLength(waited.length);
    if (!watched.connection.available) await watched.event('responsive', watched.events.length);
    expect(await watched.connection.run((client) => client.ping())).toBe('PONG');
  });

  it('takes a reply that is there over a time-out, after the event loop was blocked', async () => {
    const server = await startServer();
    const watched = new Watched(settingsFor(server.port));
    await watched.event('ready');
    const reply = watched.connection.run((client) => client.ping());
    // Long enough that the timer is due before the socket is read again.
    setImmediate(() => {
      const until = performance.now() + COMMAND_TIMEOUT_MS * 2;
      while (performance.now() < until);
    });
    expect(await reply).toBe('PONG');
    expect(watched.types).not.toContain('unresponsive');
  });

  it('says what an error reply says, without the command that it carried', async () => {
    const server = await startServer();
    const watched = new Watched(settingsFor(server.port));
    await watched.event('ready');
    const { error } = await timed(() =>
      watched.connection.run((client) =>
        client.eval('return redis.error_reply("OOM full")', 0, 'hidden-value'),
      ),
    );
    expect(error).toBeInstanceOf(StorageUnavailableError);
    expect((error as Error).message).toContain('OOM full');
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('hidden-value');
    expect((error as Error).cause).not.toHaveProperty('command');
  });

  it('keeps trying with a wrong password, and never shows it', async () => {
    const server = await startServer(['--requirepass', 'right-password']);
    const watched = new Watched(settingsFor(server.port, { password: 'wrong-password' }));
    const event = await watched.event('error');
    expect(event).toMatchObject({ message: expect.stringContaining('WRONGPASS') });
    expect(watched.connection.available).toBe(false);
    expect(JSON.stringify(watched.events)).not.toContain('wrong-password');
  });

  it('refuses calls after close, and closes again in peace', async () => {
    const server = await startServer();
    const watched = new Watched(settingsFor(server.port));
    await watched.event('ready');
    await watched.connection.close();
    await watched.connection.close();
    await expect(watched.connection.run((client) => client.ping())).rejects.toThrow(StorageClosedError);
  });

  it('closes while it is trying to connect to somebody who never speaks', async () => {
    const silent = createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { connection } = new Watched(settingsFor((silent.address() as AddressInfo).port));
    await connection.settled(10);
    await connection.close();
    silent.close();
  });
});

describe('createRedisClient', () => {
  it('reads a URL, percent-encoded credentials included', () => {
    const url = 'rediss://us%40er:p%3Aw@[::1]:7000/3';
    const { options } = createRedisClient(settingsFor(1, { url }), Math.random);
    expect(options).toMatchObject({
      host: '::1',
      port: 7000,
      username: 'us@er',
      password: 'p:w',
      db: 3,
      tls: {},
    });
  });
});

describe('retryDelayMs', () => {
  it('grows to two seconds, spreads over half of its range, and has no end', () => {
    expect([1, 2, 5, 100, 1e6].map((attempt) => retryDelayMs(attempt, () => 1))).toEqual([
      100, 200, 1600, 2000, 2000,
    ]);
    expect(retryDelayMs(100, () => 0)).toBe(1000);
  });
});

function bound(watched: Watched) {
  return { ...watched, event: watched.event.bind(watched) };
}

import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import type { InvalidationEvent } from '../../../src/cache/redis/invalidation.js';
import { InvalidationChannel } from '../../../src/cache/redis/invalidation.js';
import type { ReplicatedCacheStorage } from '../../../src/cache/storage/replicated.storage.js';
import { isArmed, settingsOf, startArmedStorage } from '../../support/armed-storage.js';
import {
  asked,
  delaysMs,
  draft,
  killChannels,
  known,
  staleIn,
  until,
  valueOf,
} from '../../support/coherence.js';
import { ownRedis } from '../../support/own-redis.js';
import { TcpProxy } from '../../support/tcp-proxy.js';

const HEARTBEAT_MS = 200;
const TIMEOUT_MS = 200;

const redis = ownRedis();
const { open } = redis;

async function start(): Promise<ReplicatedCacheStorage> {
  const storage = await startArmedStorage(redis.server.port, {
    heartbeatMs: HEARTBEAT_MS,
    timeoutMs: TIMEOUT_MS,
  });
  open.push(storage);
  return storage;
}

describe('a storage that Redis tells of changes', () => {
  it('serves from its memory without asking, until another writes, deletes, clears or invalidates', async () => {
    const [a, b] = [await start(), await start()];
    await a.write('key', draft(1, ['tag']));
    expect(await valueOf(b, 'key')).toBe(1);
    await known(b, 'key');
    expect(
      await asked(redis.raw, () => Promise.all(Array.from({ length: 50 }, () => valueOf(b, 'key')))),
    ).toBe(0);
    expect(b.peek('key')).toMatchObject({ entry: { value: 1 }, tier: 'memory' });

    await a.write('key', draft(2, ['tag']));
    await until(() => b.peek('key') === undefined);
    expect(await valueOf(b, 'key')).toBe(2);

    await a.invalidateTags(['tag']);
    await until(() => b.peek('key') === undefined);
    expect(await valueOf(b, 'key')).toBeUndefined();

    await a.write('key', draft(3));
    expect(await valueOf(b, 'key')).toBe(3);
    await a.clear();
    await until(() => b.peek('key') === undefined);
    expect(await valueOf(b, 'key')).toBeUndefined();

    await a.write('key', draft(4));
    expect(await valueOf(b, 'key')).toBe(4);
    await a.remove('key');
    await until(() => b.peek('key') === undefined);
    expect(await valueOf(b, 'key')).toBeUndefined();
  });

  it('knows of a change long before the next heartbeat', async () => {
    const [a, b] = [await start(), await start()];
    const delays = await delaysMs(a, b, 500);
    const [p50 = Infinity, p99 = Infinity] = [delays[250], delays[495]];
    process.stdout.write(
      `\na change is known elsewhere after ${p50.toFixed(2)} ms (p50), ${p99.toFixed(2)} ms (p99)\n`,
    );
    expect(p99).toBeLessThan(HEARTBEAT_MS);
  });

  it('learns of foreign writes, of evictions and of a flush', async () => {
    const [a, b] = [await start(), await start()];
    for (const key of ['x', 'y', 'z']) {
      await a.write(key, draft(key));
      await known(b, key);
    }
    await redis.raw.set('t:default:e:{x}', 'garbage');
    await redis.raw.del('t:default:e:{y}');
    await until(() => b.peek('x') === undefined && b.peek('y') === undefined);
    expect(b.peek('z')).toBeDefined();
    await redis.raw.flushall();
    await until(() => b.peek('z') === undefined);
  });

  it('looks after a gap whether what it has is still so, and fetches no body that is', async () => {
    const [a, b] = [await start(), await start()];
    await a.write('same', draft('x'.repeat(5000)));
    await a.write('other', draft(1));
    await Promise.all([known(b, 'same'), known(b, 'other')]);
    const { losses = 0 } = b.stats().coherence ?? {};
    await redis.raw.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await until(() => (b.stats().coherence?.losses ?? 0) > losses);
    await a.write('other', draft(2));
    await until(() => isArmed(b));
    expect(b.peek('same')).toBeUndefined();
    const bytesBefore = Number(/total_net_output_bytes:(\d+)/.exec(await redis.raw.info('stats'))?.[1]);
    expect(await valueOf(b, 'same')).toHaveLength(5000);
    const bytesAfter = Number(/total_net_output_bytes:(\d+)/.exec(await redis.raw.info('stats'))?.[1]);
    // INFO itself is the most of it.
    expect(bytesAfter - bytesBefore).toBeLessThan(Buffer.byteLength(await redis.raw.info('stats')) + 4000);
    expect(await valueOf(b, 'other')).toBe(2);
    await known(b, 'same');
  });

  it('has nothing that differs from Redis after its channels were killed again and again', async () => {
    const storages = [await start(), await start(), await start()];
    const seen = await killChannels(storages, redis.raw, 'armed');
    // What was told is known when the next canary is.
    await sleep(2 * HEARTBEAT_MS);
    expect(await staleIn(storages, redis.raw)).toEqual([]);
    expect(seen.written).toBeGreaterThan(500);
    expect(seen.fewestLosses).toBeGreaterThan(3);
    expect(seen.oldestReadMs).toBeLessThan(HEARTBEAT_MS + TIMEOUT_MS);
  }, 30_000);
});

describe('InvalidationChannel', () => {
  it('finds a link that is dead without a sign, and arms anew', async () => {
    const proxy = await TcpProxy.start(redis.server.port);
    const events: InvalidationEvent['type'][] = [];
    const channel = new InvalidationChannel({
      settings: settingsOf(proxy.port),
      clientId: 'test',
      tag: 'x',
      touch: (place) => redis.raw.multi().set(place, '').del(place).exec(),
      heartbeatMs: HEARTBEAT_MS,
      timeoutMs: TIMEOUT_MS,
      onChange: () => {},
      onEvent: ({ type }) => events.push(type),
    });
    await until(() => events.includes('armed'));
    const frozenMs = performance.now();
    proxy.freeze();
    await until(() => events.includes('lost'));
    expect(performance.now() - frozenMs).toBeLessThan(HEARTBEAT_MS + TIMEOUT_MS + 400);
    await proxy.pass();
    await until(() => events.at(-1) === 'armed');
    expect(events).toEqual(['armed', 'lost', 'armed']);
    expect(channel.stats()).toMatchObject({ losses: 1, stalenessBoundMs: HEARTBEAT_MS + TIMEOUT_MS });
    channel.close();
    await proxy.close();
  });

  it('knows of a loss in time also where news take long: the bound counts from the writing of a canary', async () => {
    const proxy = await TcpProxy.start(redis.server.port);
    open.push(proxy);
    const [heartbeatMs, timeoutMs, lagMs] = [500, 500, 400];
    const touchedMs: number[] = [];
    const heard: number[] = [];
    let lostMs = 0;
    const channel = new InvalidationChannel({
      settings: settingsOf(proxy.port),
      clientId: 'test',
      tag: 'x',
      touch: (place) => {
        touchedMs.push(performance.now());
        return redis.raw.multi().set(place, '').del(place).exec();
      },
      heartbeatMs,
      timeoutMs,
      onBeat: () => heard.push(touchedMs.at(-1) ?? 0),
      onChange: () => {},
      onEvent: ({ type }) => {
        if (type === 'lost') lostMs = performance.now();
      },
    });
    open.push({ close: async () => channel.close() });
    await until(() => heard.length > 0);
    proxy.delay(lagMs);
    await until(() => heard.length > 1);
    lostMs = 0;
    proxy.freeze();
    const lastMs = heard.at(-1) ?? 0;
    await until(() => lostMs > 0);
    // What is written right after a canary is the oldest that may be missed.
    expect(lostMs - lastMs).toBeLessThan(heartbeatMs + timeoutMs + lagMs / 2);
  });

  it('is not refused by a link that dies while it is armed', async () => {
    const proxy = await TcpProxy.start(redis.server.port);
    open.push(proxy);
    proxy.freeze('TRACKING');
    const events: InvalidationEvent['type'][] = [];
    const channel = new InvalidationChannel({
      settings: { ...settingsOf(proxy.port), commandTimeoutMs: 50, connectTimeoutMs: 100 },
      clientId: 'test',
      tag: 'x',
      touch: (place) => redis.raw.multi().set(place, '').del(place).exec(),
      onChange: () => {},
      onEvent: ({ type }) => events.push(type),
    });
    open.push({ close: async () => channel.close() });
    // Behind the proxy the first connection stays.
    await until(() => events.length > 0 || proxy.connections > 1);
    expect(events).toEqual([]);
    await proxy.pass();
    await until(() => events.length > 0);
    expect(events).toEqual(['armed']);
  });

  it('arms as soon as the other connection is there, if that was what it waited for', async () => {
    const events: InvalidationEvent['type'][] = [];
    let isThere = false;
    let touched = 0;
    const channel = new InvalidationChannel({
      settings: settingsOf(redis.server.port),
      clientId: 'waiting',
      tag: 'x',
      touch: async (place) => {
        touched += 1;
        if (!isThere) throw new Error('away');
        await redis.raw.multi().set(place, '').del(place).exec();
      },
      timeoutMs: 60_000,
      onChange: () => {},
      onEvent: ({ type }) => events.push(type),
    });
    await until(() => touched === 1);
    isThere = true;
    channel.retry();
    await until(() => events.length > 0);
    expect(events).toEqual(['armed']);
    channel.retry();
    expect(touched).toBe(2);
    channel.close();
  });

  it('says so where the server does not tell, and everything goes on', async () => {
    await redis.raw.acl('SETUSER', 'plain', 'on', '>secret', '~*', '&*', '+@all', '-client|tracking');
    const events: InvalidationEvent[] = [];
    const channel = new InvalidationChannel({
      settings: { ...settingsOf(redis.server.port), username: 'plain', password: 'secret' },
      clientId: 'test',
      tag: 'x',
      touch: async () => {},
      onChange: () => {},
      onEvent: (event) => events.push(event),
    });
    await until(() => events.length > 0);
    expect(events).toEqual([{ type: 'refused', reason: expect.stringMatching(/NOPERM/) }]);
    expect(channel.stats().state).toBe('refused');
    channel.close();
    await redis.raw.acl('DELUSER', 'plain');
  });
});

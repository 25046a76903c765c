import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { Cache } from '../../../src/cache/cache.js';
import type { RedisSettings } from '../../../src/cache/redis/client.js';
import type { InvalidationEvent, InvalidationStats } from '../../../src/cache/redis/invalidation.js';
import { InvalidationChannel } from '../../../src/cache/redis/invalidation.js';
import { Notices } from '../../../src/cache/redis/notices.js';
import { openRedis } from '../../../src/cache/redis/open-redis.js';
import type { ReplicatedCacheStorage } from '../../../src/cache/storage/replicated.storage.js';
import { newsOf, settingsOf, startArmedStorage } from '../../support/armed-storage.js';
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
import { RedisServer } from '../../support/redis-server.js';
import { TcpProxy } from '../../support/tcp-proxy.js';

const HEARTBEAT_MS = 100;
const TIMEOUT_MS = 500;
const CHANNEL = 't:~notices:0';
/** A waiter that nobody wakes looks after a second. */
const LOOK_MS = 1000;

const redis = ownRedis();
const { open } = redis;

beforeEach(() => user('untracked', '-client|tracking'));

/** One that may do everything but this. */
const user = (name: string, ...rights: string[]): Promise<unknown> =>
  redis.raw.call('ACL', 'SETUSER', name, 'reset', 'on', '>secret', '~*', '&*', '+@all', ...rights);

async function start(
  by: InvalidationStats['state'],
  settings: Partial<RedisSettings> = {},
  { port } = redis.server,
  lookMs?: number,
): Promise<ReplicatedCacheStorage> {
  const beats = { heartbeatMs: HEARTBEAT_MS, timeoutMs: TIMEOUT_MS };
  const storage = await startArmedStorage(port, { ...beats, redis: settings, by, ...(lookMs && { lookMs }) });
  open.push(storage);
  return storage;
}

const as = (username: string): Partial<RedisSettings> => ({ username, password: 'secret' });
/** `lookMs`: see `startArmedStorage`. */
const tracked = (lookMs?: number): Promise<ReplicatedCacheStorage> =>
  start('armed', {}, redis.server, lookMs);
const untracked = (lookMs?: number): Promise<ReplicatedCacheStorage> =>
  start('notices', as('untracked'), redis.server, lookMs);
const stateOf = (storage: ReplicatedCacheStorage): string | undefined => newsOf(storage)?.state;

describe('where Redis refuses to tell of changes', () => {
  it.each([
    ['two that are refused', untracked, untracked],
    ['one that is not, and one that is', tracked, untracked],
    ['one that is, and one that is not', untracked, tracked],
  ])('%s tell each other of every write, delete, clear and invalidation', async (_, first, second) => {
    // No heartbeat finds what was not told.
    const [a, b] = [await first(60_000), await second(60_000)];
    await a.write('key', draft(1, ['tag']));
    await known(b, 'key');
    expect(
      await asked(redis.raw, () => Promise.all(Array.from({ length: 50 }, () => valueOf(b, 'key')))),
    ).toBe(0);

    await a.write('key', draft(2, ['tag']));
    await until(() => b.peek('key') === undefined);
    expect(await valueOf(b, 'key')).toBe(2);
    await known(b, 'key');

    await a.invalidateTags(['tag']);
    await until(() => b.peek('key') === undefined);
    expect(await valueOf(b, 'key')).toBeUndefined();

    await a.write('key', draft(3));
    await known(b, 'key');
    await a.clear();
    await until(() => b.peek('key') === undefined);
    expect(await valueOf(b, 'key')).toBeUndefined();

    await a.write('key', draft(4));
    await known(b, 'key');
    await a.remove('key');
    await until(() => b.peek('key') === undefined);
    expect(await valueOf(b, 'key')).toBeUndefined();
  });

  it('a change is known long before the next heartbeat', async () => {
    const [a, b] = [await untracked(), await untracked()];
    expect((await delaysMs(a, b, 50))[25]).toBeLessThan(HEARTBEAT_MS);
  });

  it.each([
    ['of another that is refused', untracked, untracked],
    ['of one that is not', tracked, untracked],
    ['that is not refused', untracked, tracked],
  ])('a waiter %s is woken by the end of the computation', async (_, first, second) => {
    const [a, b] = [new Cache({ storage: await first() }), new Cache({ storage: await second() })];
    const gate = Promise.withResolvers<string>();
    const begun = Promise.withResolvers<void>();
    const holder = a.getOrSet('key', () => {
      begun.resolve();
      return gate.promise;
    });
    await begun.promise;
    // How often somebody was told that a lease is held.
    const held = async (): Promise<number> =>
      Number(/cmdstat_pttl:calls=(\d+)/.exec(await redis.raw.info('commandstats'))?.[1] ?? 0);
    const before = await held();
    const waiter = b.resolve('key', () => 'never');
    await until(async () => (await held()) > before);
    gate.resolve('value');
    await holder;
    const endedMs = performance.now();
    expect(await waiter).toMatchObject({ kind: 'collapsed', entry: { value: 'value' } });
    expect(performance.now() - endedMs).toBeLessThan(LOOK_MS / 2);
  });

  it('nothing differs from Redis after the connections of the notices were killed again and again', async () => {
    const storages = [await untracked(), await untracked(), await untracked()];
    const seen = await killChannels(storages, redis.raw, 'notices');
    await sleep(2 * HEARTBEAT_MS);
    expect(await staleIn(storages, redis.raw)).toEqual([]);
    expect(seen.written).toBeGreaterThan(300);
    expect(seen.fewestLosses).toBeGreaterThan(3);
    expect(seen.oldestReadMs).toBeLessThan(HEARTBEAT_MS + TIMEOUT_MS);
  }, 30_000);

  it('tracking is tried anew at each connect', async () => {
    const storage = await untracked();
    await user('untracked');
    await redis.raw.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await until(() => stateOf(storage) === 'armed');
    await user('untracked', '-client|tracking');
    await redis.raw.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await until(() => stateOf(storage) === 'notices');
    expect(newsOf(storage)).toMatchObject({ reason: expect.stringMatching(/NOPERM/), losses: 2 });
  });

  it('a link that is dead without a sign is found', async () => {
    const proxy = await TcpProxy.start(redis.server.port);
    open.push(proxy);
    const connection = openRedis({ ...settingsOf(redis.server.port), ...as('untracked') });
    open.push(connection);
    await connection.settled(1000);
    const events: InvalidationEvent['type'][] = [];
    const channel = new InvalidationChannel({
      settings: { ...settingsOf(proxy.port), ...as('untracked') },
      clientId: 'test',
      tag: 'x',
      touch: async () => {},
      notices: new Notices(CHANNEL, connection),
      heartbeatMs: HEARTBEAT_MS,
      timeoutMs: TIMEOUT_MS,
      onChange: () => {},
      onEvent: ({ type }) => events.push(type),
    });
    await until(() => events.includes('notices'));
    proxy.freeze();
    await until(() => events.includes('lost'));
    await proxy.pass();
    await until(() => events.length === 3);
    expect(events).toEqual(['notices', 'lost', 'notices']);
    channel.close();
  });

  it('a server without the command is the same', async () => {
    const bare = await RedisServer.start(['--appendfsync', 'no', '--rename-command', 'CLIENT', '']);
    open.push(bare);
    const [a, b] = [await start('notices', {}, bare), await start('notices', {}, bare)];
    await a.write('key', draft(1));
    await known(b, 'key');
    await a.write('key', draft(2));
    await until(() => b.peek('key') === undefined);
    expect(await valueOf(b, 'key')).toBe(2);
  });

  it('notices of one database say nothing of another', async () => {
    const [a, b] = [await untracked(), await untracked()];
    const other = await start('notices', { ...as('untracked'), db: 1 });
    await a.write('key', draft(1));
    await known(b, 'key');
    await a.write('later', draft(1));
    await known(b, 'later');
    await other.write('key', draft(2));
    await a.write('later', draft(2));
    await until(() => b.peek('later') === undefined);
    expect(b.peek('key')).toMatchObject({ entry: { value: 1 } });
    expect(((await redis.raw.call('PUBSUB', 'CHANNELS')) as string[]).sort()).toEqual([
      CHANNEL,
      't:~notices:1',
    ]);
  });

  it('what Redis has lost is given back, and told', async () => {
    const [a, b] = [await untracked(), await untracked()];
    await a.write('key', draft(1));
    await known(b, 'key');
    await redis.raw.flushall();
    await until(async () => (await redis.raw.exists('t:default:e:{key}')) === 1);
    await a.write('key', draft(2));
    await until(() => b.peek('key')?.entry.value !== 1);
    expect(await valueOf(b, 'key')).toBe(2);
  });
});

describe('where instances may not tell each other either', () => {
  it.each([
    ['SUBSCRIBE', 'deaf', /NOPERM.*; NOPERM.*/],
    ['PUBLISH', 'mute', /NOPERM.*; PUBLISH: .*/],
  ])('without %s every read compares', async (command, name, reason) => {
    await user(name, '-client|tracking', `-${command}`);
    const [a, b] = [await start('refused', as(name)), await start('refused', as(name))];
    expect(newsOf(b)?.reason).toMatch(reason);
    for (const value of [1, 2, 3]) {
      expect(await a.write('key', draft(value))).toBe('redis');
      expect(b.peek('key')).toBeUndefined();
      expect(await valueOf(b, 'key')).toBe(value);
    }
    expect(await asked(redis.raw, () => valueOf(b, 'key'))).toBeGreaterThan(0);
  });

  it('a writer that may not publish does not fool those who rely on notices', async () => {
    await user('mute', '-publish');
    const [reader, mute] = [await untracked(), await start('armed', as('mute'))];
    expect(newsOf(reader)?.unpublished).toBeUndefined();
    await until(() => newsOf(mute)?.unpublished !== undefined);
    for (const change of [
      () => mute.write('key', draft(2)),
      () => mute.remove('key').then(({ landed }) => landed),
      () => mute.clear(),
    ]) {
      await redis.raw.del(CHANNEL);
      await until(() => stateOf(reader) === 'notices');
      await reader.write('key', draft(1));
      await known(reader, 'key');
      const begunMs = performance.now();
      expect(await change()).toBe('redis');
      await until(() => stateOf(reader) === 'refused');
      expect(performance.now() - begunMs).toBeLessThan(HEARTBEAT_MS + TIMEOUT_MS);
      expect(reader.peek('key')).toBeUndefined();
      expect(await valueOf(reader, 'key')).not.toBe(1);
    }
    expect(newsOf(reader)?.reason).toMatch(/may not publish/);
    // It goes on writing.
    const { told = 0 } = newsOf(reader) ?? {};
    await until(() => (newsOf(reader)?.told ?? 0) > told + 3);
    expect(stateOf(reader)).toBe('refused');
  });

  it('a reader that slept through all of it notices too, and relies on notices again', async () => {
    const reader = await untracked();
    await reader.write('key', draft(1));
    // The notice of that write is behind it when two canaries are.
    const { told = 0, losses = 0 } = newsOf(reader) ?? {};
    await until(() => (newsOf(reader)?.told ?? 0) > told + 2);
    await known(reader, 'key');
    await redis.raw.set(CHANNEL, '1000000');
    await until(() => newsOf(reader)?.losses === losses + 1);
    await until(() => stateOf(reader) === 'notices');
    expect(reader.peek('key')).toBeUndefined();
  });

  it('who loses the right to publish is found out at the next heartbeat', async () => {
    const storage = await untracked();
    await user('untracked', '-client|tracking', '-publish');
    await until(() => stateOf(storage) === 'refused');
    expect(await storage.write('key', draft(1))).toBe('redis');
    await user('untracked', '-client|tracking');
    await redis.raw.del(CHANNEL);
    await until(() => stateOf(storage) === 'notices');
  });
});

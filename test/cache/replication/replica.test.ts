import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { RedisConnection } from '../../../src/cache/redis/connection.js';
import { RedisRemote } from '../../../src/cache/redis/redis-remote.js';
import { HybridLogicalClock } from '../../../src/cache/replication/clock.js';
import type { Journal } from '../../../src/cache/replication/journal.js';
import type { EntryDraft } from '../../../src/cache/replication/replica.js';
import { Replica } from '../../../src/cache/replication/replica.js';
import type { ReplicaEvent } from '../../../src/cache/replication/replica-state.js';
import { BACKGROUND_TIMERS } from '../../../src/cache/replication/timers.js';
import { NamespaceCodec } from '../../../src/cache/storage/entry-codec.js';
import { EnvelopeCodec } from '../../../src/cache/storage/envelope.js';
import { MemoryCacheStorage } from '../../../src/cache/storage/memory.storage.js';
import { settingsOf } from '../../support/armed-storage.js';
import { RedisServer } from '../../support/redis-server.js';

const MAX_LIFE_MS = 86_400_000;
const draft = (value: unknown, lifeMs = 3_600_000, tags: string[] = []): EntryDraft => ({
  value,
  tags,
  freshMs: lifeMs,
  lifeMs,
});

class MapJournal implements Journal {
  readonly records = new Map<string, Uint8Array>();
  async load(): Promise<[string, Uint8Array][]> {
    return [...this.records];
  }
  async write(records: ReadonlyMap<string, Uint8Array | undefined>): Promise<void> {
    for (const [id, bytes] of records) {
      if (bytes === undefined) this.records.delete(id);
      else this.records.set(id, bytes);
    }
  }
}

interface NodeOptions {
  readonly skewMs?: number;
  readonly journal?: Journal;
  readonly outboxMaxBytes?: number;
}

/** An instance: a replica with a memory storage, on a connection of its own. */
class TestNode {
  readonly events: ReplicaEvent[] = [];
  private wake = Promise.withResolvers<void>();
  private constructor(
    readonly replica: Replica,
    private readonly connection: RedisConnection,
  ) {}

  static async start(
    port: number,
    { skewMs = 0, journal, outboxMaxBytes }: NodeOptions = {},
  ): Promise<TestNode> {
    const changed: (() => void)[] = [];
    const connection = new RedisConnection(
      { ...settingsOf(port), commandTimeoutMs: 200, connectTimeoutMs: 500 },
      { onEvent: () => changed.forEach((tell) => tell()) },
    );
    const envelope = new EnvelopeCodec();
    const clock = new HybridLogicalClock(
      randomId(),
      () => performance.timeOrigin + performance.now() + skewMs,
    );
    const node: TestNode = new TestNode(
      new Replica({
        local: new MemoryCacheStorage({ maxBytes: 50e6, now: () => clock.time() }),
        remote: new RedisRemote({ connection, namespace: 'default', maxLifeMs: MAX_LIFE_MS }),
        journal,
        codec: new NamespaceCodec(envelope, 'default'),
        clock,
        timers: BACKGROUND_TIMERS,
        random: Math.random,
        maxLifeMs: MAX_LIFE_MS,
        heartbeatMs: 50,
        ...(outboxMaxBytes === undefined ? {} : { outboxMaxBytes }),
        onEvent: (event) => {
          node.events.push(event);
          node.wake.resolve();
          node.wake = Promise.withResolvers<void>();
        },
      }),
      connection,
    );
    nodes.push(node);
    await node.replica.open();
    const follow = (): void =>
      connection.available ? node.replica.connected() : node.replica.disconnected();
    changed.push(follow);
    follow();
    return node;
  }

  /** Until it is connected, and has merged everything. */
  async merged(): Promise<this> {
    await until(() => this.replica.stats().online);
    await this.replica.idle();
    await until(() => this.replica.stats().outbox.pending === 0);
    return this;
  }

  async away(): Promise<void> {
    await until(() => !this.replica.stats().online);
  }

  async value(key: string): Promise<unknown> {
    return (await this.replica.read([key]))[0]?.entry.value;
  }

  async stop(): Promise<void> {
    this.replica.close();
    await this.connection.close();
  }
}

const nodes: TestNode[] = [];
const randomId = (): string =>
  Array.from({ length: 16 }, () => Math.floor(Math.random() * 16).toString(16)).join('');
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

let server: RedisServer;
const start = (options?: NodeOptions): Promise<TestNode> => TestNode.start(server.port, options);
beforeEach(async () => {
  server = await RedisServer.start(['--appendfsync', 'no']);
});
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.stop()));
  await server.close();
});

/** Two instances that have been connected for longer than a cold start. */
async function pair(options: NodeOptions = {}): Promise<[TestNode, TestNode]> {
  const [a, b] = [await start(), await start(options)];
  await Promise.all([a.merged(), b.merged()]);
  await new Promise((resolve) => setTimeout(resolve, 120));
  return [a, b];
}

describe('Replica', () => {
  it('shares, deletes, and keeps the newest, whatever the clocks say', async () => {
    const [a, b] = await pair({ skewMs: -120_000 });
    expect(await a.replica.set('k', draft(1))).toBe('redis');
    expect(await b.value('k')).toBe(1);
    expect(await b.replica.set('k', draft(2))).toBe('redis');
    expect(await a.value('k')).toBe(2);
    expect(await b.replica.delete('k')).toEqual({ landed: 'redis', existed: true });
    expect(await a.value('k')).toBeUndefined();
    expect(a.replica.peek('k')).toBeUndefined();
  });

  it('loses nothing of an outage: writes, deletes, clears and invalidations are merged', async () => {
    const [a, b] = await pair();
    for (const key of ['deleted', 'kept', 'updated']) await a.replica.set(key, draft('old'));
    await a.replica.set('tagged', draft('old', 3_600_000, ['t']));
    await b.value('deleted');
    await server.kill();
    await Promise.all([a.away(), b.away()]);
    expect(await a.replica.delete('deleted')).toEqual({ landed: 'outbox', existed: true });
    expect(await a.replica.set('updated', draft('new'))).toBe('outbox');
    expect(await b.replica.set('from b', draft('b'))).toBe('outbox');
    expect(await a.replica.invalidateTags(['t'])).toBe('outbox');
    expect(await a.value('updated')).toBe('new');
    expect(await a.value('tagged')).toBeUndefined();
    await server.up();
    await Promise.all([a.merged(), b.merged()]);
    for (const node of [a, b, await (await start()).merged()]) {
      expect(
        await Promise.all(['deleted', 'kept', 'updated', 'from b', 'tagged'].map((key) => node.value(key))),
      ).toEqual([undefined, 'old', 'new', 'b', undefined]);
    }
  });

  it('never lets an older write win that arrives later', async () => {
    const [a, b] = await pair();
    server.freeze();
    expect(await a.replica.set('k', draft('older'))).toBe('outbox');
    await a.away();
    server.thaw();
    await b.replica.set('k', draft('newer'));
    await Promise.all([a.merged(), b.merged()]);
    const newest = await b.value('k');
    expect(await a.value('k')).toBe(newest);
    await b.replica.delete('k');
    expect(await a.value('k')).toBeUndefined();
  });

  it('does not store the result of a factory that a delete, clear or invalidation has overtaken', async () => {
    const [a, b] = await pair({ skewMs: -60_000 });
    const overtaking: ((key: string) => Promise<unknown>)[] = [
      (key) => b.replica.delete(key),
      (key) => b.replica.set(key, draft('newer')),
      () => b.replica.clear(),
      () => b.replica.invalidateTags(['t']),
      (key) => a.replica.delete(key),
    ];
    for (const [n, overtake] of overtaking.entries()) {
      const key = `k${n}`;
      const version = await a.replica.begin(key);
      await overtake(key);
      await a.replica.complete(key, draft('late', 3_600_000, ['t']), version);
      expect(await a.value(key)).not.toBe('late');
      expect(await b.value(key)).not.toBe('late');
    }
    const version = await a.replica.begin('free');
    expect(await a.replica.complete('free', draft('result'), version)).toBe('redis');
    expect(await b.value('free')).toBe('result');
  });

  it('gives back to a Redis that lost its data what is alive, and nothing that was deleted', async () => {
    const [a, b] = await pair();
    for (let n = 0; n < 50; n += 1) await a.replica.set(`k${n}`, draft(n));
    await b.value('k1');
    await a.replica.delete('k1');
    await server.kill();
    await Promise.all([a.away(), b.away()]);
    await server.wipe();
    await server.up();
    await Promise.all([a.merged(), b.merged()]);
    const late = await (await start()).merged();
    await until(() => [a, b].every(({ events }) => events.some(({ type }) => type === 'offer_done')));
    await new Promise((resolve) => setTimeout(resolve, 150));
    const values = await Promise.all(Array.from({ length: 50 }, (_, n) => late.value(`k${n}`)));
    expect(values.map((value, n) => value === n || (n === 1 && value === undefined))).toEqual(
      values.map(() => true),
    );
  });

  it('offers again what Redis was too full to take back', async () => {
    const [a, b] = await pair();
    await a.replica.set('k', draft('kept by its reader'));
    await b.value('k');
    await a.stop();
    const admin = new Redis(server.port);
    try {
      await admin.config('SET', 'maxmemory', '1');
      await admin.config('RESETSTAT');
      await admin.flushall();
      while (!(await admin.info('errorstats')).includes('errorstat_OOM')) await b.value('k');
      await admin.config('SET', 'maxmemory', '0');
      await until(() => b.events.some(({ type }) => type === 'offer_done'));
      const late = await (await start()).merged();
      while ((await late.value('k')) === undefined) await new Promise((resolve) => setTimeout(resolve, 20));
    } finally {
      admin.disconnect();
    }
  });

  it('takes up with its journal what the process before could not send', async () => {
    const journal = new MapJournal();
    const a = await (await start({ journal })).merged();
    await a.replica.set('deleted', draft('old'));
    await server.kill();
    await a.away();
    await a.replica.set('k', draft('from the journal'));
    await a.replica.delete('deleted');
    await a.stop();
    const again = await start({ journal });
    expect(await again.value('k')).toBe('from the journal');
    await server.up();
    await again.merged();
    const other = await (await start()).merged();
    await new Promise((resolve) => setTimeout(resolve, 120));
    expect(await other.value('k')).toBe('from the journal');
    expect(await other.value('deleted')).toBeUndefined();
    expect([...journal.records.keys()].filter((id) => id === 'item:k')).toEqual([]);
  });

  it('stamps anew what was written before it ever saw Redis, by its age', async () => {
    await server.kill();
    const a = await start({ skewMs: 200_000 });
    await a.replica.set('k', draft('first'));
    await a.replica.set('k', draft('second'));
    await a.replica.delete('gone');
    await server.up();
    await a.merged();
    const b = await (await start()).merged();
    await new Promise((resolve) => setTimeout(resolve, 120));
    expect(await b.value('k')).toBe('second');
    expect(await b.replica.set('k', draft('third'))).toBe('redis');
    expect(await a.value('k')).toBe('third');
  });

  it('keeps its outbox within bounds, at the cost of values only', async () => {
    const a = await (await start({ outboxMaxBytes: 100_000 })).merged();
    await a.replica.set('deleted', draft('old'));
    await server.kill();
    await a.away();
    await a.replica.delete('deleted');
    for (let n = 0; n < 100; n += 1) await a.replica.set(`k${n}`, draft(randomBytes(2000)));
    const { outbox, dropped } = a.replica.stats();
    expect(outbox.bytes).toBeLessThanOrEqual(100_000);
    expect(outbox.pending).toBe(101);
    expect(dropped).toBeGreaterThan(50);
    await server.up();
    await a.merged();
    const b = await (await start()).merged();
    await new Promise((resolve) => setTimeout(resolve, 120));
    expect(await b.value('deleted')).toBeUndefined();
    expect(await b.value('k0')).toBeUndefined();
    expect(await b.value('k99')).toBeDefined();
  });
});

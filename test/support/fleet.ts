import { setTimeout as sleep } from 'node:timers/promises';
import type { INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { Redis } from 'ioredis';
import { CacheModule } from '../../src/cache/cache.module.js';
import { Cache } from '../../src/cache/cache.js';
import type { RedisSettings } from '../../src/cache/redis/client.js';
import { CacheStorage } from '../../src/cache/storage/cache-storage.js';
import type { ReplicatedCacheStorage } from '../../src/cache/storage/replicated.storage.js';
import type { RedisServer } from './redis-server.js';

const HOUR_MS = 3_600_000;
const MERGE_LIMIT_MS = 15_000;
const OWN_KEYS = 6;
const SHARED_KEYS = 4;
const LANDED = new Set(['redis', 'outbox']);

export interface LogLine {
  readonly event: string;
  readonly address?: string;
}

/** Instances of the cache in this process, each with a connection and a memory of its own, on one Redis. */
export class Fleet {
  private constructor(
    readonly settings: RedisSettings,
    private readonly apps: INestApplicationContext[],
    /** Of all of them. */
    readonly log: LogLine[],
  ) {}

  static async start(redis: Partial<RedisSettings>, count = 3): Promise<Fleet> {
    const settings: RedisSettings = {
      mode: 'standalone',
      host: '127.0.0.1',
      port: 0,
      db: 0,
      tls: false,
      keyPrefix: 'fleet:',
      commandTimeoutMs: 250,
      connectTimeoutMs: 1000,
      ...redis,
    };
    const fleet = new Fleet(settings, [], []);
    for (let index = 0; index < count; index += 1) await fleet.join();
    await fleet.merged();
    return fleet;
  }

  get caches(): Cache[] {
    return this.apps.map((app) => app.get(Cache));
  }

  /** A new instance that has nothing. */
  async join(): Promise<Cache> {
    const note = (fields: LogLine): void => {
      if (typeof fields?.event === 'string') this.log.push(fields);
    };
    const logger = { log: note, warn: note, error: note, debug: note, verbose: note, fatal: note };
    const app = await NestFactory.createApplicationContext(CacheModule.forRoot({ redis: this.settings }), {
      logger,
    });
    this.apps.push(app);
    return app.get(Cache);
  }

  /** `join`, until it believes Redis: where that has just lost data, whoever has no memory of it waits for others. */
  async joined(): Promise<void> {
    const newcomer = await this.join();
    const begun = performance.now();
    await this.merged();
    await this.caches[0]?.set('fleet:joined', true);
    while ((await newcomer.get('fleet:joined')) !== true) {
      if (performance.now() - begun > MERGE_LIMIT_MS) throw new Error('The new instance sees nothing.');
      await sleep(10);
    }
  }

  /** The one that joined last goes. */
  async leave(): Promise<void> {
    await this.apps.pop()?.close();
  }

  /** Until every instance is in touch with Redis and has told it everything. */
  async merged(): Promise<void> {
    const begun = performance.now();
    for (const app of this.apps) {
      const storage: ReplicatedCacheStorage = app.get(CacheStorage);
      for (;;) {
        const { replication } = storage.stats();
        if (replication?.online === true && replication.outbox.pending === 0) break;
        if (performance.now() - begun > MERGE_LIMIT_MS)
          throw new Error(`Not merged within ${MERGE_LIMIT_MS} ms: ${JSON.stringify(replication)}`);
        await sleep(10);
        await storage.idle();
      }
    }
  }

  /** Until every instance shares its results again, and is told of changes; returns how long that took. */
  async recovered(): Promise<number> {
    const begun = performance.now();
    const isDark = (app: INestApplicationContext): boolean => {
      const { replication, coherence } = app.get<ReplicatedCacheStorage>(CacheStorage).stats();
      return replication?.online !== true || coherence?.state !== 'armed';
    };
    while (this.apps.some(isDark)) {
      if (performance.now() - begun > MERGE_LIMIT_MS)
        throw new Error(`Not recovered within ${MERGE_LIMIT_MS} ms.`);
      await sleep(5);
    }
    return performance.now() - begun;
  }

  /** Until the event has been logged so many times since now. */
  async logged(event: string, times: number): Promise<void> {
    const until = this.count(event) + times;
    const begun = performance.now();
    while (this.count(event) < until) {
      if (performance.now() - begun > MERGE_LIMIT_MS)
        throw new Error(`No ${event} within ${MERGE_LIMIT_MS} ms.`);
      await sleep(10);
    }
  }

  /** What each instance reads from Redis. */
  readAll(keys: readonly string[]): Promise<(string | undefined)[][]> {
    return this.undisturbed(() => Promise.all(this.caches.map((cache) => cache.getMany<string>([...keys]))));
  }

  /** Again, where the machine was too busy for one of them to be answered, or told of a change, in time. */
  async undisturbed<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      await this.merged();
      const before = this.faults();
      const result = await work();
      if (this.faults() === before) return result;
    }
  }

  private faults(): number {
    const all = this.apps.map((app) => app.get<ReplicatedCacheStorage>(CacheStorage).stats());
    return all.reduce(
      (sum, { replication, coherence }) => sum + (replication?.remoteFaults ?? 0) + (coherence?.losses ?? 0),
      0,
    );
  }

  count(event: string): number {
    return this.log.filter((line) => line.event === event).length;
  }

  async close(): Promise<void> {
    await Promise.all(this.apps.splice(0).map((app) => app.close()));
  }
}

/** What the master takes during `during`, and then the fault, its replicas never hear of. */
export async function withoutReplication(
  admin: Redis,
  replicas: readonly RedisServer[],
  during: () => Promise<void>,
  fault: () => Promise<void> | void,
): Promise<void> {
  for (const replica of replicas) replica.freeze();
  // What the sockets have already would be read later.
  await admin.call('CLIENT', 'KILL', 'TYPE', 'replica');
  await during();
  await fault();
  for (const replica of replicas) replica.thaw();
}

export interface LoadFigures {
  readonly operations: number;
  /** Writes that waited for Redis. */
  readonly outbox: number;
  readonly slowestMs: number;
  /** Callers that got an error; what they got. */
  readonly errors: readonly string[];
  /** Reads of a value that the same instance had already replaced or deleted, and writes that gave way to nothing. */
  readonly wrong: readonly string[];
}

interface Known {
  readonly value: string | undefined;
}

/** Calls through all instances until it is told to stop, each worker on keys of its own and on some that all share. */
export class FleetLoad {
  /** What has to be there in the end: of each key that only one worker writes, the last write that was accepted. */
  private readonly expected = new Map<string, Known>();
  private readonly written = new Map<string, Set<string>>();
  private readonly errors: string[] = [];
  private readonly wrong: string[] = [];
  private readonly stopped = new AbortController();
  private readonly workers: Promise<void>[];
  private operations = 0;
  private outbox = 0;
  private slowestMs = 0;
  private values = 0;

  constructor(
    private readonly fleet: Fleet,
    private readonly name: string,
    { workersPerInstance = 3, paceMs = 8 } = {},
  ) {
    this.workers = fleet.caches.flatMap((cache, instance) =>
      Array.from({ length: workersPerInstance }, (_, worker) =>
        this.work(cache, `${name}:${instance}.${worker}`, paceMs),
      ),
    );
  }

  get figures(): LoadFigures {
    const { operations, outbox, slowestMs, errors, wrong } = this;
    return { operations, outbox, slowestMs: Math.round(slowestMs), errors, wrong };
  }

  async stop(): Promise<void> {
    this.stopped.abort();
    await Promise.all(this.workers);
  }

  /** After the merge: what each instance, and one that is new, has, against what was accepted. */
  async verify(): Promise<{ lost: string[]; resurrected: string[]; disagreements: string[] }> {
    const [lost, resurrected, disagreements]: [string[], string[], string[]] = [[], [], []];
    await this.fleet.joined();
    await this.fleet.merged();
    const newcomer = this.fleet.caches.length - 1;
    for (const keys of chunks([...this.expected.keys()], 200)) {
      const seen = await this.fleet.readAll(keys);
      for (const [nth, key] of keys.entries()) {
        const wanted = this.expected.get(key)?.value;
        for (const [place, values] of seen.entries()) {
          const found = values[nth];
          if (found === wanted) continue;
          const who = place === newcomer ? 'a new instance' : `instance ${place}`;
          const text = `${key}: ${who} has ${found}, not ${wanted}`;
          (wanted === undefined ? resurrected : lost).push(text);
        }
      }
    }
    const shared = [...this.written.keys()];
    const seen = await this.fleet.readAll(shared);
    for (const [nth, key] of shared.entries()) {
      const values = seen.map((of) => of[nth]);
      if (new Set(values).size > 1) disagreements.push(`${key}: ${values.join(', ')}`);
      if (values.some((value) => value !== undefined && this.written.get(key)?.has(value) !== true))
        disagreements.push(`${key}: ${values.join(', ')} was never written`);
    }
    await this.fleet.leave();
    return { lost, resurrected, disagreements };
  }

  /** Every key that it has used so far. */
  get keys(): string[] {
    return [...this.expected.keys(), ...this.written.keys()];
  }

  /** Until so many calls were made since now. */
  async calls(count: number): Promise<void> {
    const until = this.operations + count;
    while (this.operations < until) await sleep(5);
  }

  private async work(cache: Cache, own: string, paceMs: number): Promise<void> {
    for (let turn = 0; !this.stopped.signal.aborted; turn += 1) {
      await this.step(cache, own, turn);
      await sleep(Math.random() * paceMs);
    }
  }

  private step(cache: Cache, own: string, turn: number): Promise<void> {
    const dice = Math.random();
    const key = `${own}:${Math.floor(Math.random() * OWN_KEYS)}`;
    const shared = `${this.name}:shared:${Math.floor(Math.random() * SHARED_KEYS)}`;
    if (dice < 0.2) return this.set(cache, `${own}:once:${turn}`);
    if (dice < 0.25 && turn > 0) return this.delete(cache, `${own}:once:${Math.floor(Math.random() * turn)}`);
    if (dice < 0.5) return this.set(cache, key);
    if (dice < 0.6) return this.delete(cache, key);
    if (dice < 0.8) return this.read(cache, key);
    return this.contend(cache, shared);
  }

  private async set(cache: Cache, key: string): Promise<void> {
    this.values += 1;
    const value = `${key}#${this.values}`;
    const landed = await this.timed(() => cache.set(key, value, { ttlMs: HOUR_MS }));
    if (landed !== undefined) this.accept(key, landed, value);
  }

  private async delete(cache: Cache, key: string): Promise<void> {
    const written = await this.timed(() => cache.delete(key));
    if (written !== undefined) this.accept(key, written.landed, undefined);
  }

  private accept(key: string, landed: string, value: string | undefined): void {
    if (landed === 'outbox') this.outbox += 1;
    if (LANDED.has(landed)) this.expected.set(key, { value });
    else
      this.wrong.push(
        `${key}: ${value === undefined ? 'a delete' : 'a set'} gave way (${landed}) to nothing`,
      );
  }

  private async read(cache: Cache, key: string): Promise<void> {
    const wanted = this.expected.get(key);
    const found = await this.timed(async () => ({ value: await cache.get<string>(key) }));
    if (found !== undefined && wanted !== undefined && found.value !== wanted.value)
      this.wrong.push(`${key}: read ${found.value} after ${wanted.value} was accepted`);
  }

  private async contend(cache: Cache, key: string): Promise<void> {
    this.values += 1;
    const value = `${key}#${this.values}`;
    const all = this.written.get(key) ?? new Set();
    this.written.set(key, all.add(value));
    if (Math.random() < 0.3) await this.timed(() => cache.delete(key));
    else await this.timed(() => cache.set(key, value, { ttlMs: HOUR_MS }));
  }

  private async timed<T>(call: () => Promise<T>): Promise<T | undefined> {
    this.operations += 1;
    const begun = performance.now();
    try {
      return await call();
    } catch (error) {
      this.errors.push(String(error));
      return undefined;
    } finally {
      this.slowestMs = Math.max(this.slowestMs, performance.now() - begun);
    }
  }
}

const chunks = <T>(all: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, n) => all.slice(n * size, (n + 1) * size));

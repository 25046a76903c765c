import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { StorageUnavailableError } from '../../src/cache/cache.errors.js';
import { RedisConnection } from '../../src/cache/redis/connection.js';
import { Keyspace } from '../../src/cache/redis/keyspace.js';
import { RedisRemote } from '../../src/cache/redis/redis-remote.js';
import type { Mutation } from '../../src/cache/replication/mutation.js';
import type { LiveKey, MarksState } from '../../src/cache/replication/remote.js';
import { RedisServer } from '../support/redis-server.js';
import { ModelRedis } from './model-redis.js';
import { Random } from './random.js';

/** The model is held to what it is a model of: the same commands, on it and on a real Redis, have the same outcomes. */
const SEQUENCES = 150;
const COMMANDS = 75;
const KEYS = ['a', 'b', 'c'];
const MARKS = ['tag:red', 'tag:blue', 'floor', 'clear'];
const TOKENS = ['x', 'y'];
const PARTS = ['value', 'guard', 'fence'] as const;
const [MINUTE_MS, DAY_MS] = [60_000, 86_400_000];
const MAX_LIFE_MS = 2 * DAY_MS;
/** Of a version, from now. Nothing is so near to a bound that the time which the test takes would matter. */
const AGES_MS = [
  -4 * DAY_MS,
  -3 * DAY_MS,
  -DAY_MS,
  -MINUTE_MS,
  0,
  0,
  0,
  MINUTE_MS,
  4 * MINUTE_MS,
  20 * MINUTE_MS,
];
const LIVES_MS = [-DAY_MS, -MINUTE_MS, DAY_MS, MAX_LIFE_MS];
const nobody = (): void => {};
const NOBODY = {
  applied: nobody,
  superseded: nobody,
  fenced: nobody,
  leased: nobody,
  marked: nobody,
  lost: nobody,
  fades: nobody,
  lostMarks: nobody,
};

let server: RedisServer;
let raw: Redis;
let connection: RedisConnection;

beforeAll(async () => {
  server = await RedisServer.start(['--appendonly', 'no']);
  raw = new Redis(server.port, { maxRetriesPerRequest: 3 });
  connection = new RedisConnection({
    mode: 'standalone',
    host: '127.0.0.1',
    port: server.port,
    db: 0,
    tls: false,
    keyPrefix: 'test:',
    commandTimeoutMs: 5000,
    connectTimeoutMs: 2000,
  });
  await connection.settled(2000);
});
afterAll(async () => {
  await connection.close();
  raw.disconnect();
  await server.close();
});

it('does what Redis does', async () => {
  for (let seed = 1; seed <= SEQUENCES; seed += 1) {
    await raw.flushall();
    const both = new Both(Random.of(seed, 'commands'));
    for (let step = 1; step <= COMMANDS; step += 1) await both.step(`seed ${seed}, step ${step}`);
    await both.refuse('nothing');
  }
}, 60_000);

/** A real Redis and the model of it. */
class Both {
  private readonly real = new RedisRemote({ connection, namespace: 'default', maxLifeMs: MAX_LIFE_MS });
  private readonly keyspace = new Keyspace('test:', 'default');
  private readonly model = new ModelRedis({
    now: Date.now,
    maxLifeMs: MAX_LIFE_MS,
    runId: () => '',
    observer: NOBODY,
  });
  /** Some are used again. */
  private readonly stamps: string[] = [];
  /** The marks as they were after the last exchange. */
  private since: Readonly<Record<'real' | 'model', MarksState>> | undefined;

  constructor(private readonly random: Random) {}

  step(name: string): Promise<void> {
    const { random, real, model } = this;
    const key = random.pick(KEYS);
    switch (random.between(0, 18)) {
      case 0:
        return this.lose(key);
      case 1:
        return this.refuse(random.pick(['nothing', 'nothing', 'sets', 'writes'] as const));
      case 2:
      case 3: {
        const version = this.stamp();
        const fence = () => model.fence(key, version, DAY_MS);
        return same(name, real.fence(key, version, DAY_MS), fence);
      }
      case 4:
      case 5:
        return this.exchange(name);
      case 15:
      case 16:
        return this.lease(name, key);
      case 17: {
        const token = random.pick(TOKENS);
        return same(name, real.renew(key, token, DAY_MS), () => model.renew(key, token, DAY_MS));
      }
      case 18: {
        const token = random.pick(TOKENS);
        return same(name, real.release(key, token), () => model.release(key, token));
      }
      case 6:
        return this.reclaim(name);
      case 7:
        return this.list(name);
      case 8:
        return same(name, real.read(KEYS), () => model.read(KEYS));
      default: {
        const batch = Array.from({ length: random.between(1, 3) }, () => this.mutation(random.pick(KEYS)));
        const live = random.chance(0.5);
        return same(name, real.apply(batch, { live }), () => model.apply(batch, live));
      }
    }
  }

  private lease(name: string, key: string): Promise<void> {
    const { random, real, model } = this;
    const deadlineMs = Date.now() + (random.chance(0.8) ? MINUTE_MS : -MINUTE_MS);
    const [version, token] = [this.stamp(), random.pick(TOKENS)];
    const request = { version, fenceMs: DAY_MS, token, leaseMs: DAY_MS, deadlineMs };
    return same(name, real.lease(key, request), () => model.lease(key, request));
  }

  async refuse(what: ModelRedis['refusing']): Promise<void> {
    this.model.refusing = what;
    await raw.config('SET', 'maxmemory', what === 'sets' ? '1' : '0');
    await (what === 'writes' ? raw.replicaof('127.0.0.1', 1) : raw.replicaof('NO', 'ONE'));
  }

  private mutation(key: string): Mutation {
    const { random } = this;
    const version = this.stamp();
    if (random.chance(0.35)) return { key, version, bytes: undefined, expiresAt: 0 };
    const expiresAt = Date.now() + random.pick(LIVES_MS);
    const expiry = expiresAt.toString(16).padStart(14, '0');
    const header = `ATHN0100${version}${'0'.repeat(28)}${expiry}`;
    return { key, version, bytes: Buffer.from(header + random.hex(6)), expiresAt };
  }

  private stamp(): string {
    const { random, stamps } = this;
    if (stamps.length > 0 && random.chance(0.4)) return random.pick(stamps);
    const ms = Date.now() + random.pick(AGES_MS);
    const version = ms.toString(16).padStart(12, '0') + random.hex(20);
    stamps.push(version);
    return version;
  }

  private async lose(key: string): Promise<void> {
    if (this.model.refusing === 'writes') return;
    const part = this.random.between(0, 5);
    if (part === 5) {
      this.model.evictLease(key);
      await raw.del(this.keyspace.lease(key));
    } else if (part === 4) {
      this.model.flush();
      await raw.flushall();
    } else if (part === 3) {
      this.model.evictMarks();
      await raw.del(this.keyspace.marks);
    } else {
      this.model.evict(key, PARTS[part] ?? 'value');
      await raw.del(this.keyspace.all(key)[part] ?? '');
    }
  }

  private async exchange(name: string): Promise<void> {
    const { random, real, model } = this;
    const ours = new Map(random.some(MARKS, 0.4).map((mark) => [mark, this.stamp()]));
    const incarnation = `${random.hex(4)}-${random.hex(8)}`;
    const since = random.chance(0.7) ? this.since : undefined;
    const answer = real.exchangeMarks(ours, incarnation, since?.real);
    await same(name, answer, () => model.exchangeMarks(ours, incarnation, since?.model));
    const { marks } = model.check([]);
    const told = await answer.catch(() => undefined);
    this.since = told && marks && { real: told, model: marks };
  }

  private async reclaim(name: string): Promise<void> {
    const { real, model } = this;
    const clear = this.stamp();
    const reclaimed = real.reclaim({ clear, pause: () => Promise.resolve() });
    await same(name, reclaimed, () =>
      model.remove(model.headers().filter(({ version }) => version <= clear)),
    );
  }

  private async list(name: string): Promise<void> {
    const { real, model } = this;
    const found: LiveKey[] = [];
    for await (const page of real.keys('')) found.push(...page);
    const byKey = (a: { readonly key: string }, b: { readonly key: string }): number =>
      a.key < b.key ? -1 : 1;
    await same(name, Promise.resolve(found.sort(byKey)), () => model.headers().sort(byKey));
    await same(name, real.values(KEYS), () => model.values(KEYS));
  }
}

async function same(name: string, real: Promise<unknown>, model: () => unknown): Promise<void> {
  const [theirs, ours] = [await outcomeOf(() => real), await outcomeOf(model)];
  expect({ name, outcome: ours }).toEqual({ name, outcome: theirs });
}

/**
 * What it says; not what time it is, nor in which words it refuses. Whether it was empty, when it made the marks anew,
 * depends on whether it has swept what has expired.
 */
async function outcomeOf(call: () => unknown): Promise<unknown> {
  try {
    return comparable(await call());
  } catch (error) {
    if (error instanceof StorageUnavailableError) return 'unavailable';
    throw error;
  }
}

function comparable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(comparable);
  if (value instanceof Uint8Array) return Buffer.from(value).toString();
  if (value instanceof Map || typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).filter(
    ([name]) => !['redisMs', 'reason', 'ofAll', 'forMs'].includes(name),
  );
  return Object.fromEntries(
    fields.map(([name, field]) => {
      return [name, name === 'incarnation' ? String(field).replace(/^.*-/, '') : comparable(field)];
    }),
  );
}

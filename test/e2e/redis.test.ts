import { setTimeout as sleep } from 'node:timers/promises';
import { createHash, randomUUID } from 'node:crypto';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { Athena } from '../support/athena.js';
import { RedisServer } from '../support/redis-server.js';

const TIMEOUT_MS = 250;
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const fresh = () => ({ type: 'deobfuscate', content: `console.log(${JSON.stringify(randomUUID())});` });

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()));
});

async function startRedis(server: Promise<RedisServer> = RedisServer.start()): Promise<RedisServer> {
  const redis = await server;
  closing.push(() => redis.close());
  return redis;
}

async function startAthena(redis: RedisServer, variables: Record<string, string> = {}): Promise<Athena> {
  const athena = await Athena.start({ REDIS_ENABLED: 'true', REDIS_URL: redis.url, ...variables });
  closing.push(() => athena.remove());
  return athena;
}

/** What one instance has done the other one knows within milliseconds. */
async function until404(athena: Athena, path: string): Promise<void> {
  while ((await athena.fetch(path)).status !== 404) await sleep(5);
}

const statusOf = async (response: Promise<Response>): Promise<string> =>
  (await response).headers.get('cache-status') ?? '';

/** Asks again and again, one known and one new file in turn, until told to stop; what came back. */
function loop(
  athena: Athena,
  known: object,
): { stop: () => Promise<{ failed: number; slowestHitMs: number; count: number }> } {
  const stop = new AbortController();
  const outcome = { failed: 0, slowestHitMs: 0, count: 0 };
  const run = (async () => {
    while (!stop.signal.aborted) {
      const begun = performance.now();
      const hit = await athena.post(known).catch(() => undefined);
      outcome.slowestHitMs = Math.max(outcome.slowestHitMs, performance.now() - begun);
      const miss = await athena.post(fresh()).catch(() => undefined);
      outcome.failed += [hit, miss].filter((response) => response?.status !== 200).length;
      outcome.count += 2;
    }
    return outcome;
  })();
  return {
    stop: () => {
      stop.abort();
      return run;
    },
  };
}

describe('two instances on one Redis', () => {
  it('share what one of them computed, and forget together', async () => {
    const redis = await startRedis();
    const [a, b] = await Promise.all([startAthena(redis), startAthena(redis)]);
    const body = fresh();
    expect(await statusOf(a.post(body))).toBe('athena; fwd=miss; stored');
    expect(await statusOf(b.post(body))).toMatch(/^athena; hit; ttl=\d+; detail=redis$/);
    const path = `/v1/analyses/${sha256(body.content)}`;
    expect((await b.fetch(path)).status).toBe(200);
    expect((await b.fetch(path, { method: 'DELETE' })).status).toBe(200);
    await until404(a, path);
    expect(await statusOf(a.post(body))).toBe('athena; fwd=miss; stored');
    expect((await b.fetch('/v1/cache', { method: 'DELETE' })).status).toBe(204);
    await until404(a, path);
    expect(await statusOf(a.post(body))).toBe('athena; fwd=miss; stored');
    const tags = [`file:${sha256(body.content)}`, 'type:none'];
    const invalidated = await b.fetch('/v1/cache/invalidate', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ tags }),
    });
    expect([invalidated.status, await invalidated.json()]).toEqual([200, { tags, landed: 'redis' }]);
    await until404(a, path);
    expect(await statusOf(a.post(body))).toBe('athena; fwd=miss; stored');
  });

  it('do not share what is encrypted with another key, nor under another prefix', async () => {
    const redis = await startRedis();
    const keys = (fill: number) => `k1:${Buffer.alloc(32, fill).toString('base64')}`;
    const [a, b, c] = await Promise.all([
      startAthena(redis, { CACHE_ENCRYPTION_KEYS: keys(1) }),
      startAthena(redis, { CACHE_ENCRYPTION_KEYS: keys(2) }),
      startAthena(redis, { REDIS_KEY_PREFIX: 'other:' }),
    ]);
    const body = fresh();
    await a.post(body);
    expect(await statusOf(a.post(body))).toMatch(/^athena; hit; /);
    expect(await statusOf(b.post(body))).toBe('athena; fwd=miss; stored');
    expect(await statusOf(c.post(body))).toBe('athena; fwd=miss; stored');
  });
});

describe('Redis may fail:', () => {
  it('not there at start: starts, serves, and finds it later', async () => {
    const redis = await startRedis(RedisServer.absent());
    const begun = performance.now();
    const athena = await startAthena(redis);
    expect(performance.now() - begun).toBeLessThan(10_000);
    const body = fresh();
    expect(await statusOf(athena.post(body))).toBe('athena; fwd=miss; stored');
    expect(await statusOf(athena.post(body))).toMatch(/hit; .*detail=memory/);
    const health = await athena.fetch('/health');
    expect(health.status).toBe(200);
    expect(await health.json()).toMatchObject({
      status: 'degraded',
      details: { redis: { status: 'degraded', state: 'connecting', serving: 'memory' } },
    });
    expect((await athena.fetch('/health/ready')).status).toBe(200);
    await redis.up();
    await athena.log(({ event }) => event === 'redis.ready');
    expect(await athena.log(({ event }) => event === 'cache.merge_done')).toMatchObject({ merged: 1 });
    expect(await statusOf(athena.post(body))).toMatch(/^athena; hit; .*detail=(memory|redis)/);
    const other = await startAthena(redis);
    expect(await statusOf(other.post(body))).toMatch(/hit; .*detail=redis/);
  });

  it('killed -9 under a loop of requests: none fails, and it comes back', async () => {
    const redis = await startRedis();
    const athena = await startAthena(redis);
    const known = fresh();
    await athena.post(known);
    const requests = loop(athena, known);
    await redis.kill();
    const closed = await athena.log(({ event }) => event === 'redis.close');
    expect(closed.level).toBe(40);
    expect(await statusOf(athena.post(known))).toMatch(/detail=memory/);
    const from = athena.logs.length;
    await redis.up();
    await athena.log(({ event }) => event === 'redis.ready', from);
    const { failed, count } = await requests.stop();
    expect({ failed, some: count > 0 }).toEqual({ failed: 0, some: true });
    const events = athena.logs.map(({ event }) => event).filter((event) => event !== undefined);
    expect(events.filter((event) => event === 'redis.close')).toHaveLength(1);
    expect(events.filter((event) => event === 'redis.reconnecting').length).toBeLessThanOrEqual(1);
    const health = (await (await athena.fetch('/health')).json()) as object;
    expect(health).toMatchObject({
      status: 'ok',
      details: {
        redis: {
          status: 'up',
          state: 'ready',
          usedMemoryBytes: expect.any(Number),
          latencyMs: expect.any(Number),
        },
        storage: { kind: 'replicated', faults: expect.any(Number) },
        providers: { local: { state: 'up' } },
      },
    });
  });

  it('stopped under a loop of requests: none fails or waits longer than the time-out, and it goes on', async () => {
    const redis = await startRedis();
    const athena = await startAthena(redis, { REDIS_COMMAND_TIMEOUT_MS: String(TIMEOUT_MS) });
    const known = fresh();
    await athena.post(known);
    const requests = loop(athena, known);
    redis.freeze();
    await athena.log(({ event }) => event === 'redis.unresponsive');
    expect(await statusOf(athena.post(known))).toMatch(/detail=memory/);
    const from = athena.logs.length;
    redis.thaw();
    await athena.log(({ event }) => event === 'redis.responsive' || event === 'redis.ready', from);
    const { failed, slowestHitMs } = await requests.stop();
    expect(failed).toBe(0);
    expect(slowestHitMs).toBeLessThan(TIMEOUT_MS * 2);
  });

  it('without the right to track: health and the log say that the instances tell each other', async () => {
    const redis = await startRedis();
    const admin = new Redis(redis.port);
    const rights = ['on', '>secret', '~*', '&*', '+@all', '-client|tracking'];
    await admin.call('ACL', 'SETUSER', 'untracked', ...rights);
    admin.disconnect();
    const athena = await startAthena(redis, { REDIS_URL: redis.url.replace('//', '//untracked:secret@') });
    const said = await athena.log(({ event }) => event === 'redis.invalidation_notices');
    expect(said).toMatchObject({ level: 40, reason: expect.stringMatching(/NOPERM/) });
    expect(await (await athena.fetch('/health')).json()).toMatchObject({
      status: 'ok',
      details: {
        storage: { coherence: { state: 'notices', reason: expect.stringMatching(/NOPERM/) } },
      },
    });
  });

  it('full under noeviction: what it refuses is kept here, and nobody sees an error', async () => {
    const redis = await startRedis(
      RedisServer.start(['--maxmemory', '1', '--maxmemory-policy', 'noeviction']),
    );
    const athena = await startAthena(redis);
    const body = fresh();
    expect(await statusOf(athena.post(body))).toBe('athena; fwd=miss; stored');
    const stats = (await (await athena.fetch('/v1/cache/stats')).json()) as { storage: { faults: number } };
    expect(stats.storage.faults).toBeGreaterThan(0);
  });
});

describe('the local storage', () => {
  it('disk: survives a restart and kill -9', async () => {
    const redis = await startRedis(RedisServer.absent());
    const directory = `${(await startAthena(redis)).directory}/elsewhere`;
    const variables = { CACHE_LOCAL: 'disk', CACHE_DIR: directory };
    const body = fresh();
    const first = await Athena.start(variables);
    await first.post(body);
    await first.kill();
    const second = await Athena.start(variables);
    expect(await statusOf(second.post(body))).toMatch(/hit; .*detail=disk/);
    const { code, stderr } = await Athena.fails(variables);
    expect(code).toBe(1);
    expect(stderr).toContain('is in use by process');
    expect(await second.stop()).toBe(0);
    const third = await Athena.start(variables);
    closing.push(() => third.remove());
    expect(await statusOf(third.post(body))).toMatch(/hit; .*detail=disk/);
  });
});

describe('shutdown', () => {
  it('finishes what runs, then leaves with 0', async () => {
    const redis = await startRedis();
    const athena = await startAthena(redis);
    const running = athena.post({ ...fresh(), content: `${fresh().content}\n`.repeat(500) });
    await athena.log(({ event }) => event === 'redis.ready');
    // The request is on its way once a second one on a connection of its own has been answered.
    await athena.fetch('/health/live');
    const stopped = athena.stop();
    expect((await running).status).toBe(200);
    expect(await stopped).toBe(0);
    expect(athena.logs.map(({ msg }) => msg)).toContain('Closed');
  });

  it('does not wait for a Redis that is stopped', async () => {
    const redis = await startRedis();
    const athena = await startAthena(redis);
    await athena.log(({ event }) => event === 'redis.ready');
    redis.freeze();
    const begun = performance.now();
    expect(await athena.stop()).toBe(0);
    expect(performance.now() - begun).toBeLessThan(5000);
    redis.thaw();
  });
});

import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { Cache } from '../../../src/cache/cache.js';
import { LEASE_MS } from '../../../src/cache/replication/lease.js';
import { startArmedStorage } from '../../support/armed-storage.js';
import { ownRedis } from '../../support/own-redis.js';

const redis = ownRedis();
const { open } = redis;

async function start(): Promise<Cache> {
  const storage = await startArmedStorage(redis.server.port, { heartbeatMs: 100, timeoutMs: 300 });
  open.push(storage);
  return new Cache({ storage });
}

const fleet = (): Promise<Cache[]> => Promise.all([start(), start(), start()]);

/** A factory that counts its runs, and ends when it is told to. */
function counted<T>(value: T) {
  const gate = Promise.withResolvers<T>();
  const counts = { runs: 0 };
  const begun = Promise.withResolvers<void>();
  return {
    counts,
    begun: begun.promise,
    end: () => gate.resolve(value),
    fail: (error: Error) => gate.reject(error),
    factory: () => {
      counts.runs += 1;
      begun.resolve();
      return gate.promise;
    },
  };
}

describe('one computation over all instances', () => {
  it('runs the factory once for 1500 calls of one cold key on three instances', async () => {
    const caches = await fleet();
    const { factory, counts, begun, end } = counted({ n: 1 });
    const calls = caches.flatMap((cache) =>
      Array.from({ length: 500 }, () => cache.getOrSet('cold', factory)),
    );
    await begun;
    await sleep(50);
    end();
    const values = await Promise.all(calls);
    expect(values.every((value) => value.n === 1)).toBe(true);
    expect(counts.runs).toBe(1);
    expect(caches.map((cache) => cache.stats().computed).sort()).toEqual([0, 0, 1]);
    expect(await redis.raw.keys('t:*:o:*')).toEqual([]);
  });

  it('runs it once on each instance while Redis is away', async () => {
    const caches = await fleet();
    redis.server.freeze();
    const { factory, counts, end } = counted(1);
    const calls = caches.flatMap((cache) =>
      Array.from({ length: 500 }, () => cache.getOrSet('cold', factory)),
    );
    while (counts.runs < 3) await sleep(5);
    end();
    await Promise.all(calls);
    redis.server.thaw();
    expect(counts.runs).toBe(3);
  });

  it('gives the waiters of another instance the result as soon as it is there', async () => {
    const [a, b] = await fleet();
    const first = counted('value');
    const holder = a?.getOrSet('key', first.factory);
    await first.begun;
    const waiter = b?.resolve('key', () => 'never');
    await sleep(100);
    first.end();
    await holder;
    const endedMs = performance.now();
    expect(await waiter).toMatchObject({ kind: 'collapsed', entry: { value: 'value' } });
    // A look without being told would come after a second.
    expect(performance.now() - endedMs).toBeLessThan(500);
  });

  it('lets the next one compute when the factory fails, one after the other', async () => {
    const caches = await fleet();
    const first = counted('never');
    const failing = caches[0]?.getOrSet('key', first.factory);
    await first.begun;
    const second = counted('second');
    const waiting = caches.slice(1).map((cache) => cache.getOrSet('key', second.factory));
    first.fail(new Error('broken'));
    await expect(failing).rejects.toThrow('broken');
    await second.begun;
    second.end();
    expect(await Promise.all(waiting)).toEqual(['second', 'second']);
    expect(second.counts.runs).toBe(1);
  });

  it('never overtakes a delete, clear or invalidation that comes during the run', async () => {
    const [a, b] = await fleet();
    for (const change of ['delete', 'clear', 'invalidate'] as const) {
      const first = counted('before');
      const holder = a?.getOrSet('key', first.factory, { tags: ['tag'] });
      await first.begun;
      if (change === 'delete') await b?.delete('key');
      else if (change === 'clear') await b?.clear();
      else await b?.invalidateTags(['tag']);
      const waiter = b?.getOrSet('key', () => 'after', { tags: ['tag'] });
      first.end();
      expect(await holder).toBe('before');
      expect(await waiter).toBe('after');
      while ((await a?.get('key')) !== 'after') await sleep(1);
      await b?.delete('key');
      // Within milliseconds.
      while ((await a?.get('key')) !== undefined) await sleep(1);
    }
  });

  it('takes over from a holder that is gone when its lease has expired', async () => {
    const [a] = await fleet();
    await redis.raw.set('t:default:o:{key}', 'somebody who died', 'PX', 400);
    const begunMs = performance.now();
    expect(await a?.getOrSet('key', () => 'taken over')).toBe('taken over');
    expect(performance.now() - begunMs).toBeGreaterThan(350);
    expect(performance.now() - begunMs).toBeLessThan(1500);
  });

  it('releases what it could not release while Redis was away as soon as that is back', async () => {
    const [a, b] = await fleet();
    const first = counted('value');
    const holder = a?.getOrSet('key', first.factory);
    await first.begun;
    redis.server.freeze();
    first.end();
    expect(await holder).toBe('value');
    redis.server.thaw();
    const backMs = performance.now();
    while (b?.stats().storage.replication?.online !== true) await sleep(5);
    expect(['value', 'own']).toContain(await b.getOrSet('key', () => 'own'));
    expect(performance.now() - backMs).toBeLessThan(LEASE_MS - 1500);
  });

  it('keeps its lease as long as it computes', async () => {
    const [a, b] = await fleet();
    const first = counted('value');
    const holder = a?.getOrSet('key', first.factory);
    await first.begun;
    const waiter = b?.getOrSet('key', () => 'never');
    await sleep(LEASE_MS + 1000);
    first.end();
    expect(await Promise.all([holder, waiter])).toEqual(['value', 'value']);
  });

  it('lets a waiter leave, and the others stay', async () => {
    const [a, b] = await fleet();
    const first = counted('value');
    const holder = a?.getOrSet('key', first.factory);
    await first.begun;
    const leaver = new AbortController();
    const left = b?.getOrSet('key', () => 'never', { signal: leaver.signal });
    const stays = b?.getOrSet('key', () => 'never');
    leaver.abort(new Error('gone'));
    await expect(left).rejects.toThrow('gone');
    first.end();
    expect(await Promise.all([holder, stays])).toEqual(['value', 'value']);
  });

  it('is not joined by who asks for a computation of his own', async () => {
    const [a, b] = await fleet();
    const first = counted('first');
    const holder = a?.getOrSet('key', first.factory);
    await first.begun;
    expect(await b?.getOrSet('key', () => 'own', { mode: 'refresh' })).toBe('own');
    first.end();
    expect(await holder).toBe('first');
    while ((await a?.get('key')) !== 'own') await sleep(1);
  });
});

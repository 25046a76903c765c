import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { LEASE_MS } from '../../src/cache/replication/lease.js';
import type { Answer } from './app-instance.js';
import { InstanceDied } from './app-instance.js';
import { Cluster } from './cluster.js';
import { KEY_PREFIX } from './redis-view.js';

const CALLS = 300;
/** Of machines under load, beside the lease itself. */
const MARGIN_MS = 2000;

interface Computed {
  readonly kind: 'hit' | 'computed' | 'collapsed';
  readonly id: string;
}

describe('one computation over processes', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start();
  });
  afterAll(() => cluster.close());

  const compute = (instance: number, key: string, factoryMs: number): Promise<Answer> =>
    cluster
      .instance(instance)
      .call('getOrSet', { key, id: `${key} by ${instance}`, size: 60, factoryMs, ttlMs: 60_000 });
  const resultsOf = (answers: readonly Answer[]): Computed[] =>
    answers.map(({ result }) => result as Computed);
  const leased = async (key: string): Promise<void> => {
    while ((await cluster.admin.exists(`${KEY_PREFIX}default:o:{${key}}`)) === 0) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  };

  it('is taken over by one other, within the lease, when its holder is killed', async () => {
    const dying = compute(0, 'killed', 60_000).catch((error: unknown) => error);
    await leased('killed');
    const waiting = [1, 2].flatMap((instance) =>
      Array.from({ length: CALLS }, () => compute(instance, 'killed', 50)),
    );
    const killedMs = performance.now();
    await cluster.instance(0).kill();
    expect(await dying).toBeInstanceOf(InstanceDied);
    const results = resultsOf(await Promise.all(waiting));
    expect(performance.now() - killedMs).toBeLessThan(LEASE_MS + MARGIN_MS);
    expect(results.filter(({ kind }) => kind === 'computed')).toHaveLength(1);
    expect(new Set(results.map(({ id }) => id)).size).toBe(1);
    await cluster.instance(0).start();
    await cluster.merged();
  });

  it('is one more at most when its holder is stopped, and its late result replaces nothing', async () => {
    const holder = compute(0, 'stopped', 100);
    await leased('stopped');
    cluster.instance(0).signal('SIGSTOP');
    const waiting = [1, 2].flatMap((instance) =>
      Array.from({ length: CALLS }, () => compute(instance, 'stopped', 50)),
    );
    const results = resultsOf(await Promise.all(waiting));
    expect(results.filter(({ kind }) => kind === 'computed')).toHaveLength(1);
    cluster.instance(0).signal('SIGCONT');
    // Where its connection did not survive the stop, it learns that at the merge.
    const { write } = (await holder).result as { write: string };
    expect(['superseded', 'outbox']).toContain(write);
    await cluster.merged();
    for (const instance of cluster.instances) {
      expect(await instance.ask('get', { key: 'stopped' })).toBe(results[0]?.id);
    }
  });
});

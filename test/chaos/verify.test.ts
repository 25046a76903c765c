import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Keyspace } from '../../src/cache/redis/keyspace.js';
import { Cluster } from './cluster.js';
import { epochMs } from './generator.js';
import type { Kind, Outcome } from './history.js';
import { History } from './history.js';
import { KEY_PREFIX, NAMESPACE } from './redis-view.js';
import { verify } from './verify.js';

const RULES = { redisKeptAll: true, mayLoseValues: false, slowestCallMs: undefined };

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(() => cluster.close());

const physical = (key: string): string => new Keyspace(KEY_PREFIX, NAMESPACE).physical(key);

/** Does it through an instance, and writes it down. */
async function act(
  history: History,
  instance: number,
  kind: Kind,
  key: string,
  value?: string,
): Promise<void> {
  const from = epochMs();
  const input = { key, id: value, size: 20, ttlMs: 3_600_000, tags: [] };
  await cluster.instance(instance).ask(kind, input);
  const endedAt = epochMs();
  const outcome: Outcome = 'redis';
  const { life } = cluster.instance(instance);
  const facts = { durationMs: 1, stalledMs: 0, expiresAt: Infinity, outcome, tags: [] };
  history.add({ ...facts, life, kind, key, value, from, to: endedAt, endedAt });
}

const found = async (history: History) => {
  const findings = await verify(cluster, history, RULES);
  return findings.map(({ violation, key }) => `${violation}: ${key}`);
};

it('finds nothing where nothing is wrong', async () => {
  const history = new History();
  await act(history, 0, 'set', 'a', 'a1');
  await act(history, 1, 'set', 'a', 'a2');
  await act(history, 2, 'set', 'b', 'b1');
  await act(history, 0, 'delete', 'b');
  expect(await found(history)).toEqual([]);
});

it('finds a write that was taken out of Redis', async () => {
  const history = new History();
  await act(history, 0, 'set', 'lost', 'v1');
  await cluster.admin.del(physical('lost'));
  expect(await found(history)).toContain('lost write: lost');
});

it('finds an old value that was put back after its delete', async () => {
  const history = new History();
  await act(history, 0, 'set', 'back', 'v1');
  const bytes = (await cluster.admin.getBuffer(physical('back'))) ?? '';
  await act(history, 1, 'delete', 'back');
  await cluster.admin.set(physical('back'), bytes);
  expect(await found(history)).toContain('resurrected: back');
});

it('finds an older value in the place of a newer one, and who disagrees', async () => {
  const history = new History();
  await act(history, 0, 'set', 'older', 'v1');
  const bytes = (await cluster.admin.getBuffer(physical('older'))) ?? '';
  await act(history, 1, 'set', 'older', 'v2');
  await cluster.instance(0).ask('get', { key: 'older' });
  await cluster.proxy(0).refuse();
  await cluster.admin.set(physical('older'), bytes);
  const findings = await found(history);
  await cluster.proxy(0).pass();
  expect(findings).toContain('lost write: older');
  expect(findings).toContain('disagreement: older');
});

it('finds bytes that nobody wrote', async () => {
  const history = new History();
  await act(history, 0, 'set', 'garbage', 'v1');
  await cluster.admin.set(physical('garbage'), 'garbage');
  expect(await found(history)).toContain('unknown value: garbage');
});

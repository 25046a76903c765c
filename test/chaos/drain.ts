import type { Redis } from 'ioredis';
import type { Cluster } from './cluster.js';
import { connected, pendingOf } from './cluster.js';
import { inParallel } from './generator.js';

export interface DrainReport {
  readonly entries: number;
  /** From the moment that Redis could be reached, for the attempts to reconnect are up to two seconds apart. */
  readonly perSecond: number;
  /** Plain SETs of the same size, pipelined by one client, through the same proxy, to the same Redis. */
  readonly rawPerSecond: number;
  /** Entries that are not in Redis after it. */
  readonly missing: number;
}

const VALUE_BYTES = 200;
/** Of an envelope, beside the value. */
const OVERHEAD_BYTES = 120;
const RAW_BATCH = 500;

/** An instance writes so many keys while it is cut off; how fast they arrive once it is back. */
export async function measureDrain(cluster: Cluster, count: number, name: string): Promise<DrainReport> {
  const instance = cluster.instance(0);
  const proxy = cluster.proxy(0);
  const keys = Array.from({ length: count }, (_, n) => `${name}:${n}`);
  await proxy.refuse();
  await inParallel(keys, 32, async (key) => {
    await instance.ask('set', { key, id: key, size: VALUE_BYTES, ttlMs: 3_600_000, tags: [] });
  });
  const entries = pendingOf(await instance.ask('stats'));
  await proxy.pass();
  await connected(instance);
  const begun = performance.now();
  await instance.ask('idle');
  const perSecond = (entries / (performance.now() - begun)) * 1000;
  const client = cluster.admin.duplicate({ port: proxy.port });
  const rawPerSecond = await rawRate(client, count);
  client.disconnect();
  const values = await cluster.view.values(keys);
  return { entries, perSecond, rawPerSecond, missing: values.filter((value, n) => value !== keys[n]).length };
}

async function rawRate(client: Redis, count: number): Promise<number> {
  const value = Buffer.alloc(VALUE_BYTES + OVERHEAD_BYTES, 'x');
  await client.ping();
  const begun = performance.now();
  for (let at = 0; at < count; at += RAW_BATCH) {
    const pipeline = client.pipeline();
    for (let n = at; n < Math.min(at + RAW_BATCH, count); n += 1)
      pipeline.set(`raw:${n}`, value, 'PX', 60_000);
    await pipeline.exec();
  }
  return (count / (performance.now() - begun)) * 1000;
}

import type { AppInstance } from './app-instance.js';
import type { Cluster } from './cluster.js';
import { epochMs } from './generator.js';
import type { History } from './history.js';
import type { Finding, Observation, Rules } from './judge.js';
import { Judge } from './judge.js';

const PAGE = 200;

/** Looks at every key of the history, in every instance and in Redis itself, and judges what is there. */
export async function verify(cluster: Cluster, history: History, rules: Rules): Promise<Finding[]> {
  const { keys } = history;
  const inInstances = await Promise.all(cluster.instances.map((instance) => observe(instance, keys)));
  const inRedis = await observeRedis(cluster, keys);
  const observations = [...inInstances.flat(), ...inRedis];
  return [...deaths(cluster), ...new Judge(history, rules).judge(observations)];
}

async function observe(instance: AppInstance, keys: readonly string[]): Promise<Observation[]> {
  const place = `instance ${instance.index}`;
  const observations: Observation[] = [];
  for (let at = 0; at < keys.length; at += PAGE) {
    const page = keys.slice(at, at + PAGE);
    const atMs = epochMs();
    const values = await instance.ask<(string | null)[]>('getMany', { keys: page });
    observations.push(...page.map((key, n) => ({ place, key, value: values[n] ?? undefined, atMs })));
  }
  return observations;
}

async function observeRedis({ view }: Cluster, keys: readonly string[]): Promise<Observation[]> {
  const atMs = epochMs();
  const values = await view.values(keys);
  return keys.map((key, n) => ({ place: 'redis', key, value: values[n], atMs }));
}

function deaths({ instances }: Cluster): Finding[] {
  return instances.flatMap(({ deaths }) =>
    deaths.splice(0).map((detail) => ({ violation: 'instance died', key: '', detail })),
  );
}

import type { Cluster } from './cluster.js';
import { COMMAND_TIMEOUT_MS, pendingOf } from './cluster.js';
import type { Fault, Scene } from './faults.js';
import { epochMs, Load, SHORT_TTL_MS } from './generator.js';
import { History } from './history.js';
import type { Finding } from './judge.js';
import { CLOCK_MARGIN_MS } from './order.js';
import { Random } from './random.js';
import { verify } from './verify.js';

/** What a call may take beyond the command time-out, by the design's promise of availability. */
export const GRACE_MS = 50;

export interface RoundOptions {
  readonly name: string;
  readonly seed: number;
  readonly faultMs: number;
  /** Load before the fault, and after it. */
  readonly healthyMs?: number;
}

export interface RoundReport {
  readonly fault: string;
  readonly seed: number;
  readonly operations: number;
  readonly outcomes: Readonly<Record<string, number>>;
  /** Of any call from the beginning of the fault to the end of the merge, without stalls of the event loop. */
  readonly slowestMs: number;
  /** From the end of the fault until all were connected, and nothing was pending. */
  readonly mergeMs: number;
  readonly pendingAtEnd: number;
  readonly findings: readonly Finding[];
  /** The history of the first keys with findings. */
  readonly histories: readonly string[];
}

const HISTORIES = 3;

/** Load, a fault under load, its end under load, the merge, and what is then where. */
export async function playRound(cluster: Cluster, fault: Fault, options: RoundOptions): Promise<RoundReport> {
  const { name, seed, faultMs, healthyMs = 200 } = options;
  const random = new Random(seed);
  const history = new History();
  const load = new Load({ instances: cluster.instances, history, seed: random.below(2 ** 32), name });
  const scene: Scene = { cluster, load, random, wait: (share) => pause(faultMs * share) };
  const clears = random.chance(0.3);

  await pause(healthyMs);
  const brokenAt = epochMs();
  await fault.begin(scene);
  await pause(faultMs / 2);
  if (clears) await load.clear(random.pick(cluster.instances));
  await pause(faultMs / 2);
  const pendingAtEnd = pendingOf(await Promise.all(cluster.instances.map((one) => one.ask('stats'))));
  await fault.end(scene);
  const healedAt = epochMs();
  await pause(healthyMs);
  await load.stop();
  const stoppedAt = epochMs();
  const unmerged = await cluster.merged().then(
    () => undefined,
    (error: unknown) => error,
  );
  const mergeMs = epochMs() - healedAt;
  await pause(stoppedAt + SHORT_TTL_MS + 2 * CLOCK_MARGIN_MS - epochMs());

  const findings = await verify(cluster, history, {
    redisKeptAll: fault.losesData !== true,
    mayLoseValues: fault.losesValues === true,
    slowestCallMs: COMMAND_TIMEOUT_MS + GRACE_MS,
  });
  if (unmerged !== undefined)
    findings.unshift({ violation: 'not merged', key: '', detail: String(unmerged) });
  return {
    fault: fault.name,
    seed,
    operations: history.operations.length,
    outcomes: count(history.operations.map(({ outcome }) => outcome)),
    slowestMs: slowest(history, brokenAt),
    mergeMs,
    pendingAtEnd,
    findings,
    histories: histories(findings, history),
  };
}

function slowest(history: History, fromMs: number): number {
  const during = history.operations.filter(({ endedAt }) => endedAt >= fromMs);
  return during.reduce((max, { durationMs, stalledMs }) => Math.max(max, durationMs - stalledMs), 0);
}

function count(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

function histories(findings: readonly Finding[], history: History): string[] {
  const keys = [...new Set(findings.map(({ key }) => key))].filter((key) => key !== '');
  return keys.slice(0, HISTORIES).map((key) => `${key}\n${history.tell(key)}`);
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));

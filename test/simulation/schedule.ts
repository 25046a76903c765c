import type { Cast } from './motifs.js';
import { motifOf } from './motifs.js';
import { Random } from './random.js';
import type { Cut } from './simulated-network.js';

/** One thing that somebody does, or that happens to them. */
export type Action =
  | {
      readonly kind: 'set';
      readonly node: number;
      readonly key: string;
      readonly lifeMs: number;
      readonly tags: readonly string[];
      readonly pad: number;
    }
  | { readonly kind: 'delete'; readonly node: number; readonly key: string }
  | { readonly kind: 'clear'; readonly node: number }
  | { readonly kind: 'invalidate'; readonly node: number; readonly tags: readonly string[] }
  | {
      readonly kind: 'compute';
      readonly node: number;
      readonly key: string;
      readonly lifeMs: number;
      readonly tags: readonly string[];
      readonly runMs: number;
      /** Or whoever else computes it now. */
      readonly joins: boolean;
    }
  | { readonly kind: 'read'; readonly node: number; readonly keys: readonly string[] }
  | Fault;

export type EvictedPart = 'value' | 'guard' | 'fence' | 'lease' | 'all';

export type Fault =
  | { readonly kind: 'cut'; readonly node: number; readonly what: Cut; readonly forMs: number }
  | { readonly kind: 'reset'; readonly node: number; readonly forMs: number }
  | {
      readonly kind: 'weather';
      readonly node: number;
      readonly delayMs: number;
      readonly lossRate: number;
      readonly twiceRate: number;
      readonly forMs: number;
    }
  | {
      readonly kind: 'channel';
      readonly node: number;
      readonly how: 'close' | 'freeze' | 'slow';
      readonly forMs: number;
    }
  | { readonly kind: 'stop'; readonly forMs: number }
  | {
      readonly kind: 'restart';
      readonly forMs: number;
      readonly loses: 'nothing' | 'a second' | 'most' | 'all';
    }
  | {
      readonly kind: 'failover';
      readonly forMs: number;
      readonly lostWrites: number;
      readonly clockMs: number;
    }
  | { readonly kind: 'flush' }
  | { readonly kind: 'evict'; readonly key: string; readonly part: EvictedPart }
  | { readonly kind: 'evict marks' }
  | { readonly kind: 'refuse'; readonly what: 'sets' | 'writes'; readonly forMs: number }
  | { readonly kind: 'step clock'; readonly node: number; readonly byMs: number }
  | { readonly kind: 'step redis'; readonly clockMs: number }
  | { readonly kind: 'crash'; readonly node: number; readonly forMs: number }
  | { readonly kind: 'leap'; readonly byMs: number };

export interface Step {
  /** Of virtual time, from the start. */
  readonly atMs: number;
  readonly action: Action;
}

export interface NodePlan {
  readonly disk: boolean;
  readonly skewMs: number;
  readonly driftPpm: number;
  /** When it starts. */
  readonly startMs: number;
}

export interface Schedule {
  readonly seed: number;
  readonly nodes: readonly NodePlan[];
  readonly keys: readonly string[];
  readonly steps: readonly Step[];
  readonly outboxMaxBytes: number;
  readonly outboxMaxEntries: number;
  readonly maxTagMarks: number;
  /** Whether the marks are evicted just before the cold joiner starts. */
  readonly joinerFindsNoMarks: boolean;
}

export const MAX_LIFE_MS = 2 * 86_400_000;
const [SECOND, MINUTE, HOUR] = [1000, 60_000, 3_600_000];
const LIVES = [SECOND, 2 * SECOND, 5 * SECOND, MINUTE, HOUR, HOUR, 26 * HOUR, MAX_LIFE_MS];
const TAGS = ['red', 'green', 'blue', 'black', 'white', 'grey'];
/** Any two nodes of Redis differ by less than that, and a machine may be off by this much more. */
const REDIS_CLOCK_MS = 50_000;
const SMALL_STEP_MS = 90_000;

const EVICTED = ['value', 'guard', 'fence', 'lease', 'all'] as const satisfies readonly EvictedPart[];

const FAULTS = [
  'cut',
  'reset',
  'weather',
  'channel',
  'stop',
  'restart',
  'failover',
  'flush',
  'evict',
  'evict marks',
  'refuse',
  'step clock',
  'step redis',
  'crash',
  'leap',
] as const satisfies readonly Fault['kind'][];

/** Faults whose exact moment matters. */
const SUDDEN = [
  'crash',
  'reset',
  'channel',
  'flush',
  'refuse',
  'stop',
] as const satisfies readonly Fault['kind'][];
const BURST_RATE = 0.06;
const MOTIF_RATE = 0.35;

/** What is no fault. */
export const CALLS = [
  'set',
  'set',
  'set',
  'delete',
  'delete',
  'compute',
  'read',
  'read',
  'clear',
  'invalidate',
] as const;

/** Everything that can happen. */
export const KINDS: readonly Action['kind'][] = [...new Set([...CALLS, ...FAULTS])];

interface Setting {
  readonly random: Random;
  readonly nodes: readonly NodePlan[];
  readonly keys: readonly string[];
  readonly tags: readonly string[];
}

/** The same for the same seed. Each schedule has only some kinds of faults, so that each kind is also seen alone. */
export function scheduleOf(seed: number): Schedule {
  const random = Random.of(seed, 'schedule');
  const nodes = nodesOf(random);
  const keys = ['a', 'b', 'c', 'd'].slice(0, random.between(1, 4));
  const setting = { random, nodes, keys, tags: TAGS.slice(0, random.between(2, TAGS.length)) };
  const tight = random.chance(0.1);
  return {
    seed,
    nodes,
    keys,
    steps: stepsOf(setting),
    outboxMaxBytes: tight ? random.between(3000, 9000) : 1_000_000,
    outboxMaxEntries: tight && random.chance(0.5) ? random.between(2, 4) : 1000,
    maxTagMarks: random.chance(0.15) ? random.between(1, 4) : 100,
    joinerFindsNoMarks: random.chance(0.2),
  };
}

function nodesOf(random: Random): NodePlan[] {
  return Array.from({ length: random.between(3, 6) }, () => ({
    disk: random.chance(0.4),
    skewMs: random.chance(0.5) ? 0 : random.between(-5 * MINUTE, 5 * MINUTE),
    driftPpm: random.between(-50, 50),
    startMs: random.chance(0.8) ? random.between(0, 20) : random.between(0, 8000),
  }));
}

function stepsOf(setting: Setting): Step[] {
  const { random } = setting;
  const faults = random.some(FAULTS, random.pick([0.15, 0.3, 0.6]));
  const faultRate = faults.length === 0 ? 0 : random.pick([0.06, 0.15, 0.3]);
  const paceMs = random.pick([20, 150, 500]);
  const motifRate = random.chance(MOTIF_RATE) ? 0.03 : 0;
  const steps: Step[] = [];
  const count = random.between(60, 150);
  for (let atMs = 100; steps.length < count; atMs += random.skewed(paceMs * 3)) {
    const action = random.chance(faultRate) ? faultOf(random.pick(faults), setting) : callOf(setting);
    steps.push({ atMs, action });
    if (random.chance(BURST_RATE)) atMs = burst(steps, action, atMs, setting);
    if (random.chance(motifRate)) steps.push(...motifOf(castOf(setting), atMs));
  }
  return steps.sort((a, b) => a.atMs - b.atMs);
}

function castOf({ random, nodes, keys }: Setting): Cast {
  const first = random.between(0, nodes.length - 1);
  const after = (count: number): number => (first + count) % nodes.length;
  return { random, keys, nodes: [first, after(1), after(2)] };
}

/** What comes right after: more of the same node and key, within what a request, a reply or a commit takes. */
function burst(steps: Step[], first: Action, startMs: number, setting: Setting): number {
  const { random } = setting;
  let atMs = startMs;
  for (let count = random.between(1, 4); count > 0; count -= 1) {
    atMs += random.between(0, 5);
    const next = random.chance(0.15) ? faultOf(random.pick(SUDDEN), setting) : callOf(setting);
    const node = 'node' in first && 'node' in next ? { node: first.node } : {};
    const key = 'key' in first && 'key' in next ? { key: first.key } : {};
    steps.push({ atMs, action: { ...next, ...node, ...key } as Action });
  }
  return atMs;
}

function callOf({ random, nodes, keys, tags }: Setting): Action {
  const kind = random.pick(CALLS);
  const node = random.between(0, nodes.length - 1);
  const key = random.pick(keys);
  const draft = { lifeMs: random.pick(LIVES), tags: random.some(tags, 0.25) };
  switch (kind) {
    case 'set':
      return { kind, node, key, ...draft, pad: random.skewed(300) };
    case 'delete':
      return { kind, node, key };
    case 'compute':
      return {
        kind,
        node,
        key,
        ...draft,
        runMs: random.skewed(random.pick([50, 3000, 12_000])),
        joins: random.chance(0.6),
      };
    case 'read':
      return { kind, node, keys: random.chance(0.5) ? [key] : keys };
    case 'clear':
      return random.chance(0.3) ? { kind, node } : { kind: 'read', node, keys };
    case 'invalidate':
      return { kind, node, tags: [random.pick(tags), ...random.some(tags, 0.1)] };
  }
}

function faultOf(kind: Fault['kind'], { random, nodes, keys }: Setting): Fault {
  const node = random.between(0, nodes.length - 1);
  const forMs = random.skewed(random.pick([300, 2000, 8000]));
  switch (kind) {
    case 'cut':
      return { kind, node, what: random.pick(['requests', 'replies', 'both', 'both'] as const), forMs };
    case 'reset':
      return { kind, node, forMs: random.chance(0.3) ? 0 : forMs };
    case 'weather':
      return {
        kind,
        node,
        delayMs: random.pick([3, 40, 120, 400]),
        lossRate: random.pick([0, 0, 0.1, 0.4]),
        twiceRate: random.pick([0, 0.2, 0.5]),
        forMs: forMs * 2,
      };
    case 'channel':
      return { kind, node, how: random.pick(['close', 'freeze', 'freeze', 'slow'] as const), forMs };
    case 'stop':
      return { kind, forMs };
    case 'restart':
      return { kind, forMs, loses: random.pick(['nothing', 'a second', 'most', 'all'] as const) };
    case 'failover':
      return { kind, forMs, lostWrites: random.between(0, 6), clockMs: redisClock(random) };
    case 'flush':
    case 'evict marks':
      return { kind };
    case 'evict':
      return { kind, key: random.pick(keys), part: random.pick(EVICTED) };
    case 'refuse':
      return { kind, what: random.pick(['sets', 'writes'] as const), forMs };
    case 'step clock':
      return {
        kind,
        node,
        byMs: random.chance(0.2) ? 20 * MINUTE : random.between(-SMALL_STEP_MS, SMALL_STEP_MS),
      };
    case 'step redis':
      return { kind, clockMs: redisClock(random) };
    case 'crash':
      return { kind, node, forMs };
    case 'leap':
      return { kind, byMs: random.pick([2 * SECOND, MINUTE, 2 * HOUR, 25 * HOUR, 50 * HOUR]) };
  }
}

const redisClock = (random: Random): number => random.between(-REDIS_CLOCK_MS, REDIS_CLOCK_MS);

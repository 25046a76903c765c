import type { Random } from './random.js';
import type { Action, Step } from './schedule.js';

/** Who and what an interleaving is about. */
export interface Cast {
  readonly random: Random;
  /** Some nodes, all different where there are enough. */
  readonly nodes: readonly [number, number, number];
  readonly keys: readonly string[];
}

type Motif = (cast: Cast, key: string) => readonly (readonly [afterMs: number, action: Action])[];

const [SECOND, MINUTE, HOUR] = [1000, 60_000, 3_600_000];

const set = (node: number, key: string, lifeMs = HOUR): Action => {
  return { kind: 'set', node, key, lifeMs, tags: [], pad: 1 };
};
const remove = (node: number, key: string): Action => ({ kind: 'delete', node, key });
const read = (node: number, key: string): Action => ({ kind: 'read', node, keys: [key] });

const channel = (node: number, how: 'close' | 'freeze' | 'slow', forMs: number): Action => {
  return { kind: 'channel', node, how, forMs };
};
const compute = (node: number, key: string, runMs: number): Action => {
  return { kind: 'compute', node, key, lifeMs: HOUR, tags: [], runMs, joins: true };
};

/** Interleavings that take more than chance to come about; what happens beside them is left to chance. */
const MOTIFS: readonly Motif[] = [
  // Redis comes back with what it had saved long before.
  ({ nodes: [a, b] }, key) => [
    [0, set(a, key)],
    [20, remove(b, key)],
    [30, { kind: 'leap', byMs: MINUTE }],
    [30, { kind: 'restart', forMs: 100, loses: 'most' }],
  ],
  // Who deleted dies, and Redis forgets; somebody has read that it is gone.
  ({ nodes: [a, b, c] }, key) => [
    [0, set(a, key)],
    [20, remove(b, key)],
    [20, read(c, key)],
    [20, { kind: 'crash', node: b, forMs: 10 * SECOND }],
    [10, { kind: 'failover', forMs: 50, lostWrites: 2, clockMs: 0 }],
  ],
  // Redis loses its data while an instance is away.
  ({ nodes: [a, b] }, key) => [
    [0, set(a, key)],
    [SECOND, { kind: 'crash', node: a, forMs: 3 * SECOND }],
    [20, remove(b, key)],
    [20, { kind: 'flush' }],
  ],
  // More deletes than a small outbox can hold.
  ({ nodes: [a], keys }) => [
    [0, { kind: 'cut', node: a, what: 'both', forMs: 2 * SECOND }],
    [0, { kind: 'reset', node: a, forMs: 2 * SECOND }],
    ...keys.map((key): [number, Action] => [10, remove(a, key)]),
  ],
  // A reply is on its way while the loss is noticed.
  ({ nodes: [a], random }, key) => [
    [0, { kind: 'weather', node: a, delayMs: 240, lossRate: 0, twiceRate: 0, forMs: 30 }],
    [1, remove(a, key)],
    [random.between(10, 60), { kind: 'flush' }],
    [1, read(a, key)],
    [1, read(a, key)],
  ],
  // What waited is taken, and what replaces it meanwhile is refused.
  ({ nodes: [a], random }, key) => [
    [0, { kind: 'weather', node: a, delayMs: 80, lossRate: 0, twiceRate: 0, forMs: 3 * SECOND }],
    [0, { kind: 'reset', node: a, forMs: 50 }],
    [10, set(a, key)],
    [random.between(100, 500), set(a, key)],
    [random.between(0, 60), { kind: 'refuse', what: 'sets', forMs: SECOND }],
  ],
  // What changes in a gap of the channel nobody tells again.
  ({ nodes: [a, b], random }, key) => [
    [0, set(b, key)],
    [20, read(a, key)],
    [20, channel(a, 'close', 0)],
    [random.between(0, 60), set(b, key)],
    [random.between(50, 300), read(a, key)],
    [2 * SECOND, read(a, key)],
  ],
  // Nor what changes while it is held up.
  ({ nodes: [a, b], random }, key) => [
    [0, set(b, key)],
    [20, channel(a, 'slow', random.between(0, 3 * SECOND))],
    [random.between(20, 3 * SECOND), read(a, key)],
    [0, channel(a, 'freeze', 10 * SECOND)],
    [random.between(0, 100), set(b, key)],
    [2020, read(a, key)],
    [random.between(20, SECOND), read(a, key)],
  ],
  // News are late, and then there are none.
  ({ nodes: [a, b], random }, key) => [
    [0, set(b, key)],
    [20, channel(a, 'slow', 3 * SECOND)],
    [random.between(20, SECOND), read(a, key)],
    [random.between(300, SECOND), set(b, key)],
    [random.between(0, SECOND), channel(a, 'freeze', 10 * SECOND)],
    [1200, read(a, key)],
    ...Array.from({ length: 5 }, (): [number, Action] => [300, read(a, key)]),
  ],
  // It dies between its answer and its disk.
  ({ nodes: [a], random }, key) => [
    [0, { kind: 'reset', node: a, forMs: 500 }],
    [10, set(a, key)],
    [random.between(0, 4), { kind: 'crash', node: a, forMs: 100 }],
  ],
  // A reply is on its way while the channel is lost, and armed again.
  ({ nodes: [a, b], random }, key) => [
    [0, set(b, key)],
    [20, { kind: 'weather', node: a, delayMs: 240, lossRate: 0, twiceRate: 0, forMs: 200 }],
    [0, channel(a, 'close', 0)],
    [random.between(0, 100), read(a, key)],
    [random.between(0, 100), set(b, key)],
    [2020, read(a, key)],
  ],
  // All want the same, one after the other and at once.
  ({ nodes: [a, b, c], random }, key) => {
    const runMs = random.skewed(7 * SECOND);
    return [
      [0, compute(a, key, runMs)],
      [random.skewed(runMs), compute(b, key, runMs)],
      [random.between(0, 20), compute(c, key, runMs)],
    ];
  },
  // One looks just before another has it.
  ({ nodes: [a, b, c], random }, key) => [
    [0, compute(a, key, 20)],
    [random.between(15, 35), compute(b, key, 20)],
    [random.between(0, 10), compute(c, key, 20)],
  ],
  // Who computes dies; or he is cut off, and what he computes comes late.
  ({ nodes: [a, b, c], random }, key) => [
    [0, compute(a, key, 8 * SECOND)],
    [random.between(0, 20), compute(b, key, 100)],
    [
      random.between(0, 2 * SECOND),
      random.chance(0.5)
        ? { kind: 'crash', node: a, forMs: 20 * SECOND }
        : { kind: 'reset', node: a, forMs: 9 * SECOND },
    ],
    [random.between(0, 6 * SECOND), compute(c, key, 100)],
  ],
];

/** One of them, from a time on. */
export function motifOf(cast: Cast, startMs: number): Step[] {
  const { random, keys } = cast;
  let atMs = startMs;
  return random
    .pick(MOTIFS)(cast, random.pick(keys))
    .map(([afterMs, action]) => {
      atMs += afterMs;
      return { atMs, action };
    });
}

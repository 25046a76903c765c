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

/** What is written and read: the same for every cache, at the same pace. */
export const WRITES = 1000;
export const DELETES = 200;
export const UPDATES = 100;
export const HOT = 100;

/** Rounds of calls before, during and after the outage. */
export const TICKS = { before: 50, during: 200, after: 50 };
const WRITES_PER_TICK = WRITES / TICKS.during;

export const OPERATIONS = ['get, in L1', 'get, not in L1', 'set', 'delete', 'getOrSet, new key'];

/** The keys of one phase never meet those of another: what is counted was written while Redis was away. */
export const nameIn = (phase, what) => `${phase}.${what}`;
export const keyOf = (name, index) => `${name}:${index}`;
/** Fixed width: no value is part of another, so that it can be found among the bytes in Redis. */
export const valueOf = (name, index) => `${name}-${String(index).padStart(6, '0')}`;
export const nameOfValue = (value) => (typeof value === 'string' ? value.split('-')[0] : 'nothing');

/** The calls of one tick, as `[operation, index, call]`. */
export function callsOfTick(cache, phase, tick) {
  const [write, cold, computed, deleted] = ['write', 'cold', 'computed', 'deleted'].map((what) =>
    nameIn(phase, what),
  );
  const calls = Array.from({ length: WRITES_PER_TICK }, (_, step) => {
    const index = tick * WRITES_PER_TICK + step;
    return ['set', index, () => cache.set(keyOf(write, index), valueOf(write, index))];
  });
  calls.push(
    ['get, in L1', tick, () => cache.get(keyOf('hot', tick % HOT))],
    ['get, not in L1', tick, () => cache.get(keyOf(cold, tick))],
    [
      'getOrSet, new key',
      tick,
      () => cache.getOrSet(keyOf(computed, tick), async () => valueOf(computed, tick)),
    ],
    ['delete', tick, () => cache.delete(keyOf(deleted, tick))],
  );
  if (phase === 'during' && tick < UPDATES)
    calls.push(['update', tick, () => cache.set(keyOf('shared', tick), valueOf('updated', tick))]);
  return calls;
}

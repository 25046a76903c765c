import { describe, expect, it } from '@jest/globals';
import type { Life, Operation } from './history.js';
import { History } from './history.js';
import type { Observation, Rules, Violation } from './judge.js';
import { Judge } from './judge.js';

const RULES: Rules = { redisKeptAll: true, mayLoseValues: false, slowestCallMs: 300 };
const NOW = 1_000_000;

const a: Life = { instance: 0, start: 0, durable: () => true };
const b: Life = { instance: 1, start: 0, durable: () => true };
const dead: Life = { instance: 2, start: 0, durable: () => false };

/** An operation of key `k` that began at `from` and took 1 ms. */
function operation(from: number, facts: Partial<Operation>): Operation {
  return {
    life: a,
    kind: 'set',
    key: 'k',
    tags: [],
    value: undefined,
    from,
    to: from + 1,
    endedAt: from + 1,
    durationMs: 1,
    stalledMs: 0,
    outcome: 'redis',
    expiresAt: Infinity,
    ...facts,
  };
}

const set = (from: number, value: string, facts: Partial<Operation> = {}) =>
  operation(from, { kind: 'set', value, ...facts });
const remove = (from: number, facts: Partial<Operation> = {}) =>
  operation(from, { kind: 'delete', ...facts });
const clear = (from: number, facts: Partial<Operation> = {}) =>
  operation(from, { kind: 'clear', key: '', ...facts });
const invalidate = (from: number, tag: string) =>
  operation(from, { kind: 'invalidate', key: '', tags: [tag] });
const read = (from: number, value: string | undefined, facts: Partial<Operation> = {}) =>
  operation(from, { kind: 'read', value, outcome: 'none', ...facts });

const seen = (value: string | undefined, place = 'redis'): Observation => ({
  place,
  key: 'k',
  value,
  atMs: NOW,
});

function judge(
  operations: readonly Operation[],
  observations: readonly Observation[],
  rules: Partial<Rules> = {},
): Violation[] {
  const history = new History();
  for (const each of operations) history.add(each);
  return new Judge(history, { ...RULES, ...rules }).judge(observations).map(({ violation }) => violation);
}

describe('finds nothing in', () => {
  it.each<[string, Operation[], string | undefined]>([
    ['the newest value', [set(0, 'v1'), set(10, 'v2')], 'v2'],
    ['nothing after a delete', [set(0, 'v1'), remove(10)], undefined],
    ['either of two that were written at the same time', [set(0, 'v1'), set(0.5, 'v2', { life: b })], 'v1'],
    [
      'either of two that clocks may have ordered',
      [set(0, 'v1', { outcome: 'outbox' }), set(50, 'v2', { life: b })],
      'v1',
    ],
    ['nothing, if a clear came at the same time', [set(0, 'v1'), clear(0.5, { life: b })], undefined],
    [
      'a value that survived the invalidation of another tag',
      [set(0, 'v1', { tags: ['x'] }), invalidate(500, 'y')],
      'v1',
    ],
    ['what came after a clear', [clear(0), set(500, 'v1', { life: b })], 'v1'],
    ['an expired value that is gone', [set(0, 'v1', { expiresAt: 700 })], undefined],
    ['a loss by an instance that died with it', [set(0, 'v1', { life: dead, outcome: 'outbox' })], undefined],
    [
      'what a dying instance did or did not do',
      [set(0, 'v1'), set(500, 'v2', { life: dead, outcome: 'unknown' })],
      'v1',
    ],
    ['the same, had it done it', [set(0, 'v1'), set(500, 'v2', { life: dead, outcome: 'unknown' })], 'v2'],
  ])('%s', (_, operations, value) => {
    expect(judge(operations, [seen(value), seen(value, 'instance 0')])).toEqual([]);
  });

  it('what was evicted', () => {
    const observations = [seen(undefined), seen('v1', 'instance 0')];
    expect(judge([set(0, 'v1')], observations, { mayLoseValues: true })).toEqual([]);
  });
});

describe('finds', () => {
  it.each<[string, Violation, Operation[], string | undefined]>([
    ['a write that is gone', 'lost write', [set(0, 'v1')], undefined],
    [
      'an acknowledged write that gave way to an older one',
      'lost write',
      [set(0, 'v1'), set(10, 'v2', { life: b })],
      'v1',
    ],
    ['a write from the outbox that is gone', 'lost write', [set(0, 'v1', { outcome: 'outbox' })], undefined],
    ['the return of what was deleted', 'resurrected', [set(0, 'v1'), remove(10, { life: b })], 'v1'],
    [
      'the return of what was deleted offline',
      'resurrected',
      [set(0, 'v1'), remove(500, { life: b, outcome: 'outbox' })],
      'v1',
    ],
    ['the return of what was cleared', 'resurrected', [set(0, 'v1'), clear(500)], 'v1'],
    [
      'the return of what was invalidated',
      'resurrected',
      [set(0, 'v1', { tags: ['x'] }), invalidate(500, 'x')],
      'v1',
    ],
    [
      'the return of what a short-lived value had replaced',
      'resurrected',
      [set(0, 'v1'), set(10, 'v2', { expiresAt: 700 })],
      'v1',
    ],
    [
      'the late result of a factory',
      'resurrected',
      [set(0, 'v1', { kind: 'compute', endedAt: 900 }), remove(500)],
      'v1',
    ],
    ['a value after its time', 'expired value served', [set(0, 'v1', { expiresAt: 700 })], 'v1'],
    ['a value that nobody wrote', 'unknown value', [set(0, 'v1')], 'v0'],
    [
      'a write that was superseded by nothing',
      'lost write',
      [set(0, 'v0'), set(10, 'v1', { outcome: 'superseded' })],
      'v0',
    ],
  ])('%s', (_, violation, operations, value) => {
    expect(judge(operations, [seen(value)])).toEqual([violation]);
  });

  it('two places that disagree', () => {
    const operations = [set(0, 'v1'), set(0.5, 'v2', { life: b })];
    expect(judge(operations, [seen('v1'), seen('v2', 'instance 0')])).toEqual(['disagreement']);
  });

  it('two places that disagree on whether there is anything', () => {
    const operations = [set(0, 'v1'), remove(0.5, { life: b })];
    expect(judge(operations, [seen('v1'), seen(undefined, 'instance 0')])).toEqual(['disagreement']);
  });

  it('an exception', () => {
    expect(judge([remove(0, { outcome: 'error', error: 'Error: no' })], [])).toEqual(['caller error']);
  });

  it('a slow call, unless the process had no time', () => {
    expect(judge([remove(0, { durationMs: 400 })], [])).toEqual(['too slow']);
    expect(judge([remove(0, { durationMs: 400, stalledMs: 150 })], [])).toEqual([]);
  });

  it('an instance that serves what it has deleted itself, while the fault lasts', () => {
    const operations = [set(0, 'v1'), remove(10, { outcome: 'outbox' }), read(20, 'v1'), set(900, 'v2')];
    expect(judge(operations, [seen('v2')])).toEqual(['own write forgotten']);
    const others = [
      set(0, 'v1'),
      remove(10, { outcome: 'outbox' }),
      read(20, 'v1', { life: b }),
      set(900, 'v2'),
    ];
    expect(judge(others, [seen('v2')])).toEqual([]);
  });
});

import { describe, expect, it } from '@jest/globals';
import type { TimedWrite } from './staleness.js';
import { StalenessJudge } from './staleness.js';

const write = (
  value: string | undefined,
  begunAt: number,
  endedAt: number,
  rest: Partial<TimedWrite> = {},
): TimedWrite => ({
  key: 'k',
  begunAt,
  endedAt,
  landed: 'redis',
  ...rest,
  ...(value === undefined ? {} : { value }),
});

const staleMs = (writes: readonly TimedWrite[], value: string, begunAt: number): number =>
  new StalenessJudge(writes).staleMs({ key: 'k', value, begunAt });

describe('a read is not stale', () => {
  it.each<[string, TimedWrite[], number]>([
    ['of the newest value', [write('v0', 0, 1), write('v1', 2, 3)], 9000],
    ['while the next write is not acknowledged', [write('v1', 0, 1), write('v2', 2, 10)], 9],
    ['of either of two that were written at once', [write('v1', 0, 5), write('v2', 4, 6)], 9000],
    [
      'where the next write waits for Redis',
      [write('v1', 0, 1), write('v2', 2, 3, { landed: 'outbox' })],
      9000,
    ],
    [
      'of what waited for Redis itself, and came there at some time',
      [write('v1', 0, 1, { landed: 'outbox' }), write('v2', 2, 3)],
      9000,
    ],
    ['where another key was written', [write('v1', 0, 1), write('v2', 2, 3, { key: 'other' })], 9000],
  ])('%s', (_, writes, begunAt) => {
    expect(staleMs(writes, 'v1', begunAt)).toBe(0);
  });
});

describe('a read is stale', () => {
  it('since the acknowledgement of the write that followed', () => {
    expect(staleMs([write('v1', 0, 1), write('v2', 2, 10)], 'v1', 2510)).toBe(2500);
  });

  it('since the first of several, however many came after', () => {
    const writes = [write('v1', 0, 1), write('v3', 20, 21), write('v2', 2, 10), write('v4', 2500, 2501)];
    expect(staleMs(writes, 'v1', 2510)).toBe(2500);
    expect(staleMs(writes, 'v2', 2510)).toBe(2489);
  });

  it('since the first that was acknowledged of two that followed at once', () => {
    expect(staleMs([write('v1', 0, 1), write('v2', 2, 40), write('v3', 3, 10)], 'v1', 110)).toBe(100);
  });

  it('of what was deleted', () => {
    expect(staleMs([write('v1', 0, 1), write(undefined, 2, 10)], 'v1', 3010)).toBe(3000);
  });

  it('beyond all bounds of what nobody wrote, or not to this key', () => {
    expect(staleMs([write('v1', 0, 1)], 'v9', 2)).toBe(Infinity);
    expect(staleMs([write('v1', 0, 1), write('w', 0, 1, { key: 'other' })], 'w', 2)).toBe(Infinity);
  });
});

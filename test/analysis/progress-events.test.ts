import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { ProgressEvents } from '../../src/analysis/progress-events.js';

const counts = (total: number, failed = 0) => ({ total, succeeded: total - failed, failed, cached: 0 });

describe('ProgressEvents', () => {
  let told: unknown[];
  const { signal } = new AbortController();
  const stream = {
    signal,
    send: async (event: string, data: unknown): Promise<void> => void told.push([event, data]),
  };
  beforeEach(() => {
    told = [];
    jest.useFakeTimers();
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('tells at once, then once an interval, and the latest always', () => {
    const progress = new ProgressEvents(stream, 9, 250);
    for (let total = 1; total <= 4; total += 1) progress.report(counts(total));
    expect(told).toEqual([['progress', { finished: 1, total: 9, failed: 0 }]]);
    jest.advanceTimersByTime(249);
    expect(told).toHaveLength(1);
    jest.advanceTimersByTime(1);
    expect(told.slice(1)).toEqual([['progress', { finished: 4, total: 9, failed: 0 }]]);
    jest.advanceTimersByTime(1000);
    expect(told).toHaveLength(2);
    progress.report(counts(5, 2));
    expect(told.slice(2)).toEqual([['progress', { finished: 5, total: 9, failed: 2 }]]);
  });

  it('says no total where none is known, and nothing after its end', () => {
    const progress = new ProgressEvents(stream, undefined, 250);
    progress.report(counts(1));
    progress.report(counts(2));
    progress.stop();
    jest.advanceTimersByTime(1000);
    expect(told).toEqual([['progress', { finished: 1, failed: 0 }]]);
  });
});

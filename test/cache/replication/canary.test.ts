import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Canary } from '../../../src/cache/replication/canary.js';
import { BACKGROUND_TIMERS } from '../../../src/cache/replication/timers.js';

const HEARTBEAT_MS = 1000;
const TIMEOUT_MS = 1000;

/** A canary, and what became of it; nothing is told unless a test does it. */
function watched(touch: (name: string) => Promise<void> = () => Promise.resolve()) {
  const sent: string[] = [];
  const lags: number[] = [];
  const missedAt: number[] = [];
  const canary = new Canary({
    nameOf: (beat) => `c${beat}`,
    touch: (name) => {
      sent.push(name);
      return touch(name);
    },
    heartbeatMs: HEARTBEAT_MS,
    timeoutMs: TIMEOUT_MS,
    timers: BACKGROUND_TIMERS,
    now: () => performance.now(),
    onHeard: (lagMs) => lags.push(lagMs),
    onMissed: () => missedAt.push(performance.now()),
  });
  return { canary, sent, lags, missedAt };
}

describe('Canary', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  it('is sent again a heartbeat after it was sent, however late it was heard', () => {
    const { canary, sent, lags } = watched();
    canary.send();
    jest.advanceTimersByTime(700);
    canary.told(['other', 'c1']);
    jest.advanceTimersByTime(299);
    expect(sent).toEqual(['c1']);
    jest.advanceTimersByTime(1);
    expect({ sent, lags }).toEqual({ sent: ['c1', 'c2'], lags: [700] });
  });

  it('finds a silence out within a heartbeat and its time-out', () => {
    const { canary, missedAt } = watched();
    const begunMs = performance.now();
    canary.send();
    jest.advanceTimersByTime(999);
    canary.told(['c1']);
    jest.advanceTimersByTime(10_000);
    expect(missedAt.map((ms) => ms - begunMs)).toEqual([HEARTBEAT_MS + TIMEOUT_MS]);
  });

  it('does not take one beat for another, and says nothing after its end', () => {
    const { canary, lags, missedAt } = watched();
    canary.send();
    canary.send();
    canary.told(['c1']);
    expect(lags).toEqual([]);
    canary.stop();
    canary.told(['c2']);
    jest.advanceTimersByTime(10_000);
    expect({ lags, missedAt }).toEqual({ lags: [], missedAt: [] });
  });

  it('takes a key that can not be changed for a change that is not told', async () => {
    const { canary, missedAt } = watched(() => Promise.reject(new Error('away')));
    canary.send();
    await jest.advanceTimersByTimeAsync(TIMEOUT_MS);
    expect(missedAt).toHaveLength(1);
  });
});

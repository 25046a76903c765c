import { beforeEach, describe, expect, it } from '@jest/globals';
import { CircuitState } from 'cockatiel';
import { FailureRatio } from '../../../src/ai/providers/failure-ratio.js';

const { Closed, HalfOpen } = CircuitState;

describe('FailureRatio', () => {
  let nowMs = 0;
  let breaker: FailureRatio;
  const fail = (): boolean => breaker.failure(Closed);
  beforeEach(() => {
    nowMs = 1_000;
    breaker = new FailureRatio({ minFailures: 3, ratio: 0.5, windowMs: 60_000, now: () => nowMs });
  });

  it('opens at so many failures in a row', () => {
    expect([fail(), fail(), fail()]).toEqual([false, false, true]);
  });

  it('does not open while half of the calls succeed', () => {
    for (let round = 0; round < 50; round += 1) {
      breaker.success(Closed);
      expect(fail()).toBe(false);
    }
    expect(fail()).toBe(true);
  });

  it('forgets what is older than the window, however few calls there are', () => {
    expect([fail(), fail()]).toEqual([false, false]);
    nowMs += 60_000;
    expect([fail(), fail(), fail()]).toEqual([false, false, true]);
  });

  it('begins anew after a trial that succeeded', () => {
    for (let call = 0; call < 3; call += 1) fail();
    breaker.success(HalfOpen);
    expect([fail(), fail(), fail()]).toEqual([false, false, true]);
  });

  it('stays open after a trial that failed', () => {
    expect(breaker.failure(HalfOpen)).toBe(true);
  });

  it('keeps no more than a thousand calls', () => {
    for (let call = 0; call < 5_000; call += 1) breaker.success(Closed);
    let failures = 0;
    while (!fail()) failures += 1;
    expect(failures).toBe(500);
  });
});

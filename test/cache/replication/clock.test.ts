import { describe, expect, it } from '@jest/globals';
import { HybridLogicalClock, isAligned, VERSION_LENGTH } from '../../../src/cache/replication/clock.js';

const NODE_A = 'a'.repeat(16);
const NODE_B = 'b'.repeat(16);

describe('HybridLogicalClock', () => {
  it('stamps in lowercase hex of fixed width', () => {
    const stamp = new HybridLogicalClock(NODE_A, () => 1_700_000_000_000).tick();
    expect(stamp).toMatch(/^[0-9a-f]+$/);
    expect(stamp).toHaveLength(VERSION_LENGTH);
    expect(Number.parseInt(stamp.slice(0, 12), 16)).toBe(1_700_000_000_000);
  });

  it('grows within a millisecond, and when time steps back', () => {
    let now = 1000;
    const clock = new HybridLogicalClock(NODE_A, () => now);
    const stamps = [clock.tick(), clock.tick()];
    now = 500;
    stamps.push(clock.tick());
    now = 2000;
    stamps.push(clock.tick());
    expect(stamps).toEqual([...stamps].sort());
    expect(new Set(stamps).size).toBe(4);
  });

  it('carries a full counter into the milliseconds', () => {
    const clock = new HybridLogicalClock(NODE_A, () => 1000);
    let last = '';
    for (let i = 0; i < 70_000; i += 1) {
      const stamp = clock.tick();
      expect(stamp > last).toBe(true);
      last = stamp;
    }
    expect(Number.parseInt(last.slice(0, 12), 16)).toBe(1001);
  });

  it('stamps above what it has observed', () => {
    const ahead = new HybridLogicalClock(NODE_B, () => 5000);
    const clock = new HybridLogicalClock(NODE_A, () => 1000);
    const seen = [ahead.tick(), ahead.tick()];
    for (const stamp of seen) clock.observe(stamp);
    expect(clock.tick() > (seen[1] ?? '')).toBe(true);
  });

  it('follows Redis once it was asked, keeps the better measurement, and tells how far it may be off', () => {
    let now = 1_000_000;
    const clock = new HybridLogicalClock(NODE_A, () => now);
    expect([clock.aligned, isAligned(clock.tick())]).toEqual([false, false]);
    now += 10;
    expect(clock.align(1_060_000, 1_000_000)).toBeGreaterThan(50_000);
    expect([clock.aligned, isAligned(clock.tick())]).toEqual([true, true]);
    expect(Math.abs(clock.time() - 1_060_005)).toBeLessThanOrEqual(clock.errorMs);
    const error = clock.errorMs;
    now += 1000;
    // A slow answer that says the same teaches nothing.
    expect(clock.align(1_061_005 - 200, now - 400)).toBe(0);
    expect(clock.errorMs).toBeLessThan(error + 1);
    now += 86_400_000;
    expect(clock.errorMs).toBeGreaterThan(4000);
  });

  it('believes a step of Redis itself', () => {
    const now = 1_000_000;
    const clock = new HybridLogicalClock(NODE_A, () => now);
    clock.align(now, now);
    expect(clock.align(now + 60_000, now - 100)).toBeGreaterThan(50_000);
  });

  it('ignores stamps that are impossibly far ahead, but not those of its own past', () => {
    const now = 1_000_000;
    const clock = new HybridLogicalClock(NODE_A, () => now);
    clock.align(now, now);
    const far = new HybridLogicalClock(NODE_B, () => now + 10 * 60_000).tick();
    clock.observe(far);
    expect(clock.tick() < far).toBe(true);
    clock.resumeAbove(far);
    expect(clock.tick() > far).toBe(true);
  });

  it('refuses a node id of another form', () => {
    expect(() => new HybridLogicalClock('xyz')).toThrow(RangeError);
  });
});

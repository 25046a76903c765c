import { describe, expect, it } from '@jest/globals';
import type { Mutation } from '../../../src/cache/replication/mutation.js';
import { Outbox } from '../../../src/cache/replication/outbox.js';

const v = (n: number): string => n.toString(16).padStart(32, '0');
const set = (key: string, version: number, bytes = 10): Mutation => ({
  key,
  version: v(version),
  bytes: Buffer.alloc(bytes),
  expiresAt: 1e12,
});
const del = (key: string, version: number): Mutation => ({
  key,
  version: v(version),
  bytes: undefined,
  expiresAt: 0,
});
const open = (maxBytes = 1e6, maxEntries = 1000): Outbox => new Outbox({ maxBytes, maxEntries });
const keys = (batch: readonly Mutation[]): string[] => batch.map(({ key }) => key);

describe('Outbox', () => {
  it('keeps the newest of each key, whatever the order of arrival', () => {
    const outbox = open();
    outbox.add(set('a', 5), 1);
    outbox.add(del('a', 3), 2);
    expect(outbox.get('a')?.mutation.version).toBe(v(5));
    outbox.add(del('a', 6), 3);
    expect(outbox.get('a')?.mutation).toEqual(del('a', 6));
    expect(outbox.pendingCount).toBe(1);
  });

  it('removes with an acknowledgement only the version that it names', () => {
    const outbox = open();
    outbox.add(set('a', 5), 1);
    outbox.add(set('a', 6), 2);
    outbox.acknowledge(set('a', 5), 3);
    expect(outbox.get('a')).toMatchObject({ state: 'pending', mutation: { version: v(6) } });
    outbox.remove({ key: 'a', version: v(5) });
    expect(outbox.pendingCount).toBe(1);
    outbox.acknowledge(set('a', 6), 3);
    expect(outbox.get('a')).toMatchObject({ state: 'acknowledged', mutation: { bytes: undefined } });
  });

  it('sends deletes first, then sets, the oldest first, in batches of a size', () => {
    const outbox = open();
    outbox.add(set('s1', 1, 1000), 1);
    outbox.add(set('s2', 2, 1000), 2);
    outbox.add(del('d1', 3), 3);
    expect(keys(outbox.batch(1e6, 100))).toEqual(['d1', 's1', 's2']);
    expect(keys(outbox.batch(1e6, 2))).toEqual(['d1', 's1']);
    expect(keys(outbox.batch(1, 100))).toEqual(['d1']);
    outbox.hold(del('d1', 3), true);
    expect(keys(outbox.batch(1e6, 100))).toEqual(['s1', 's2']);
  });

  it('holds no newer version that takes the place of a held one', () => {
    const outbox = open();
    outbox.add(set('a', 1), 1);
    outbox.hold(set('a', 1), true);
    outbox.add(set('a', 2), 2);
    outbox.hold(set('a', 1), false);
    expect(keys(outbox.batch(1e6, 100))).toEqual(['a']);
  });

  it('gives way to what somebody else wrote later', () => {
    const outbox = open();
    outbox.add(set('a', 5), 1);
    expect(outbox.see('a', v(4), 'seen', 2)).toBeUndefined();
    expect(outbox.see('a', v(6), 'seen', 2)).toBeDefined();
    expect(outbox.pendingCount).toBe(0);
    outbox.add(set('a', 5), 3);
    expect(outbox.pendingCount).toBe(0);
  });

  it('offers again what Redis may have lost', () => {
    const outbox = open();
    outbox.add(set('a', 5), 1);
    outbox.acknowledge(set('a', 5), 2);
    outbox.reopen('a', v(4), Buffer.alloc(1), 3);
    expect(outbox.pendingCount).toBe(0);
    outbox.reopen('a', v(5), Buffer.alloc(1), 3);
    expect(outbox.batch(1e6, 10)).toHaveLength(1);
  });

  it('forgets what Redis has first, and never a delete that it has not', () => {
    const outbox = open(10_000);
    outbox.add(del('kept', 1), 1);
    outbox.add(set('known', 2), 2);
    outbox.acknowledge(set('known', 2), 3);
    const shrunk: Mutation[] = [];
    for (let n = 3; n < 15; n += 1) shrunk.push(...outbox.add(set(`s${n}`, n, 1000), n).shrunk);
    expect(outbox.get('known')).toBeUndefined();
    expect(outbox.get('kept')?.state).toBe('pending');
    expect(keys(shrunk)).toContain('s3');
    expect(outbox.get('s3')?.mutation).toEqual(del('s3', 3));
    expect(outbox.counts().bytes).toBeLessThanOrEqual(10_000);
  });

  it('sends again no more than there is room for, and never gives up in Redis what it has', () => {
    const outbox = open(10_000);
    for (let n = 1; n <= 8; n += 1) {
      outbox.add(set(`s${n}`, n), 1);
      outbox.acknowledge(set(`s${n}`, n), 2);
    }
    const reopened = [1, 2, 3, 4, 5, 6, 7, 8].map((n) => outbox.reopen(`s${n}`, v(n), Buffer.alloc(1000), 3));
    expect(reopened).toContain(true);
    expect(reopened).toContain(false);
    const shrunk: Mutation[] = [];
    for (let n = 10; n < 16; n += 1) shrunk.push(...outbox.add(set(`n${n}`, n, 1000), n).shrunk);
    expect(keys(shrunk).filter((key) => key.startsWith('s'))).toEqual([]);
    expect(outbox.counts().bytes).toBeLessThanOrEqual(10_000);
  });

  it('knows up to where it has forgotten', () => {
    const outbox = open(1e6, 4);
    for (let n = 1; n <= 4; n += 1) outbox.see(`x${n}`, v(n), 'seen', n);
    expect(outbox.forgottenUpTo).toBe('');
    outbox.add(del('d', 9), 9);
    expect(outbox.forgottenUpTo).toBe(v(1));
  });

  it('folds the oldest tombstones into a clear when they alone are too many', () => {
    const outbox = open(1e6, 8);
    let foldInto: string | undefined;
    for (let n = 1; n <= 9; n += 1) foldInto ??= outbox.add(del(`d${n}`, n), n).foldInto;
    expect(foldInto).toBe(v(3));
    expect(outbox.clearUpTo(v(3))).toEqual(['d1', 'd2', 'd3']);
    expect(outbox.counts()).toMatchObject({ pending: 6, oldestPendingMs: 4 });
  });

  it('forgets sets after their time, and tombstones when nothing older can live', () => {
    const outbox = open();
    for (const [n, mutation] of [set('s1', 1), del('d1', 2), set('s2', 3), del('d2', 4)].entries()) {
      outbox.add(mutation, n);
      outbox.acknowledge(mutation, n);
    }
    outbox.see('x1', v(9), 'seen', 5);
    outbox.see('x2', v(9), 'seen', 6);
    expect(outbox.expire(1, 6, v(4))).toEqual(['s1', 'x1', 'd1']);
    expect(outbox.get('d2')).toBeDefined();
    expect(outbox.get('s2')).toBeDefined();
  });

  it('counts its bytes right through every way in and out', () => {
    const outbox = open();
    const empty = outbox.counts().bytes;
    outbox.add(set('a', 1, 500), 1);
    outbox.add(set('a', 2, 100), 2);
    outbox.refused(set('a', 2));
    outbox.shrink(set('a', 2));
    outbox.acknowledge(del('a', 2), 3);
    outbox.see('a', v(3), 'seen', 4);
    outbox.remove({ key: 'a', version: v(3) });
    expect(outbox.counts().bytes).toBe(empty);
  });
});

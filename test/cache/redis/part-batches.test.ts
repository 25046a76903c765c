import { describe, expect, it } from '@jest/globals';
import { PartBatches } from '../../../src/cache/redis/part-batches.js';

const sizes = (batches: readonly (readonly string[])[]): number[] => batches.map(({ length }) => length);

describe('PartBatches', () => {
  it('puts what is there together, and what comes later into batches of their own', () => {
    const parts = ['a', 'b'];
    const batches = new PartBatches(parts);
    expect(batches.from(0)).toEqual([['a', 'b']]);
    parts.push('c');
    expect(batches.areAllIn(1)).toBe(false);
    expect(batches.from(1)).toEqual([['c']]);
    expect(batches.areAllIn(2)).toBe(true);
    expect(batches.from(2)).toEqual([]);
  });

  it('never changes a batch, so that it can be sent again', () => {
    const parts = ['a'];
    const batches = new PartBatches(parts);
    batches.from(0);
    parts.push('b');
    expect(batches.from(0)).toEqual([['a'], ['b']]);
    expect(batches.from(1)).toEqual([['b']]);
  });

  it('bounds a batch, and what goes at once, but for a part that is larger itself', () => {
    const large = 'x'.repeat(300_000);
    const parts = [...Array.from({ length: 100 }, () => 'x'.repeat(10_000)), large, 'end'];
    const batches = new PartBatches(parts);
    expect(sizes(batches.from(0))).toEqual([6, 6, 6, 6, 6]);
    for (const index of [5, 10]) batches.from(index);
    expect(sizes(batches.from(15))).toEqual([6, 4, 1]);
    expect(batches.from(18)).toEqual([['end']]);
    expect(batches.areAllIn(19)).toBe(true);
  });

  it('adds nothing to a log that has more than was sent', () => {
    const batches = new PartBatches(['a']);
    batches.from(0);
    expect(batches.from(2)).toEqual([]);
    expect(batches.areAllIn(2)).toBe(true);
  });

  it('carries empty parts', () => {
    const parts: string[] = [];
    const batches = new PartBatches(parts);
    expect(batches.from(0)).toEqual([]);
    expect(batches.areAllIn(0)).toBe(true);
    parts.push('', '');
    expect(batches.from(0)).toEqual([['', '']]);
  });
});

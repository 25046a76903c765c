import { describe, expect, it } from '@jest/globals';
import { Marks } from '../../../src/cache/replication/marks.js';

const v = (n: number): string => n.toString(16).padStart(32, '0');
const entry = (version: number, ...tags: string[]) => ({ version: v(version), tags });

describe('Marks', () => {
  it('hide what is at or below them, and concerns them', () => {
    const marks = new Marks(10);
    marks.setTags(['a', 'b'], v(5));
    marks.setClear(v(2));
    expect(marks.hides(entry(2))).toBe(true);
    expect(marks.hides(entry(3))).toBe(false);
    expect(marks.hides(entry(5, 'x', 'b'))).toBe(true);
    expect(marks.hides(entry(6, 'a'))).toBe(false);
    expect(marks.hides(entry(3, 'x'))).toBe(false);
  });

  it('merge by maximum, in any order, and tell news', () => {
    const [a, b] = [new Marks(10), new Marks(10)];
    a.setTags(['x'], v(5));
    b.setTags(['x'], v(7));
    b.setClear(v(1));
    expect(a.merge(b.record())).toBe(true);
    expect(b.merge(a.record())).toBe(false);
    expect([...a.record()].sort()).toEqual([...b.record()].sort());
    a.setTags(['x'], v(3));
    expect(a.hides(entry(7, 'x'))).toBe(true);
  });

  it('stay within their bound: the oldest fold into a floor below which every tagged entry is a miss', () => {
    const marks = new Marks(8);
    for (let n = 1; n <= 9; n += 1) marks.setTags([`tag${n}`], v(n));
    expect(marks.size).toBeLessThanOrEqual(8);
    expect(marks.folded).toBe(9 - marks.size);
    for (let n = 1; n <= 9; n += 1) expect(marks.hides(entry(n, `tag${n}`))).toBe(true);
    expect(marks.hides(entry(1, 'never marked'))).toBe(true);
    expect(marks.hides(entry(1))).toBe(false);
    expect(marks.hides(entry(9, 'never marked'))).toBe(false);
  });

  it('take a folded record of others for what it is', () => {
    const [folded, other] = [new Marks(4), new Marks(4)];
    for (let n = 1; n <= 5; n += 1) folded.setTags([`tag${n}`], v(n));
    other.merge(folded.record());
    for (let n = 1; n <= 5; n += 1) expect(other.hides(entry(n, `tag${n}`))).toBe(true);
  });

  it('are forgotten when what they hide has expired by itself', () => {
    const marks = new Marks(10);
    marks.setTags(['old'], v(1));
    marks.setTags(['new'], v(9));
    marks.expire(v(5));
    expect([...marks.record().keys()]).toEqual(['tag:new']);
  });
});

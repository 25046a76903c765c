import { describe, expect, it } from '@jest/globals';
import { Coherence } from '../../../src/cache/replication/coherence.js';

const armed = (maxKeys = 100): Coherence => {
  const coherence = new Coherence(maxKeys);
  coherence.arm();
  return coherence;
};

describe('Coherence', () => {
  it('knows what was fetched while nothing changed, until it changes', () => {
    const coherence = armed();
    const fill = coherence.begin('a');
    expect(coherence.isChecked('a')).toBe(false);
    coherence.confirm(fill);
    expect(coherence.isChecked('a')).toBe(true);
    coherence.changed('b');
    expect(coherence.isChecked('a')).toBe(true);
    coherence.changed('a');
    expect(coherence.isChecked('a')).toBe(false);
  });

  it('does not believe a fetch that a change has overtaken, and believes the next', () => {
    const coherence = armed();
    const [first, joined] = [coherence.begin('a'), coherence.begin('a')];
    coherence.changed('a');
    const next = coherence.begin('a');
    coherence.confirm(first);
    coherence.confirm(joined);
    expect(coherence.isChecked('a')).toBe(false);
    coherence.confirm(next);
    expect(coherence.isChecked('a')).toBe(true);
  });

  it('knows nothing any more after a gap, also of what was under way', () => {
    const coherence = armed();
    coherence.confirm(coherence.begin('a'));
    const fill = coherence.begin('b');
    coherence.disarm();
    expect(coherence.isChecked('a')).toBe(false);
    coherence.arm();
    coherence.confirm(fill);
    expect([coherence.isChecked('a'), coherence.isChecked('b')]).toEqual([false, false]);
  });

  it('believes nothing while nothing is told', () => {
    const coherence = new Coherence(100);
    coherence.confirm(coherence.begin('a'));
    expect(coherence.isChecked('a')).toBe(false);
  });

  it('stays within its bound, and keeps no fetch that is over', () => {
    const coherence = armed(2);
    for (const key of ['a', 'b', 'c']) coherence.confirm(coherence.begin(key));
    coherence.abandon(coherence.begin('d'));
    expect(['a', 'b', 'c', 'd'].map((key) => coherence.isChecked(key))).toEqual([false, true, true, false]);
    expect(coherence.size).toBe(2);
  });
});

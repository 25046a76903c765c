import { describe, expect, it } from '@jest/globals';
import { isAmbiguous } from '../../../../../src/ai/providers/local/rules/regex-ambiguity.js';

describe('isAmbiguous', () => {
  it.each([
    '(a+)+$',
    '(a*)*b',
    '(a|a)*b',
    '(\\w|\\d)+$',
    '^([a-z]+\\s?)+$',
    '(.*,)*x',
    '(?:a{1,3})*b',
    '^(a?b?)*(ab)*$|(x+x+)+y',
    '([^"]|\\s)*"',
    '(a|[b-z]|c)*!',
  ])('finds %s', (pattern) => {
    expect(isAmbiguous(pattern)).toBe(true);
  });

  it.each([
    'abc',
    'a+b+',
    '^(\\d+)\\.(\\d+)$',
    '^[a-z]+(?:-[a-z]+)*$',
    '("([^"]|"")*"|[^,]*)(,|$)',
    '(a|b)*c',
    '[^\\]]+\\]',
    '^(?:[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,}$',
    '(?=.*\\d).{8,}',
    '\\s+$',
    '(foo|bar)+',
    '^(?:\\\\.|[^\\\\"])*$',
  ])('passes %s', (pattern) => {
    expect(isAmbiguous(pattern)).toBe(false);
  });

  it('sees letters in both cases where case is ignored', () => {
    expect(isAmbiguous('(a|A)*b')).toBe(false);
    expect(isAmbiguous('(a|A)*b', 'i')).toBe(true);
  });

  it('says that it does not know what is too complex', () => {
    expect(isAmbiguous('(a)\\1*')).toBeUndefined();
    expect(isAmbiguous('\\p{L}+')).toBeUndefined();
    expect(isAmbiguous(`${'a'.repeat(2_000)}*`)).toBeUndefined();
    expect(isAmbiguous('(['.repeat(20_000) + '*')).toBeUndefined();
    expect(isAmbiguous('(a*')).toBeUndefined();
  });
});

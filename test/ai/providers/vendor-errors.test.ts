import { describe, expect, it } from '@jest/globals';
import { retryAfterOf } from '../../../src/ai/providers/vendor-errors.js';

const NOW = Date.parse('2026-01-01T00:00:00Z');
const retryAfter = (headers: Readonly<Record<string, string>>): number | undefined =>
  retryAfterOf(headers, () => NOW);

describe('retryAfterOf', () => {
  it.each([
    ['7', 7_000],
    ['0.5', 500],
    ['0', 0],
    ['Thu, 01 Jan 2026 00:00:09 GMT', 9_000],
    ['Thursday, 01-Jan-26 00:00:09 GMT', 9_000],
    ['Thu, 01 Jan 2025 00:00:00 GMT', 0],
    ['9'.repeat(40), 3_600_000],
    ['', undefined],
    ['-5', undefined],
    ['1e3', undefined],
    ['soon', undefined],
    ['page 1', undefined],
    ['in 10 minutes', undefined],
    ['Thu, never', undefined],
  ])('reads %j', (value, expected) => {
    expect(retryAfter({ 'retry-after': value })).toBe(expected);
  });

  it.each([
    ['250', 250],
    ['', 7_000],
    ['-1', 7_000],
    ['0x10', 7_000],
  ])('prefers milliseconds where they are some: %j', (value, expected) => {
    expect(retryAfter({ 'retry-after-ms': value, 'retry-after': '7' })).toBe(expected);
  });
});

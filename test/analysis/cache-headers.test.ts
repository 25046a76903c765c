import { describe, expect, it } from '@jest/globals';
import type { AnalysisOutcome } from '../../src/ai/ai-service-manager.js';
import type { Analysis } from '../../src/ai/analysis-cache-manager.js';
import {
  cacheFieldsOf,
  cachePolicyOf,
  cacheStatusOf,
  parseCacheControl,
} from '../../src/analysis/cache-headers.js';
import type { EntryUse } from '../../src/cache/cache.js';
import type { CacheEntry } from '../../src/cache/storage/cache-entry.js';

const NOW = 1_000_000;
const entry: CacheEntry<Analysis> = {
  value: {} as Analysis,
  version: '',
  createdAt: NOW - 88_500,
  freshUntil: NOW + 3_511_500,
  expiresAt: NOW + 3_511_500,
  tags: [],
};
const hit: AnalysisOutcome = { kind: 'hit', tier: 'redis', entry };
const none = parseCacheControl(undefined);

describe('parseCacheControl', () => {
  it.each([
    ['no-cache', { noCache: true }],
    ['NO-STORE , Only-If-Cached', { noStore: true, onlyIfCached: true }],
    ['max-age=60, min-fresh="5"', { maxAgeMs: 60_000, minFreshMs: 5_000 }],
    ['max-age=0', { maxAgeMs: 0 }],
    ['x-no-cache, not-no-store', { noCache: false, noStore: false }],
    ['max-age=abc, max-age', {}],
    ['', {}],
  ])('reads %j', (header, expected) => {
    expect(parseCacheControl(header)).toMatchObject(expected);
  });

  it('is done with a hostile header at once', () => {
    const begun = performance.now();
    parseCacheControl(`${' '.repeat(50_000)}${'max-age='.repeat(10_000)}`);
    expect(performance.now() - begun).toBeLessThan(1000);
  });
});

describe('cachePolicyOf', () => {
  const acceptedBy = (header: string, use: EntryUse = 'fresh', of = entry): boolean | undefined =>
    cachePolicyOf(parseCacheControl(header), () => NOW).accept?.(of, use);

  it('knows the modes', () => {
    const mode = (header?: string) => cachePolicyOf(parseCacheControl(header), () => NOW).mode;
    expect([
      mode(),
      mode('no-cache'),
      mode('no-store'),
      mode('only-if-cached'),
      mode('no-store, no-cache'),
    ]).toEqual(['default', 'refresh', 'bypass', 'cached', 'bypass']);
  });

  it('holds age and freshness to what was asked', () => {
    expect(acceptedBy('max-age=89')).toBe(true);
    expect(acceptedBy('max-age=88')).toBe(false);
    expect(acceptedBy('min-fresh=3511')).toBe(true);
    expect(acceptedBy('min-fresh=3512')).toBe(false);
    expect(acceptedBy('only-if-cached, max-age=1')).toBe(false);
    expect(acceptedBy('only-if-cached, no-cache')).toBe(false);
  });

  it('holds staleness to what was asked', () => {
    const old = { ...entry, freshUntil: NOW - 40_000 };
    const swr = (header: string) => acceptedBy(header, 'stale-while-revalidate', old);
    expect(swr('')).toBe(true);
    expect(swr('max-age=1000')).toBe(false);
    expect(swr('min-fresh=1')).toBe(false);
    expect(swr('max-stale')).toBe(true);
    expect(swr('max-stale=40')).toBe(true);
    expect(swr('max-stale=39')).toBe(false);
    expect(swr('only-if-cached')).toBe(false);
    expect(swr('only-if-cached, max-stale=40')).toBe(true);
    const ifError = (header: string) => acceptedBy(header, 'stale-if-error', old);
    expect(ifError('')).toBe(true);
    expect(ifError('max-age=1000')).toBe(false);
    expect(ifError('stale-if-error=40')).toBe(true);
    expect(ifError('max-age=10, stale-if-error=40')).toBe(true);
    expect(ifError('stale-if-error=39')).toBe(false);
  });
});

describe('the fields of an answer', () => {
  it('tell how it was come by', () => {
    const computed: AnalysisOutcome = { kind: 'computed', entry, write: 'redis' };
    expect(cacheStatusOf(hit, none, NOW)).toBe('athena; hit; ttl=3511; detail=redis');
    const stale = { ...hit, entry: { ...entry, freshUntil: NOW - 39_500 }, stale: 'stale-if-error' } as const;
    expect(cacheStatusOf(stale, none, NOW)).toBe('athena; hit; ttl=-40; detail=stale-if-error');
    expect(cacheStatusOf(computed, none, NOW)).toBe('athena; fwd=miss; stored');
    expect(cacheStatusOf({ ...computed, write: 'superseded' }, none, NOW)).toBe('athena; fwd=miss');
    expect(cacheStatusOf({ ...computed, write: 'none' }, none, NOW)).toBe('athena; fwd=miss');
    expect(cacheStatusOf({ ...computed, kind: 'collapsed' }, none, NOW)).toBe('athena; fwd=miss; collapsed');
    expect(cacheStatusOf(computed, parseCacheControl('no-cache'), NOW)).toBe('athena; fwd=request; stored');
    expect(cacheStatusOf(computed, parseCacheControl('no-store'), NOW)).toBe('athena; fwd=bypass');
    expect(cacheStatusOf(computed, parseCacheControl('max-age=1'), NOW)).toBe('athena; fwd=miss; stored');
  });

  it('give every stored answer its age, and keep all of them private', () => {
    expect(cacheFieldsOf(hit, none, NOW)).toMatchObject({
      age: '88',
      'cache-control': 'private, max-age=3600',
      vary: 'Authorization',
    });
    const fresh: AnalysisOutcome = { kind: 'computed', entry, write: 'local' };
    expect(cacheFieldsOf(fresh, none, NOW)).not.toHaveProperty('age');
    expect(cacheFieldsOf(fresh, parseCacheControl('no-store'), NOW)['cache-control']).toBe(
      'private, no-store',
    );
  });
});

import type { AnalysisOutcome } from '../ai/ai-service-manager.js';
import type { AnalysisCachePolicy } from '../ai/analysis-cache-manager.js';
import type { EntryUse } from '../cache/cache.js';
import type { CacheEntry } from '../cache/storage/cache-entry.js';

/** Caching as HTTP says it: request directives of RFC 9111 section 5.2.1, the answer's fields of RFC 9211. */

export interface CacheDirectives {
  readonly noCache: boolean;
  readonly noStore: boolean;
  readonly onlyIfCached: boolean;
  readonly maxAgeMs?: number;
  readonly minFreshMs?: number;
  /** Infinity for a `max-stale` without a number. */
  readonly maxStaleMs?: number;
  readonly staleIfErrorMs?: number;
}

const DIRECTIVE = /(?:^|[,\s])([a-z-]+)(?:\s*=\s*"?(\d{1,10})"?)?(?=\s*(?:,|$))/gi;

/** Reads `Cache-Control`; what it does not know it ignores, as RFC 9111 asks. */
export function parseCacheControl(header: string | undefined): CacheDirectives {
  const given = new Map<string, string | undefined>();
  for (const [, name = '', value] of (header ?? '').slice(0, 1_000).matchAll(DIRECTIVE)) {
    given.set(name.toLowerCase(), value);
  }
  const seconds = (name: string): number | undefined => {
    const value = given.get(name);
    return value === undefined ? undefined : Number(value) * 1000;
  };
  const maxAgeMs = seconds('max-age');
  const minFreshMs = seconds('min-fresh');
  const maxStaleMs = seconds('max-stale') ?? (given.has('max-stale') ? Infinity : undefined);
  const staleIfErrorMs = seconds('stale-if-error');
  return {
    noCache: given.has('no-cache'),
    noStore: given.has('no-store'),
    onlyIfCached: given.has('only-if-cached'),
    ...(maxAgeMs === undefined ? {} : { maxAgeMs }),
    ...(minFreshMs === undefined ? {} : { minFreshMs }),
    ...(maxStaleMs === undefined ? {} : { maxStaleMs }),
    ...(staleIfErrorMs === undefined ? {} : { staleIfErrorMs }),
  };
}

/**
 * What the directives ask of the cache. `no-store` is a request to leave no trace: it neither reads, nor joins,
 * nor writes. `only-if-cached` wins over `no-cache`, for nothing may be computed.
 */
export function cachePolicyOf(
  directives: CacheDirectives,
  now: () => number,
): Omit<AnalysisCachePolicy, 'signal'> {
  const { maxAgeMs, minFreshMs, maxStaleMs, staleIfErrorMs } = directives;
  const asksForFresh = maxAgeMs !== undefined || minFreshMs !== undefined;
  const accept = ({ createdAt, freshUntil }: CacheEntry, use: EntryUse): boolean => {
    if (directives.noCache && directives.onlyIfCached) return false;
    const staleMs = now() - freshUntil;
    switch (use) {
      case 'fresh':
        return (
          (maxAgeMs === undefined || now() - createdAt <= maxAgeMs) &&
          (minFreshMs === undefined || -staleMs >= minFreshMs)
        );
      case 'stale-while-revalidate':
        // Who may not be made to wait for a computation asks for it himself.
        if (maxStaleMs === undefined) return !asksForFresh && !directives.onlyIfCached;
        return staleMs <= maxStaleMs;
      case 'stale-if-error':
        return staleIfErrorMs === undefined ? !asksForFresh : staleMs <= staleIfErrorMs;
    }
  };
  if (directives.onlyIfCached) return { mode: 'cached', accept };
  if (directives.noStore) return { mode: 'bypass' };
  if (directives.noCache) return { mode: 'refresh' };
  return { mode: 'default', accept };
}

/** One member of `Cache-Status` (RFC 9211). */
export function cacheStatusOf(outcome: AnalysisOutcome, directives: CacheDirectives, now: number): string {
  switch (outcome.kind) {
    case 'hit':
      return `athena; hit; ttl=${wholeSeconds(outcome.entry.freshUntil - now)}; detail=${outcome.stale ?? outcome.tier}`;
    case 'collapsed':
      return 'athena; fwd=miss; collapsed';
    case 'computed': {
      if (directives.noStore) return 'athena; fwd=bypass';
      const forward = directives.noCache ? 'fwd=request' : 'fwd=miss';
      const stored = outcome.write !== 'none' && outcome.write !== 'superseded';
      return stored ? `athena; ${forward}; stored` : `athena; ${forward}`;
    }
  }
}

/** Header fields of one answer, by how it was come by. */
export function cacheFieldsOf(
  outcome: AnalysisOutcome,
  directives: CacheDirectives,
  now: number,
): Readonly<Record<string, string>> {
  const { createdAt, freshUntil } = outcome.entry;
  return {
    'cache-status': cacheStatusOf(outcome, directives, now),
    'cache-control': directives.noStore
      ? 'private, no-store'
      : `private, max-age=${Math.max(0, wholeSeconds(freshUntil - createdAt))}`,
    vary: 'Authorization',
    ...(outcome.kind === 'hit' ? { age: String(Math.max(0, wholeSeconds(now - createdAt))) } : {}),
  };
}

const wholeSeconds = (ms: number): number => Math.floor(ms / 1000);

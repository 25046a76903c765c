/** A set or delete of one key, as replicas tell each other of it. The newest version of a key wins, everywhere. */
export interface Mutation {
  readonly key: string;
  /** See `clock.ts`. */
  readonly version: string;
  /** The envelope of a set, never changed once made; undefined for a delete. */
  readonly bytes: Uint8Array | undefined;
  /** Epoch milliseconds at which the value is gone; 0 for a delete. */
  readonly expiresAt: number;
}

/** What became of a mutation in Redis. */
export type ApplyOutcome =
  /** It is the newest now; `existed`: there was a live value before it. Also the answer to a repetition. */
  | { readonly kind: 'applied'; readonly existed: boolean }
  /** Redis knows this newer version of the key (or a delete of the same version, which wins). */
  | { readonly kind: 'superseded'; readonly version: string }
  /** Its version is more than `CLOCK_AHEAD_MS` past Redis `TIME`: the writer's clock is wrong. */
  | { readonly kind: 'ahead'; readonly redisMs: number }
  /**
   * Redis answered with an error, on a sound connection. `ofAll` tells whether it takes no write at all now (OOM,
   * READONLY, MISCONF), or not this one (too large); absent where that is not known.
   */
  | { readonly kind: 'refused'; readonly reason: string; readonly ofAll?: boolean };

/** How far a version may be ahead of Redis `TIME`; more than the clocks of any two Redis nodes may differ. */
export const CLOCK_AHEAD_MS = 5 * 60_000;

/**
 * How long a key is remembered after its value is gone: from its version, not from its arrival, so that whatever is
 * older has expired by itself when the memory of it goes.
 */
export function guardUntil(version: string, maxLifeMs: number): number {
  return versionMs(version) + maxLifeMs + CLOCK_AHEAD_MS;
}

/** The physical part of a version, in epoch milliseconds. */
export function versionMs(version: string): number {
  return Number.parseInt(version.slice(0, 12), 16);
}

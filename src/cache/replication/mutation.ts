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

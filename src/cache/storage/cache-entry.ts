/** What a storage keeps under a key. Expiries are absolute, so that no copy, promotion or replay renews a value. */
export interface CacheEntry<T = unknown> {
  readonly value: T;
  /** Hybrid logical clock stamp, fixed-width lowercase hex (see `../replication/clock.ts`); newest wins. */
  readonly version: string;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  /** Epoch milliseconds until which the value is fresh. */
  readonly freshUntil: number;
  /** Epoch milliseconds at which the value is gone; at least `freshUntil`. */
  readonly expiresAt: number;
  readonly tags: readonly string[];
  /** What its computation took, in milliseconds; absent if it was not computed. */
  readonly costMs?: number;
}

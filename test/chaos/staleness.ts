/** What became of one write; times by one clock for all processes. */
export interface TimedWrite {
  readonly key: string;
  /** Unique; undefined for a delete. */
  readonly value?: string;
  readonly begunAt: number;
  readonly endedAt: number;
  readonly landed: string;
}

export interface TimedRead {
  readonly key: string;
  readonly value: string;
  readonly begunAt: number;
}

/** Says how old reads were. Pure: writes and reads in, milliseconds out. */
export class StalenessJudge {
  private readonly byKey: ReadonlyMap<string, readonly TimedWrite[]>;
  /** When it was certain of a value that a newer one had been acknowledged. */
  private readonly replacedAt = new Map<string, number>();

  constructor(writes: readonly TimedWrite[]) {
    this.byKey = Map.groupBy(writes, ({ key }) => key);
    for (const write of writes) {
      if (write.value !== undefined) this.replacedAt.set(write.value, this.endOf(write));
    }
  }

  /**
   * For how long the value that was read had been replaced, or deleted, when the read began; 0 if it may have been the
   * newest. Infinity for a value that nobody wrote to that key.
   */
  staleMs({ key, value, begunAt }: TimedRead): number {
    const replacedAt = this.replacedAt.get(value);
    const isOfKey = this.byKey.get(key)?.some((write) => write.value === value) === true;
    if (replacedAt === undefined || !isOfKey) return Infinity;
    return Math.max(0, begunAt - replacedAt);
  }

  /** What Redis took after it had acknowledged this one has a greater version; of two at once nobody knows. */
  private endOf({ key, endedAt, landed }: TimedWrite): number {
    if (landed !== 'redis') return Infinity;
    const later = (this.byKey.get(key) ?? []).filter(
      (other) => other.landed === 'redis' && other.begunAt > endedAt,
    );
    return later.reduce((first, other) => Math.min(first, other.endedAt), Infinity);
  }
}

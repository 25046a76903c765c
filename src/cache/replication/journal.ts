/**
 * What a replica keeps over a restart of the process: mutations that Redis has not acknowledged, recent tombstones,
 * marks, and how far the clock was. Records are opaque here.
 */
export interface Journal {
  /** Every record, by id; in no order. */
  load(): Promise<readonly (readonly [id: string, bytes: Uint8Array])[]>;
  /**
   * Writes (or, for undefined, removes) all of these in one transaction; resolves when they are durable. Writes that
   * are made at the same time are committed in the order of their calls.
   * @throws StorageUnavailableError
   */
  write(records: ReadonlyMap<string, Uint8Array | undefined>): Promise<void>;
}

/** The bounds of one batch. */
export interface BatchLimits {
  /** 1 to 10 000. */
  readonly maxItems: number;
  /** Items that are analysed at once, and read at all before one of them is done. 1 to 256. */
  readonly concurrency: number;
  /** The largest file, in bytes. */
  readonly maxFileBytes: number;
}

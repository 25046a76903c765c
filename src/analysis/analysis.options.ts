/** Of event streams. */
export interface StreamOptions {
  /** A comment is sent after so long without an event, in milliseconds. */
  readonly heartbeatMs: number;
}

export const STREAM_OPTIONS: unique symbol = Symbol('StreamOptions');

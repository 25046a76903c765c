import type { BatchLimits } from './batch-limits.js';

/** What `AnalysisModule.forRoot` takes. */
export interface AnalysisOptions extends BatchLimits {
  /** A comment is sent in an event stream after so long without an event, in milliseconds. */
  readonly heartbeatMs: number;
  /** How long running analyses may go on when the application shuts down, in milliseconds. */
  readonly shutdownGraceMs: number;
}
export const AnalysisOptions: unique symbol = Symbol('AnalysisOptions');

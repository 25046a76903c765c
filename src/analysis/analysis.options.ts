import type { BatchLimits } from './batch-limits.js';

/** What `AnalysisModule.forRoot` takes. */
export interface AnalysisOptions extends BatchLimits {
  /** A comment is sent in an event stream after so long without an event, in milliseconds. */
  readonly heartbeatMs: number;
}
export const AnalysisOptions: unique symbol = Symbol('AnalysisOptions');

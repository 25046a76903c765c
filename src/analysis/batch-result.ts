import type { Answer } from './answer.js';
import type { ProblemDocument } from '../request/problem.js';

/** What became of one item. */
export type ItemResult = { readonly id: string; readonly index: number; readonly status: number } & (
  { readonly cacheStatus: string; readonly analysis: Answer } | { readonly error: ProblemDocument }
);

/** What became of all items that were read. */
export interface BatchCounts {
  /** Items that are done. */
  readonly total: number;
  readonly succeeded: number;
  readonly failed: number;
  /** Of those that succeeded, the ones that were stored already. */
  readonly cached: number;
}

/** The end of a batch: `done` only where every item was read and told of. */
export type BatchEnd = BatchCounts &
  ({ readonly done: true } | { readonly done: false; readonly error: ProblemDocument });

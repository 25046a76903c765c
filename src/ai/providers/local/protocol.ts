/** What the provider and its children say to each other, in frames (`frames.ts`). */

/** What a child is told to do. */
export interface Assignment<Job> {
  readonly id: number;
  /** When the child will be killed. */
  readonly deadlineEpochMs: number;
  readonly job: Job;
}

/** All that a child may say. Anything else is garbage, and a child that sends garbage is killed. */
export type Reply =
  | { readonly kind: 'ready' }
  | { readonly kind: 'partial'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'answer'; readonly id: number; readonly rssBytes: number; readonly value: unknown }
  | { readonly kind: 'failure'; readonly id: number; readonly rssBytes: number; readonly message: string };

/** The pipe that replies travel on. Not stdout: what a library prints must not mix with them. */
export const REPLY_FD = 3;

/** The largest reply that is read; a child keeps well below it by cutting its output. */
export const MAX_REPLY_BYTES = 16 * 1024 * 1024;

/** The largest assignment that a child reads: the largest content, as base64, and room for the rest. */
export const MAX_ASSIGNMENT_BYTES = 4 * 1024 * 1024;

/** Printed to stderr by the child's watchdog before it kills its own process. */
export const MEMORY_LIMIT_NOTICE = 'resident memory above the limit';

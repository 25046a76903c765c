import type { IBreaker } from 'cockatiel';
import { CircuitState } from 'cockatiel';

export interface FailureRatioOptions {
  /** Fewer failures than this in the window open nothing. */
  readonly minFailures: number;
  /** Above this part of the calls in the window: 0 to 1. */
  readonly ratio: number;
  readonly windowMs: number;
  readonly now: () => number;
}

/** Of so many calls at most is known how they ended. */
const MAX_CALLS = 1_000;

interface Call {
  readonly atMs: number;
  readonly hasFailed: boolean;
}

/**
 * When cockatiel's circuit opens: by the ratio of failures in a sliding window. Its own `SamplingBreaker` forgets one second
 * for each second in which there are calls, so that where there are few of them a failure of an hour ago still counts.
 */
export class FailureRatio implements IBreaker {
  /** cockatiel would save and restore it; nobody asks for that. */
  state: unknown;
  private calls: Call[] = [];

  constructor(private readonly options: FailureRatioOptions) {}

  success(state: CircuitState): void {
    if (state === CircuitState.HalfOpen) this.calls = [];
    this.add(false);
  }

  failure(state: CircuitState): boolean {
    this.add(true);
    if (state !== CircuitState.Closed) return true;
    const { minFailures, ratio } = this.options;
    const failures = this.calls.filter(({ hasFailed }) => hasFailed).length;
    return failures >= minFailures && failures > ratio * this.calls.length;
  }

  private add(hasFailed: boolean): void {
    const { now, windowMs } = this.options;
    const atMs = now();
    const recent = this.calls.findIndex((call) => atMs - call.atMs < windowMs);
    const from = recent === -1 ? this.calls.length : Math.max(recent, this.calls.length - MAX_CALLS + 1);
    if (from > 0) this.calls = this.calls.slice(from);
    this.calls.push({ atMs, hasFailed });
  }
}

import { setTimeout as sleep } from 'node:timers/promises';
import type { CircuitBreakerPolicy, IBackoff } from 'cockatiel';
import {
  BrokenCircuitError,
  circuitBreaker,
  CircuitState,
  handleWhen,
  retry,
  TaskCancelledError,
  timeout,
  TimeoutStrategy,
} from 'cockatiel';
import {
  AnalysisTimeoutError,
  AnswerRefusedError,
  AnswerTruncatedError,
  CircuitOpenError,
  InvalidAnswerError,
  ProviderFailedError,
  ProviderRateLimitedError,
  ProviderRejectedError,
} from '../ai.errors.js';
import type { AnalysisType } from '../analysis.js';
import type {
  AiProvider,
  ProviderAnswer,
  ProviderContext,
  ProviderHealth,
  ProviderRequest,
} from './ai-provider.js';
import { Bulkhead } from './bulkhead.js';
import { FailureRatio } from './failure-ratio.js';

export interface GuardOptions {
  /** For one attempt, from its beginning to the end of its answer. */
  readonly timeoutMs: number;
  /** Further attempts after one that failed and may succeed. */
  readonly maxRetries: number;
  /** Calls at once, and how many more may wait. */
  readonly concurrency: number;
  readonly queueLimit: number;
  /** So many failures in a minute, and more than half of the calls, open the circuit for so long. */
  readonly breakerFailures: number;
  readonly breakerResetMs: number;
  readonly onEvent?: (event: GuardEvent) => void;
  /** Epoch milliseconds. Default `Date.now`. */
  readonly now?: () => number;
  /** 0 to 1. Default `Math.random`. */
  readonly random?: () => number;
}

/** One change of state of a provider; never one for a call. */
export type GuardEvent =
  | { readonly type: 'circuit_opened'; readonly provider: string; readonly reason: string }
  | { readonly type: 'circuit_half_opened'; readonly provider: string }
  | { readonly type: 'circuit_closed'; readonly provider: string; readonly afterMs: number }
  | { readonly type: 'saturated'; readonly provider: string; readonly queueLimit: number }
  | { readonly type: 'relieved'; readonly provider: string }
  | { readonly type: 'rate_limited'; readonly provider: string; readonly retryAfterMs: number };

const WINDOW_MS = 60_000;
const FAILURE_RATIO = 0.5;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 8_000;
/** Who is told to come back later than this is not waited for. */
const PATIENCE_MS = 5_000;

/**
 * A provider that others can rely on: circuit breaker around bulkhead around retries around a time-out. It is the only
 * layer that retries. What the content may be the cause of (a refusal, an answer that is cut or invalid, a 400), a full
 * queue and a caller who leaves say nothing about the provider, and never open its circuit.
 */
export class GuardedProvider implements AiProvider {
  readonly name: AiProvider['name'];
  readonly model: string;
  private readonly breaker: CircuitBreakerPolicy;
  private readonly bulkhead: Bulkhead;
  private readonly now: () => number;
  private readonly random: () => number;
  private readonly emit: (event: GuardEvent) => void;
  private openedAt = 0;
  /** The provider does not want to hear of us before. */
  private restsUntil = 0;
  /** Of calls that lost most of their time before they began: they say nothing about the provider. */
  private readonly late = new WeakSet<AnalysisTimeoutError>();
  private readonly counts = { calls: 0, attempts: 0, failures: 0 };

  constructor(
    private readonly inner: AiProvider,
    private readonly options: GuardOptions,
  ) {
    const { now = Date.now, random = Math.random, onEvent = () => {} } = options;
    this.name = inner.name;
    this.model = inner.model;
    this.now = now;
    this.random = random;
    this.emit = onEvent;
    this.breaker = this.createBreaker();
    const {
      name,
      options: { concurrency, queueLimit },
    } = this;
    this.bulkhead = new Bulkhead({
      name,
      concurrency,
      queueLimit,
      onSaturated: (isSaturated) =>
        this.emit(
          isSaturated
            ? { type: 'saturated', provider: name, queueLimit }
            : { type: 'relieved', provider: name },
        ),
    });
  }

  start(): void {
    this.inner.start?.();
  }

  /** @throws CircuitOpenError, ProviderRateLimitedError and ProviderBusyError at once, or what the last attempt ended in */
  async analyze<T extends AnalysisType>(
    request: ProviderRequest<T>,
    context: ProviderContext,
  ): Promise<ProviderAnswer<T>> {
    const { signal, budgetMs } = context;
    const deadline = this.now() + budgetMs;
    this.counts.calls += 1;
    this.checkRest(budgetMs);
    // Others do not wait for the call that tries whether it is well again.
    if (this.breaker.state === CircuitState.HalfOpen) throw this.circuitOpen();
    const isTrial = this.breaker.state === CircuitState.Open;
    const patience = AbortSignal.timeout(Math.ceil(budgetMs));
    try {
      return await this.breaker.execute(async () => {
        try {
          const work = (): Promise<ProviderAnswer<T>> => this.attempts(request, context, deadline);
          return await this.bulkhead.run(work, AbortSignal.any([signal, patience]));
        } catch (error) {
          throw isTrial && !this.isFault(error) && !showsLife(error) ? new UndecidedTrial(error) : error;
        }
      });
    } catch (caught) {
      const error = caught instanceof UndecidedTrial ? caught.cause : caught;
      signal.throwIfAborted();
      this.counts.failures += 1;
      if (error instanceof BrokenCircuitError) throw this.circuitOpen();
      throw error === patience.reason ? new AnalysisTimeoutError(this.name, budgetMs) : error;
    }
  }

  health(): ProviderHealth {
    const { active, queued } = this.bulkhead;
    const circuit = STATE_NAMES[this.breaker.state];
    const restsMs = Math.max(0, this.restsUntil - this.now());
    const isFull = queued >= this.options.queueLimit && active >= this.options.concurrency;
    const inner = this.inner.health();
    // When the time is up the next request tries it, whatever the circuit says.
    const isOpen = circuit === 'open' && this.now() - this.openedAt < this.options.breakerResetMs;
    const isDegraded = circuit !== 'closed' || restsMs > 0 || isFull;
    const state = isOpen ? 'down' : isDegraded ? 'degraded' : inner.state;
    const rest = restsMs > 0 ? { rateLimitedForMs: restsMs } : {};
    return { state, details: { ...inner.details, circuit, active, queued, ...rest, ...this.counts } };
  }

  close(): Promise<void> {
    return this.inner.close();
  }

  private async attempts<T extends AnalysisType>(
    request: ProviderRequest<T>,
    context: ProviderContext,
    deadline: number,
  ): Promise<ProviderAnswer<T>> {
    // It may have opened while this call waited.
    if (this.breaker.state === CircuitState.Open) throw this.circuitOpen();
    const leftMs = deadline - Math.max(this.now(), this.restsUntil);
    const isLate = leftMs < Math.min(this.options.timeoutMs, context.budgetMs) / 2;
    let pauseMs = 0;
    let failed = 0;
    const isWorthAnother = (error: unknown): boolean => {
      if (!isTransient(error)) return false;
      failed += 1;
      pauseMs = this.pauseAfter(error, failed);
      return this.now() + pauseMs < deadline;
    };
    return retry(handleWhen(isWorthAnother), { maxAttempts: this.options.maxRetries }).execute(
      async ({ attempt }) => {
        // Another call may have been told so meanwhile.
        this.checkRest(deadline - this.now());
        const waitMs = Math.max(pauseMs, this.restsUntil - this.now());
        if (waitMs > 0) await sleep(waitMs, undefined, { signal: context.signal });
        return this.attempt(request, context, attempt + 1, { deadline, isLate });
      },
      context.signal,
    );
  }

  private async attempt<T extends AnalysisType>(
    request: ProviderRequest<T>,
    context: ProviderContext,
    attempt: number,
    { deadline, isLate }: { readonly deadline: number; readonly isLate: boolean },
  ): Promise<ProviderAnswer<T>> {
    const timeoutMs = Math.max(1, Math.min(this.options.timeoutMs, Math.ceil(deadline - this.now())));
    this.counts.attempts += 1;
    context.onAttempt(attempt);
    let isOver = false;
    // What was given up may still have something to say, and another attempt's text has begun by then.
    const onText = (text: string): void => {
      if (!isOver) context.onText(text);
    };
    try {
      return await timeout(timeoutMs, TimeoutStrategy.Aggressive).execute(
        ({ signal }) => this.inner.analyze(request, { ...context, signal, onText }),
        context.signal,
      );
    } catch (error) {
      context.signal.throwIfAborted();
      if (error instanceof TaskCancelledError) {
        const timedOut = new AnalysisTimeoutError(this.name, timeoutMs);
        if (isLate) this.late.add(timedOut);
        throw timedOut;
      }
      this.noteRest(error);
      throw error;
    } finally {
      isOver = true;
    }
  }

  /** As long as the provider says, and jitter on top; else exponential with full jitter (AWS Architecture Blog, 2015). */
  private pauseAfter({ retryAfterMs }: Transient, failed: number): number {
    const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** (failed - 1));
    if (retryAfterMs === undefined) return this.random() * ceiling;
    return retryAfterMs > PATIENCE_MS ? Infinity : retryAfterMs + this.random() * BACKOFF_FIRST_MS;
  }

  /** What one call is told holds for all. */
  private noteRest(error: unknown): void {
    if (!isTransient(error) || error.retryAfterMs === undefined) return;
    const until = this.now() + error.retryAfterMs;
    const isNews = this.restsUntil <= this.now() && error.retryAfterMs > 0;
    this.restsUntil = Math.max(this.restsUntil, until);
    if (isNews) this.emit({ type: 'rate_limited', provider: this.name, retryAfterMs: error.retryAfterMs });
  }

  private checkRest(budgetMs: number): void {
    const restMs = this.restsUntil - this.now();
    if (restMs > Math.min(PATIENCE_MS, budgetMs)) throw new ProviderRateLimitedError(this.name, restMs);
  }

  private circuitOpen(): CircuitOpenError {
    const leftMs = this.openedAt + this.options.breakerResetMs - this.now();
    return new CircuitOpenError(this.name, Math.max(0, leftMs));
  }

  private isFault(error: unknown): boolean {
    return isOfProvider(error) && !(error instanceof AnalysisTimeoutError && this.late.has(error));
  }

  private createBreaker(): CircuitBreakerPolicy {
    const {
      name,
      now,
      options: { breakerFailures, breakerResetMs },
    } = this;
    // Of a trial cockatiel takes what is not handled for a success.
    const policy = handleWhen((error) => this.isFault(error) || error instanceof UndecidedTrial);
    const after = (duration: number): IBackoff<{ result: object }> => ({
      duration,
      next: ({ result }) => after('error' in result && this.isFault(result.error) ? breakerResetMs : 0),
    });
    const breaker = circuitBreaker(policy, {
      halfOpenAfter: after(breakerResetMs),
      breaker: new FailureRatio({
        minFailures: breakerFailures,
        ratio: FAILURE_RATIO,
        windowMs: WINDOW_MS,
        now,
      }),
    });
    breaker.onBreak((result) => {
      this.openedAt = now();
      const reason = 'error' in result && result.error instanceof Error ? result.error.message : 'unknown';
      this.emit({ type: 'circuit_opened', provider: name, reason });
    });
    breaker.onHalfOpen(() => this.emit({ type: 'circuit_half_opened', provider: name }));
    breaker.onReset(() =>
      this.emit({ type: 'circuit_closed', provider: name, afterMs: now() - this.openedAt }),
    );
    return breaker;
  }
}

/** A trial that nobody waited for to the end, or that was not made: whether the provider is well is not known. */
class UndecidedTrial extends Error {
  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : 'unknown', { cause });
  }
}

type Transient = ProviderFailedError | ProviderRateLimitedError;

/** The same call may succeed a little later. After a time-out another provider is the better choice. */
const isTransient = (error: unknown): error is Transient =>
  error instanceof ProviderFailedError || error instanceof ProviderRateLimitedError;

/** Of these statuses the key or the model is the cause: no other content will fare better. */
const REJECTS_ALL: ReadonlySet<number> = new Set([401, 403, 404]);

/** It is the provider's, not the content's and not the caller's. Who says when to come back is not at fault. */
function isOfProvider(error: unknown): boolean {
  if (error instanceof ProviderRateLimitedError) return error.retryAfterMs === undefined;
  if (error instanceof ProviderRejectedError) return REJECTS_ALL.has(error.vendorStatus);
  return error instanceof ProviderFailedError || error instanceof AnalysisTimeoutError;
}

/** The provider has worked, if not to our liking. */
const showsLife = (error: unknown): boolean =>
  error instanceof AnswerRefusedError ||
  error instanceof AnswerTruncatedError ||
  error instanceof InvalidAnswerError ||
  error instanceof ProviderRejectedError;

const STATE_NAMES: Readonly<Record<CircuitState, string>> = {
  [CircuitState.Closed]: 'closed',
  [CircuitState.Open]: 'open',
  [CircuitState.HalfOpen]: 'half-open',
  [CircuitState.Isolated]: 'open',
};

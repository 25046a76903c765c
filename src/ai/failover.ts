import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { AiError, AllProvidersFailedError, AnalysisTimeoutError } from './ai.errors.js';
import type { FailedAttempt } from './ai.errors.js';
import type { AnalysisType } from './analysis.js';
import type { AiMetrics } from './ai.metrics.js';
import type { AiProvider, ProviderAnswer, ProviderRequest, ProviderUsage } from './providers/ai-provider.js';

/** What is told while providers are tried. */
export interface FailoverProgress {
  /** What was told of an answer before is void. */
  onAttempt(provider: AiProvider, attempt: number): void;
  onText(text: string): void;
  onFailed(failed: FailedAttempt): void;
  onUsage(provider: AiProvider, usage: ProviderUsage): void;
}

export interface FailoverOptions {
  readonly signal: AbortSignal;
  /** When the analysis was asked for, by `performance.now`: it may have been waited for since. */
  readonly begun: number;
  /** From then on, for all providers, their queues and retries. */
  readonly deadlineMs: number;
  readonly progress: FailoverProgress;
  readonly metrics: AiMetrics;
}

export interface FirstAnswer<T extends AnalysisType> {
  readonly provider: AiProvider;
  readonly answer: ProviderAnswer<T>;
  /** Those that are preferred, and why they did not answer. */
  readonly failed: readonly FailedAttempt[];
}

const tracer = trace.getTracer('athena');

/**
 * The answer of the first provider that has one. Each may take half of the time that is left, the last one all of it, so
 * that one that hangs leaves enough for the others.
 * @throws the error of the only provider, AllProvidersFailedError of several, or the reason of `signal`
 */
export function firstAnswer<T extends AnalysisType>(
  providers: readonly AiProvider[],
  request: ProviderRequest<T>,
  options: FailoverOptions,
): Promise<FirstAnswer<T>> {
  const failed: FailedAttempt[] = [];
  const attributes = { 'athena.analysis.type': request.type };
  return tracer.startActiveSpan('analysis', { attributes }, async (span) => {
    try {
      const first = await tryInOrder(providers, request, options, failed);
      span.setAttribute('athena.ai.provider', first.provider.name);
      return first;
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: outcomeOf(error, options.signal) });
      throw error;
    } finally {
      if (failed.length > 0)
        span.setAttribute(
          'athena.ai.failed_before',
          failed.map(({ provider, code }) => `${provider}: ${code}`),
        );
      span.end();
    }
  });
}

async function tryInOrder<T extends AnalysisType>(
  providers: readonly AiProvider[],
  request: ProviderRequest<T>,
  options: FailoverOptions,
  failed: FailedAttempt[],
): Promise<FirstAnswer<T>> {
  const { signal, begun, deadlineMs, progress } = options;
  const errors: unknown[] = [];
  for (const [index, provider] of providers.entries()) {
    const tryBegun = performance.now();
    const leftMs = Math.ceil(begun + deadlineMs - tryBegun);
    if (leftMs <= 0 && index === 0) throw new AnalysisTimeoutError(provider.name, deadlineMs);
    if (leftMs <= 0) break;
    const budgetMs = index < providers.length - 1 ? Math.ceil(leftMs / 2) : leftMs;
    try {
      return { provider, answer: await traced(provider, request, budgetMs, options), failed };
    } catch (error) {
      signal.throwIfAborted();
      // A fault of ours is no reason to pay another provider.
      if (!(error instanceof AiError)) throw error;
      errors.push(error);
      const { name, model } = provider;
      const durationMs = Math.round(performance.now() - tryBegun);
      const attempt = { provider: name, model, code: error.code, reason: error.message, durationMs };
      failed.push(attempt);
      progress.onFailed(attempt);
    }
  }
  if (providers.length === 1) throw errors[0];
  const waits = errors.map(retryAfterOf).filter((waitMs) => waitMs !== undefined);
  throw new AllProvidersFailedError(failed, waits.length === 0 ? undefined : Math.min(...waits), {
    cause: errors.at(-1),
  });
}

/** One provider's turn as a span, by the GenAI conventions; never with what is asked and answered: those are samples. */
function traced<T extends AnalysisType>(
  provider: AiProvider,
  request: ProviderRequest<T>,
  budgetMs: number,
  { signal, progress, metrics }: FailoverOptions,
): Promise<ProviderAnswer<T>> {
  const { name, model } = provider;
  const attributes = {
    'gen_ai.operation.name': 'chat',
    'gen_ai.provider.name': name,
    'gen_ai.request.model': model,
    'athena.analysis.type': request.type,
  };
  const kind = name === 'local' ? SpanKind.INTERNAL : SpanKind.CLIENT;
  return tracer.startActiveSpan(`chat ${model}`, { kind, attributes }, async (span) => {
    const begun = performance.now();
    let outcome = 'ok';
    try {
      const answer = await provider.analyze(request, {
        signal,
        budgetMs,
        onAttempt: (attempt) => {
          span.setAttribute('athena.ai.attempts', attempt);
          progress.onAttempt(provider, attempt);
        },
        onText: (text) => progress.onText(text),
        onUsage: (usage) => progress.onUsage(provider, usage),
      });
      span.setAttributes({
        'gen_ai.usage.input_tokens': answer.usage.inputTokens,
        'gen_ai.usage.output_tokens': answer.usage.outputTokens,
        ...(answer.model === undefined ? {} : { 'gen_ai.response.model': answer.model }),
      });
      return answer;
    } catch (error) {
      outcome = outcomeOf(error, signal);
      span.setAttribute('error.type', outcome);
      span.setStatus({ code: SpanStatusCode.ERROR, message: outcome });
      throw error;
    } finally {
      span.end();
      metrics.call(provider, request.type, outcome, performance.now() - begun);
    }
  });
}

function outcomeOf(error: unknown, signal: AbortSignal): string {
  if (signal.aborted) return 'aborted';
  return error instanceof AiError ? error.code : 'internal_error';
}

function retryAfterOf(error: unknown): number | undefined {
  const { retryAfterMs } = error as { retryAfterMs?: number };
  return retryAfterMs;
}

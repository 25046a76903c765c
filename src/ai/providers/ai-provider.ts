import type { AnalysisResult, AnalysisType, ProviderName } from '../analysis.js';
import type { Language } from '../language.js';

/** What a provider is given: the file, what to do with it, and the language its name suggests. */
export interface ProviderRequest<T extends AnalysisType = AnalysisType> {
  readonly type: T;
  /** The file's bytes as they came. Hostile. */
  readonly content: Uint8Array;
  /** From the file's extension; a hint, not a fact. */
  readonly language?: Language;
}

export interface ProviderUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Where a price is configured. */
  readonly costUsd?: number;
}

export interface ProviderAnswer<T extends AnalysisType = AnalysisType> {
  readonly result: AnalysisResult<T>;
  readonly usage: ProviderUsage;
  /** The model that answered, where the provider says so and it is not the one that was asked for. */
  readonly model?: string;
  /** The text that the result was read from, if it was told while it came. */
  readonly transcript?: string;
  /** It was cut short by a limit of this instance; a later one may be better. */
  readonly isPartial?: boolean;
}

/** What a provider tells while it works. */
export interface ProviderProgress {
  /** A call begins, the first or another one: what was told before is void. `attempt` counts from 1. */
  onAttempt(attempt: number): void;
  /** Another piece of the answer's text. */
  onText(text: string): void;
  /** What a call has cost, also one that failed; once for each that says so. */
  onUsage(usage: ProviderUsage): void;
}

export interface ProviderContext extends ProviderProgress {
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  /** How long this provider may take in all, waiting and retries included. */
  readonly budgetMs: number;
}

/** How a provider stands, for `/health`; asking never costs a paid call. */
export interface ProviderHealth {
  readonly state: 'up' | 'degraded' | 'down';
  /** Facts for operators, without secrets. */
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

/** One way to get an analysis. The contract of every file in this folder. */
export interface AiProvider {
  readonly name: ProviderName;
  /** Model or analyser version, part of an answer's provenance. */
  readonly model: string;
  /** Makes ready ahead of the first request, where there is something to make ready. */
  start?(): void;
  /**
   * Analyses one file.
   * @throws an `AiError` (see `../ai.errors.ts`), or the reason of `signal`.
   */
  analyze<T extends AnalysisType>(
    request: ProviderRequest<T>,
    context: ProviderContext,
  ): Promise<ProviderAnswer<T>>;
  health(): ProviderHealth;
  /** Finishes nothing, frees everything; called once, after the last request. */
  close(): Promise<void>;
}

import type { AnalysisResult, AnalysisType, ProviderName } from '../analysis.js';
import type { Language } from '../language.js';

/** What a provider is given: the file as text, what to do with it, and the language its name suggests. */
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
  readonly costUsd?: number;
}

export interface ProviderAnswer<T extends AnalysisType = AnalysisType> {
  readonly result: AnalysisResult<T>;
  readonly usage: ProviderUsage;
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
   * @throws an `AiError` (see `../ai.errors.ts`): busy, timed out, invalid answer, aborted.
   */
  analyze<T extends AnalysisType>(
    request: ProviderRequest<T>,
    signal: AbortSignal,
  ): Promise<ProviderAnswer<T>>;
  health(): ProviderHealth;
  /** Finishes nothing, frees everything; called once, after the last request. */
  close(): Promise<void>;
}

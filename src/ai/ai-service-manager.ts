import type { AnalysisType } from './analysis.js';
import {
  AnalysisTimeoutError,
  ContentTooLargeError,
  EmptyContentError,
  ProviderUnavailableError,
} from './ai.errors.js';
import type {
  Analysis,
  AnalysisCacheCounts,
  AnalysisCacheManager,
  AnalysisCachePolicy,
} from './analysis-cache-manager.js';
import type { AnalysisRequest } from './analysis-key.js';
import { fileHashOf } from './analysis-key.js';
import { languageOfFilename } from './language.js';
import { PROMPT_VERSION } from './prompts.js';
import type { AiProvider } from './providers/ai-provider.js';
import type { Resolution } from '../cache/cache.js';
import type { StoredEntry } from '../cache/storage/cache-storage.js';

export interface AiServiceOptions {
  /** In order of preference. */
  readonly providers: readonly AiProvider[];
  /** One deadline for all that an analysis does. */
  readonly timeoutMs: number;
  readonly maxFileBytes: number;
  /** Epoch milliseconds. Default `Date.now`. */
  readonly now?: () => number;
}

/** An analysis, and how it was come by. */
export type AnalysisOutcome<T extends AnalysisType = AnalysisType> = Resolution<Analysis<T>>;

/** Answers requests for analyses: from the cache, or by the first provider that can. */
export class AiServiceManager {
  private readonly now: () => number;

  constructor(
    private readonly cache: AnalysisCacheManager,
    private readonly options: AiServiceOptions,
  ) {
    this.now = options.now ?? Date.now;
  }

  /**
   * @throws EmptyContentError, ContentTooLargeError, ProviderUnavailableError, and what a provider throws.
   * Undefined only for `mode: 'cached'` where nothing is stored.
   */
  async analyze<T extends AnalysisType>(
    request: AnalysisRequest & { readonly type: T },
    policy?: AnalysisCachePolicy & { readonly mode?: 'default' | 'refresh' | 'bypass' },
  ): Promise<AnalysisOutcome<T>>;
  async analyze<T extends AnalysisType>(
    request: AnalysisRequest & { readonly type: T },
    policy?: AnalysisCachePolicy,
  ): Promise<AnalysisOutcome<T> | undefined>;
  async analyze<T extends AnalysisType>(
    request: AnalysisRequest & { readonly type: T },
    policy: AnalysisCachePolicy = {},
  ): Promise<AnalysisOutcome<T> | undefined> {
    this.check(request.content);
    const provider = this.providerFor(request);
    const key = this.cache.keyOf(request);
    return this.cache.resolve(
      request,
      key,
      ({ signal }) => this.compute(provider, request, key, signal),
      policy,
    );
  }

  /** Every stored analysis of a file; nothing is computed. */
  find(tenant: string, fileHash: string): Promise<StoredEntry<Analysis>[]> {
    return this.cache.findByFile(tenant, fileHash);
  }

  /** Forgets every stored analysis of a file; how many there were. */
  forget(tenant: string, fileHash: string): Promise<number> {
    return this.cache.deleteByFile(tenant, fileHash);
  }

  stats(): Readonly<Record<AnalysisType, AnalysisCacheCounts>> {
    return this.cache.stats();
  }

  private check(content: Uint8Array): void {
    if (content.length === 0) throw new EmptyContentError();
    const { maxFileBytes } = this.options;
    if (content.length > maxFileBytes) throw new ContentTooLargeError(content.length, maxFileBytes);
  }

  private providerFor({ provider: wanted }: AnalysisRequest): AiProvider {
    const { providers } = this.options;
    const provider = wanted === undefined ? providers[0] : providers.find(({ name }) => name === wanted);
    if (provider === undefined) {
      throw new ProviderUnavailableError(
        wanted ?? 'any',
        providers.map(({ name }) => name),
      );
    }
    return provider;
  }

  private async compute<T extends AnalysisType>(
    provider: AiProvider,
    request: AnalysisRequest & { readonly type: T },
    key: string,
    signal: AbortSignal,
  ): Promise<Analysis<T>> {
    const language = request.filename === undefined ? undefined : languageOfFilename(request.filename);
    const { type, content } = request;
    const begun = performance.now();
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(this.options.timeoutMs)]);
    const answer = await provider
      .analyze({ type, content, ...(language && { language }) }, deadline)
      .catch((error: unknown) => {
        throw deadline.aborted && !signal.aborted
          ? new AnalysisTimeoutError(provider.name, this.options.timeoutMs)
          : error;
      });
    return {
      fileHash: fileHashOf(content),
      type,
      provider: provider.name,
      model: provider.model,
      promptVersion: PROMPT_VERSION,
      result: answer.result,
      usage: answer.usage,
      createdAt: new Date(this.now()).toISOString(),
      durationMs: Math.round(performance.now() - begun),
      key,
    };
  }
}

import type { AnalysisType } from './analysis.js';
import { ContentTooLargeError, EmptyContentError, ProviderUnavailableError } from './ai.errors.js';
import { AiMetrics } from './ai.metrics.js';
import type {
  Analysis,
  AnalysisCacheCounts,
  AnalysisCacheManager,
  AnalysisCachePolicy,
} from './analysis-cache-manager.js';
import type { AnalysisRequest } from './analysis-key.js';
import { fileHashOf } from './analysis-key.js';
import type { AnalysisProgress } from './analysis-stream.js';
import { attemptPart, failedPart, textPart, Transcript } from './analysis-stream.js';
import type { CostAccount, CostStats } from './cost-ledger.js';
import { CostLedger } from './cost-ledger.js';
import { EventQueue } from './event-queue.js';
import type { FirstAnswer } from './failover.js';
import { firstAnswer } from './failover.js';
import { languageOfFilename } from './language.js';
import { PROMPT_VERSION } from './prompts.js';
import type { AiProvider, ProviderUsage } from './providers/ai-provider.js';
import type { FactoryContext, Resolution } from '../cache/cache.js';
import type { StoredEntry } from '../cache/storage/cache-storage.js';

export interface AiServiceOptions {
  /** In order of preference. */
  readonly providers: readonly AiProvider[];
  /** For a computation from its first request on: waiting for another instance, every provider, its queue and its retries. */
  readonly deadlineMs: number;
  readonly maxFileBytes: number;
  /** How long an answer is kept that a better one should replace. Default one minute. */
  readonly standInTtlMs?: number;
  /** Epoch milliseconds. Default `Date.now`. */
  readonly now?: () => number;
}

/** An analysis, and how it was come by. */
export type AnalysisOutcome<T extends AnalysisType = AnalysisType> = Resolution<Analysis<T>>;

/** What is told of an analysis while it is awaited; the result is the last, and comes once. */
export type AnalysisEvent<T extends AnalysisType = AnalysisType> =
  | AnalysisProgress
  /** It is stored already: what follows is told from there. */
  | { readonly type: 'replay'; readonly outcome: AnalysisOutcome<T> }
  | { readonly type: 'result'; readonly outcome: AnalysisOutcome<T> };

type TypedRequest<T extends AnalysisType> = AnalysisRequest & { readonly type: T };
/** A policy that gives an outcome in any case. */
type ComputingPolicy = AnalysisCachePolicy & { readonly mode?: 'default' | 'refresh' | 'bypass' };

export interface AiStats {
  readonly analyses: Readonly<Record<AnalysisType, AnalysisCacheCounts>>;
  readonly cost: CostStats;
}

const STAND_IN_TTL_MS = 60_000;
/** The embedded analyser, which is no match for a model. */
const LOCAL = 'local';

/** Answers requests for analyses: from the cache, or by the first provider that can. */
export class AiServiceManager {
  private readonly now: () => number;
  private readonly ledger = new CostLedger();
  private readonly metrics = new AiMetrics();

  constructor(
    private readonly cache: AnalysisCacheManager,
    private readonly options: AiServiceOptions,
  ) {
    this.now = options.now ?? Date.now;
    this.metrics.watch(options.providers);
  }

  /**
   * The stored analysis, or that of a computation that runs already, or a new one. `policy.signal` gives up this caller
   * alone; the computation goes on for the others.
   * @throws EmptyContentError, ContentTooLargeError, ProviderUnavailableError; what the only provider throws, or
   * AllProvidersFailedError; the reason of `policy.signal`. Undefined only for `mode: 'cached'` where nothing is stored.
   */
  async analyze<T extends AnalysisType>(
    request: TypedRequest<T>,
    policy?: ComputingPolicy,
  ): Promise<AnalysisOutcome<T>>;
  async analyze<T extends AnalysisType>(
    request: TypedRequest<T>,
    policy?: AnalysisCachePolicy,
  ): Promise<AnalysisOutcome<T> | undefined>;
  async analyze<T extends AnalysisType>(
    request: TypedRequest<T>,
    policy: AnalysisCachePolicy = {},
  ): Promise<AnalysisOutcome<T> | undefined> {
    this.check(request.content);
    const providers = this.providersFor(request);
    const key = this.cache.keyOf(request);
    const begun = performance.now();
    const outcome = await this.cache.resolve(
      request,
      key,
      (context) => this.compute(providers, request, key, begun, context),
      policy,
    );
    if (outcome !== undefined && outcome.kind !== 'computed') {
      const { value } = outcome.entry;
      this.note('saved', value, value.usage);
    }
    return outcome;
  }

  /**
   * `analyze`, with what happens meanwhile: which provider answers, and the text of its answer as it comes. Who asks for
   * what is being computed already, here or on another instance, is told everything from the beginning; a stored answer is
   * told in the same way. Leaving the loop, or `policy.signal`, gives up this listener alone.
   * @throws as `analyze`, from the iteration. No result in mode `cached` where nothing is stored.
   */
  async *stream<T extends AnalysisType>(
    request: TypedRequest<T>,
    policy: AnalysisCachePolicy = {},
  ): AsyncGenerator<AnalysisEvent<T>, void, undefined> {
    const leaving = new AbortController();
    const signal = policy.signal ? AbortSignal.any([policy.signal, leaving.signal]) : leaving.signal;
    const told = new Transcript();
    const queue = new EventQueue<AnalysisProgress>();
    const onPart = (part: string, run: number): void => queue.push(told.take(part, run));
    const analysis = this.analyze(request, { ...policy, signal, onPart }).finally(() => queue.end());
    // It is awaited when all that was told before is out.
    analysis.catch(() => {});
    try {
      yield* queue;
      const outcome = await analysis;
      if (outcome === undefined) return;
      if (outcome.kind === 'hit' && told.isBlank) yield { type: 'replay', outcome };
      yield* told.rest(outcome.entry.value);
      yield { type: 'result', outcome };
    } finally {
      leaving.abort();
    }
  }

  /** Every stored analysis of a file; nothing is computed. */
  find(tenant: string, fileHash: string): Promise<StoredEntry<Analysis>[]> {
    return this.cache.findByFile(tenant, fileHash);
  }

  /** Forgets every stored analysis of a file; how many there were. */
  forget(tenant: string, fileHash: string): Promise<number> {
    return this.cache.deleteByFile(tenant, fileHash);
  }

  stats(): AiStats {
    return { analyses: this.cache.stats(), cost: this.ledger.stats() };
  }

  private check(content: Uint8Array): void {
    if (content.length === 0) throw new EmptyContentError();
    const { maxFileBytes } = this.options;
    if (content.length > maxFileBytes) throw new ContentTooLargeError(content.length, maxFileBytes);
  }

  private providersFor({ provider: wanted }: AnalysisRequest): readonly AiProvider[] {
    const { providers } = this.options;
    const found = wanted === undefined ? providers : providers.filter(({ name }) => name === wanted);
    if (found.length > 0) return found;
    throw new ProviderUnavailableError(
      wanted ?? 'any',
      providers.map(({ name }) => name),
    );
  }

  private async compute<T extends AnalysisType>(
    providers: readonly AiProvider[],
    request: TypedRequest<T>,
    key: string,
    askedAt: number,
    { signal, stale, emit, decide }: FactoryContext,
  ): Promise<Analysis<T>> {
    const { type, content, filename } = request;
    const language = filename === undefined ? undefined : languageOfFilename(filename);
    const begun = performance.now();
    const first = await firstAnswer(
      providers,
      { type, content, ...(language && { language }) },
      {
        signal,
        begun: askedAt,
        deadlineMs: this.options.deadlineMs,
        metrics: this.metrics,
        progress: {
          onAttempt: ({ name, model }, attempt) => emit(attemptPart({ provider: name, model, attempt })),
          onText: (text) => emit(textPart(text)),
          onFailed: (failed) => emit(failedPart(failed)),
          onUsage: ({ name, model }, usage) => this.note('spent', { provider: name, model, type }, usage),
        },
      },
    );
    const standIn = first.provider.name === LOCAL && first.failed.length > 0;
    if (standIn || first.answer.isPartial === true) decide({ ttlMs: this.standInTtlMs(type), staleMs: 0 });
    // An older answer of a model is better than that, and stays for those who take it.
    if (standIn && stale !== undefined && (stale.value as Analysis).provider !== LOCAL)
      decide({ store: false });
    return {
      fileHash: fileHashOf(content),
      type,
      ...provenanceOf(first, standIn),
      createdAt: new Date(this.now()).toISOString(),
      durationMs: Math.round(performance.now() - begun),
      key,
    };
  }

  /** Never longer than what it stands in for. */
  private standInTtlMs(type: AnalysisType): number {
    return Math.min(this.options.standInTtlMs ?? STAND_IN_TTL_MS, this.cache.ttlMsOf(type) ?? Infinity);
  }

  private note(side: 'spent' | 'saved', account: CostAccount, usage: ProviderUsage): void {
    this.ledger.add(side, account, usage);
    this.metrics.usage(side, account, usage);
  }
}

type Provenance<T extends AnalysisType> = Omit<
  Analysis<T>,
  'fileHash' | 'type' | 'createdAt' | 'durationMs' | 'key'
>;

function provenanceOf<T extends AnalysisType>(
  { provider, answer, failed }: FirstAnswer<T>,
  standIn: boolean,
): Provenance<T> {
  const { result, usage, transcript, model: modelVersion } = answer;
  const isTranscriptNeeded = transcript !== undefined && transcript !== JSON.stringify(result);
  return {
    provider: provider.name,
    model: provider.model,
    ...(modelVersion === undefined ? {} : { modelVersion: modelVersion.slice(0, 200) }),
    promptVersion: PROMPT_VERSION,
    result,
    usage,
    ...(failed.length === 0 ? {} : { failedBefore: failed }),
    ...(standIn ? { standIn } : {}),
    ...(isTranscriptNeeded ? { transcript } : {}),
  };
}

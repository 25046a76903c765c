import type { FailedAttempt } from './ai.errors.js';
import type { AnalysisResult, AnalysisType, ProviderName } from './analysis.js';
import { PROVIDER_NAMES } from './analysis.js';
import type { AnalysisRequest } from './analysis-key.js';
import { analysisKey, analysisKeysOfFile } from './analysis-key.js';
import type { Factory, GetOrSetOptions, Resolution } from '../cache/cache.js';
import { Cache } from '../cache/cache.js';
import type { CacheStorage, StoredEntry } from '../cache/storage/cache-storage.js';
import type { ProviderUsage } from './providers/ai-provider.js';

/** An answer as it is stored and as clients get it. */
export interface Analysis<T extends AnalysisType = AnalysisType> {
  readonly fileHash: string;
  readonly type: T;
  readonly provider: ProviderName;
  /** The model that was asked for, or the version of the embedded analyser. */
  readonly model: string;
  /** The model that says to have answered, where it is another name. */
  readonly modelVersion?: string;
  readonly promptVersion: string;
  readonly result: AnalysisResult<T>;
  readonly usage: ProviderUsage;
  /** Providers that are preferred, and why they did not answer. */
  readonly failedBefore?: readonly FailedAttempt[];
  /** True: the embedded analyser stands in for those; it is kept for a short time only. */
  readonly standIn?: boolean;
  /** ISO 8601. */
  readonly createdAt: string;
  /** What the computation took. */
  readonly durationMs: number;
  /** Its cache key. */
  readonly key: string;
  /** The text that the result was read from, where that is not the result as JSON; streams replay it. */
  readonly transcript?: string;
}

export interface AnalysisCacheOptions {
  /** How long an answer of a type is fresh, in milliseconds. Default: the cache's own. */
  readonly ttlMs?: Partial<Readonly<Record<AnalysisType, number>>>;
  /** What becomes of a computation that nobody waits for any more. Default `abort`. */
  readonly whenAbandoned?: GetOrSetOptions['whenAbandoned'];
}

export type AnalysisCacheCounts = Readonly<Record<'hits' | 'computed' | 'collapsed' | 'failed', number>>;

/** What of a call is the caller's to say; key, TTL and tags are the manager's. */
export type AnalysisCachePolicy = Pick<GetOrSetOptions, 'mode' | 'accept' | 'signal' | 'onPart'>;

/** Everything that analyses know of caching: the key, the TTL by type, the tags, the statistics. */
export class AnalysisCacheManager {
  private readonly counts: Record<AnalysisType, Record<keyof AnalysisCacheCounts, number>> = {
    deobfuscate: noCounts(),
    vulnerabilities: noCounts(),
  };

  /** Of which this instance knows. */
  private hasStandIns = false;

  constructor(
    private readonly cache: Cache,
    private readonly options: AnalysisCacheOptions = {},
  ) {}

  /** A manager of its own over any storage. */
  static over(storage: CacheStorage, options?: AnalysisCacheOptions): AnalysisCacheManager {
    return new AnalysisCacheManager(new Cache({ storage }), options);
  }

  keyOf(request: AnalysisRequest): string {
    return analysisKey(request);
  }

  /** How long an answer of a type is fresh, in milliseconds; undefined where the cache's own time holds. */
  ttlMsOf(type: AnalysisType): number | undefined {
    return this.options.ttlMs?.[type];
  }

  /** The stored answer, or the computed one; undefined only for `mode: 'cached'` where nothing is stored. */
  async resolve<T extends AnalysisType>(
    request: AnalysisRequest & { readonly type: T },
    key: string,
    compute: Factory<Analysis<T>>,
    policy: AnalysisCachePolicy = {},
  ): Promise<Resolution<Analysis<T>> | undefined> {
    const { type } = request;
    const { whenAbandoned = 'abort' } = this.options;
    const ttlMs = this.ttlMsOf(type);
    try {
      const resolution = await this.cache.resolve(key, compute, {
        ...policy,
        ...(ttlMs === undefined ? {} : { ttlMs }),
        whenAbandoned,
        tags: tagsOf,
      });
      if (resolution?.entry.value.standIn === true) this.hasStandIns = true;
      if (resolution !== undefined) this.counts[type][COUNT_OF[resolution.kind]] += 1;
      return resolution;
    } catch (error) {
      this.counts[type].failed += 1;
      throw error;
    }
  }

  /** Every stored analysis of a file. */
  async findByFile(tenant: string, fileHash: string): Promise<StoredEntry<Analysis>[]> {
    const found = await this.cache.inspect<Analysis>(analysisKeysOfFile(tenant, fileHash, PROVIDER_NAMES));
    return found.filter((stored) => stored !== undefined);
  }

  /** Removes every stored analysis of a file; how many there were. */
  async deleteByFile(tenant: string, fileHash: string): Promise<number> {
    const keys = analysisKeysOfFile(tenant, fileHash, PROVIDER_NAMES);
    const removed = await Promise.all(keys.map((key) => this.cache.delete(key)));
    return removed.filter(({ existed }) => existed).length;
  }

  /** A better provider is there again: what stood in for it is computed anew when it is asked for. */
  async forgetStandIns(): Promise<void> {
    if (!this.hasStandIns) return;
    this.hasStandIns = false;
    await this.cache.invalidateTags([STAND_IN_TAG]);
  }

  stats(): Readonly<Record<AnalysisType, AnalysisCacheCounts>> {
    return structuredClone(this.counts);
  }
}

const COUNT_OF = { hit: 'hits', computed: 'computed', collapsed: 'collapsed' } as const satisfies Record<
  Resolution<unknown>['kind'],
  keyof AnalysisCacheCounts
>;

const STAND_IN_TAG = 'stand-in';

function tagsOf({ fileHash, type, provider, model, promptVersion, standIn }: Analysis): string[] {
  return [
    `file:${fileHash}`,
    `type:${type}`,
    `provider:${provider}`,
    `model:${model}`,
    `prompt:${promptVersion}`,
    ...(standIn === true ? [STAND_IN_TAG] : []),
  ];
}

function noCounts(): Record<keyof AnalysisCacheCounts, number> {
  return { hits: 0, computed: 0, collapsed: 0, failed: 0 };
}

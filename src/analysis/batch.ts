import type { AiServiceManager } from '../ai/ai-service-manager.js';
import type { ProblemDocument } from '../request/problem.js';
import type { BatchItem } from './batch-items.js';
import type { BatchOutput } from './batch-output.js';
import type { BatchCounts, ItemResult } from './batch-result.js';
import type { CacheDirectives } from './cache-headers.js';
import { cacheStatusOf } from './cache-headers.js';
import { forEachAtOnce } from './for-each-at-once.js';
import { answerOf } from './answer.js';
import { resolveAnalysis } from './resolve-analysis.js';

export interface BatchOptions {
  readonly tenant: string;
  /** What the request asks of the cache, for each item. */
  readonly directives: CacheDirectives;
  /** Items that are analysed at once. */
  readonly concurrency: number;
  /** No item is begun once this is aborted. */
  readonly stop: AbortSignal;
  /** The problem document of an error. */
  readonly problem: (error: unknown) => ProblemDocument;
}

/** Analyses the items of one request and tells of each as it is done; what fails one leaves the others alone. */
export class Batch {
  private readonly counts = { total: 0, succeeded: 0, failed: 0, cached: 0 };

  constructor(
    private readonly ai: AiServiceManager,
    private readonly output: BatchOutput,
    private readonly options: BatchOptions,
  ) {}

  /**
   * All items; how many there were of each kind.
   * @throws where the items cannot be read any further, the client has gone, or `stop` is aborted
   */
  async run(items: AsyncIterator<BatchItem, unknown, undefined>): Promise<BatchCounts> {
    const { concurrency, stop } = this.options;
    await forEachAtOnce(items, concurrency, (item) => this.analyze(item), stop);
    return this.done;
  }

  /** The items that are done until now. */
  get done(): BatchCounts {
    return { ...this.counts };
  }

  private async analyze(item: BatchItem): Promise<void> {
    const result = await this.resultOf(item);
    this.counts.total += 1;
    await this.output.item(result, this.done);
  }

  private async resultOf(item: BatchItem): Promise<ItemResult> {
    const { index, id } = item;
    const { signal } = this.output;
    const { tenant, directives, problem } = this.options;
    try {
      if ('error' in item) throw item.error;
      const outcome = await resolveAnalysis(this.ai, { tenant, ...item.input }, directives, signal);
      this.counts.succeeded += 1;
      if (outcome.kind === 'hit') this.counts.cached += 1;
      const cacheStatus = cacheStatusOf(outcome, directives, Date.now());
      return { id, index, status: 200, cacheStatus, analysis: answerOf(outcome.entry.value) };
    } catch (reason) {
      signal.throwIfAborted();
      this.counts.failed += 1;
      const error = problem(reason);
      return { id, index, status: error.status, error };
    }
  }
}

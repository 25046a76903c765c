import { existsSync, realpathSync } from 'node:fs';
import { dirname, join, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { z } from 'zod';
import { AnalysisCrashedError, AnalysisTimeoutError, ContentTooLargeError } from '../../ai.errors.js';
import {
  deobfuscationResultSchema,
  vulnerabilitiesResultSchema,
  type AnalysisResult,
  type AnalysisResults,
  type AnalysisType,
} from '../../analysis.js';
import type {
  AiProvider,
  ProviderAnswer,
  ProviderContext,
  ProviderHealth,
  ProviderRequest,
} from '../ai-provider.js';
import type { LocalJob } from './analyze.js';
import { ProcessPool, type PoolEvent } from './process-pool.js';

/** Rises with every change that can change an answer; part of an answer's provenance. */
export const ANALYSER_VERSION = '1';

/** The largest content that any of the analyses reads. */
export const MAX_CONTENT_BYTES = 1024 * 1024;

export interface LocalProviderOptions {
  /** Files analysed at once, each in a process of its own. */
  readonly processes: number;
  /** For one file; waiting in the queue does not count. */
  readonly timeoutMs: number;
  /** Files that may wait. */
  readonly queueLimit: number;
  /** Larger content is refused. Default, and the most that is read: 1 MiB. */
  readonly maxBytes?: number;
  /** The compiled `child.js`. Default: the one beside this file. */
  readonly childPath?: string;
  readonly log?: (event: PoolEvent) => void;
}

const MAX_HEAP_MB = 512;

/** The embedded analysers, in processes of their own: no key, no network, and nothing that an input can break. */
export class LocalProvider implements AiProvider {
  readonly name = 'local';
  readonly model = `athena-local/${ANALYSER_VERSION}`;
  readonly #pool: ProcessPool<LocalJob>;
  readonly #maxBytes: number;

  constructor(options: LocalProviderOptions) {
    const { maxBytes = MAX_CONTENT_BYTES } = options;
    if (!Number.isInteger(maxBytes) || maxBytes < 1) {
      throw new RangeError(`maxBytes must be an integer from 1, received ${maxBytes}`);
    }
    const childPath = options.childPath ?? fileURLToPath(new URL('child.js', import.meta.url));
    this.#maxBytes = Math.min(maxBytes, MAX_CONTENT_BYTES);
    this.#pool = new ProcessPool({
      name: this.name,
      modulePath: childPath,
      readablePaths: programPaths(childPath),
      maxHeapMb: MAX_HEAP_MB,
      processes: options.processes,
      timeoutMs: options.timeoutMs,
      queueLimit: options.queueLimit,
      ...(options.log === undefined ? {} : { log: options.log }),
    });
  }

  /** Starts the processes ahead of the first request. */
  start(): void {
    this.#pool.start();
  }

  async analyze<T extends AnalysisType>(
    request: ProviderRequest<T>,
    context: ProviderContext,
  ): Promise<ProviderAnswer<T>> {
    const { content, type, language } = request;
    const bytes = content.byteLength;
    if (bytes > this.#maxBytes) throw new ContentTooLargeError(bytes, this.#maxBytes);
    const job: LocalJob = {
      type,
      contentBase64: Buffer.from(content.buffer, content.byteOffset, bytes).toString('base64'),
      ...(language === undefined ? {} : { language }),
    };
    context.onAttempt(1);
    const usage = { inputTokens: 0, outputTokens: 0 };
    return { ...(await this.#analyze(type, job, context)), usage };
  }

  health(): ProviderHealth {
    const { startable, queued, queueLimit, ...counts } = this.#pool.stats();
    const full = queueLimit > 0 && queued >= queueLimit;
    const state = startable ? (full ? 'degraded' : 'up') : 'down';
    return { state, details: { ...counts, queued, queueLimit } };
  }

  /** Lets what runs finish within its time. */
  async close(): Promise<void> {
    await this.#pool.close();
  }

  /** What a child had found out before it hung or died is an answer, and says what is missing. */
  async #analyze<T extends AnalysisType>(
    type: T,
    job: LocalJob,
    { signal, budgetMs }: ProviderContext,
  ): Promise<Pick<ProviderAnswer<T>, 'result' | 'isPartial'>> {
    const parse = (value: unknown): AnalysisResult<T> => parseResult(type, value);
    const patience = AbortSignal.timeout(Math.ceil(budgetMs));
    let partial: AnalysisResult<T> | undefined;
    const onPartial = (result: AnalysisResult<T>): void => {
      partial = result;
    };
    try {
      return {
        result: await this.#pool.run(job, { parse, signal: AbortSignal.any([signal, patience]), onPartial }),
      };
    } catch (caught) {
      const error = caught === patience.reason ? new AnalysisTimeoutError(this.name, budgetMs) : caught;
      const interrupted = error instanceof AnalysisTimeoutError || error instanceof AnalysisCrashedError;
      if (interrupted && partial !== undefined) return { result: partial, isPartial: true };
      throw error;
    }
  }
}

function parseResult<T extends AnalysisType>(type: T, value: unknown): AnalysisResult<T> {
  const schemas: { readonly [K in AnalysisType]: z.ZodType<AnalysisResults[K]> } = {
    deobfuscate: deobfuscationResultSchema,
    vulnerabilities: vulnerabilitiesResultSchema,
  };
  return schemas[type].parse(value);
}

/**
 * What the child's program consists of: its own tree, the packages, and one file that the isolate's loader looks
 * at. Not the folder above them: configuration and cached values lie there.
 */
function programPaths(childPath: string): string[] {
  const treeDepth = ['ai', 'providers', 'local'].length;
  const tree = resolve(dirname(realpathSync(childPath)), ...Array.from({ length: treeDepth }, () => '..'));
  const root = dirname(tree);
  const packages = join(root, 'node_modules');
  const folders = [tree, packages, ...(existsSync(packages) ? [realpathSync(packages)] : [])];
  return [
    ...new Set(folders.map((folder) => join(folder, sep))),
    join(root, 'package.json'),
    '/etc/alpine-release',
  ];
}

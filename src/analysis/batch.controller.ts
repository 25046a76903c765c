import type { BeforeApplicationShutdown } from '@nestjs/common';
import { Controller, Inject, Post, Req, Res, UseGuards } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { AiServiceManager } from '../ai/ai-service-manager.js';
import { TenantGuard, tenantOf } from '../auth/auth.guards.js';
import type { TenantRequest } from '../auth/auth.guards.js';
import type { ProblemDocument } from '../request/problem.js';
import { problemOf } from '../request/problem.js';
import { AnalysisOptions } from './analysis.options.js';
import { ShuttingDownError } from './analysis.errors.js';
import { Batch } from './batch.js';
import { batchItemsOf } from './batch-items.js';
import { openBatchOutput } from './batch-output.js';
import type { BatchEnd } from './batch-result.js';
import { BATCH_PATH } from './bodies.js';
import { parseCacheControl } from './cache-headers.js';
import { discardBody } from './discard-body.js';

/** Many analyses in one request. */
@Controller(BATCH_PATH)
@UseGuards(TenantGuard)
export class BatchController implements BeforeApplicationShutdown {
  private readonly closing = new AbortController();

  constructor(
    private readonly ai: AiServiceManager,
    @Inject(AnalysisOptions) private readonly options: AnalysisOptions,
  ) {}

  /** Answers 200 before the first item is read: what fails later is told in the answer, at its end. */
  @Post()
  async analyze(@Req() request: TenantRequest, @Res() reply: FastifyReply): Promise<void> {
    const { concurrency, heartbeatMs } = this.options;
    const { items, total } = batchItemsOf(request, this.options);
    const output = openBatchOutput(request, reply, { total, heartbeatMs });
    const problem = (error: unknown): ProblemDocument => problemOf(error, request.url);
    const batch = new Batch(this.ai, output, {
      tenant: tenantOf(request),
      directives: parseCacheControl(request.headers['cache-control']),
      concurrency,
      stop: this.closing.signal,
      problem,
    });
    const end = await batch.run(items).then(
      (counts): BatchEnd => ({ done: true, ...counts }),
      (error: unknown): BatchEnd | undefined =>
        output.signal.aborted ? undefined : { done: false, ...batch.done, error: problem(error) },
    );
    discardBody(request.raw);
    // A client that has gone needs no end.
    if (end !== undefined) await output.end(end).catch(() => {});
  }

  /** A batch may take longer than a shutdown waits: it says so where it ends. */
  beforeApplicationShutdown(): void {
    this.closing.abort(new ShuttingDownError());
  }
}

import { createHash } from 'node:crypto';
import { Controller, Delete, Get, HttpCode, Inject, Param, Post, Req, Res, UseGuards } from '@nestjs/common';
import type { BeforeApplicationShutdown } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { AiServiceManager } from '../ai/ai-service-manager.js';
import { TenantGuard, tenantOf } from '../auth/auth.guards.js';
import type { TenantRequest } from '../auth/auth.guards.js';
import { sendAnalysisEvents } from './analysis-events.js';
import {
  AnalysisNotFoundError,
  InvalidFileHashError,
  ShuttingDownError,
  UnsupportedMediaTypeError,
} from './analysis.errors.js';
import { AnalysisOptions } from './analysis.options.js';
import type { AnalysisInput } from './analysis.schema.js';
import { inputFromJson } from './analysis.schema.js';
import { answerOf } from './answer.js';
import { cacheFieldsOf, cachePolicyOf, parseCacheControl } from './cache-headers.js';
import { acceptsEvents } from './event-stream.js';
import { resolveAnalysis } from './resolve-analysis.js';
import { RunningRequests } from './running-requests.js';
import { inputFromUpload } from './upload.js';

/** The HTTP face of `AiServiceManager`. */
@Controller('v1/analyses')
@UseGuards(TenantGuard)
export class AnalysisController implements BeforeApplicationShutdown {
  private readonly running = new RunningRequests();

  constructor(
    private readonly ai: AiServiceManager,
    @Inject(AnalysisOptions) private readonly options: AnalysisOptions,
  ) {}

  @Post()
  @HttpCode(200)
  async analyze(
    @Req() request: TenantRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<unknown> {
    const begun = performance.now();
    const directives = parseCacheControl(request.headers['cache-control']);
    const analysis = { tenant: tenantOf(request), ...(await readInput(request)) };
    const signal = this.running.signalOf(reply);
    if (acceptsEvents(request.headers.accept)) {
      const events = this.ai.stream(analysis, { ...cachePolicyOf(directives, Date.now), signal });
      const { heartbeatMs } = this.options;
      return sendAnalysisEvents(events, reply, { directives, url: request.url, heartbeatMs });
    }
    const outcome = await resolveAnalysis(this.ai, analysis, directives, signal);
    reply
      .headers(cacheFieldsOf(outcome, directives, Date.now()))
      .header('content-location', `/v1/analyses/${outcome.entry.value.fileHash}`)
      .header('server-timing', `total;dur=${(performance.now() - begun).toFixed(1)}`);
    return answerOf(outcome.entry.value);
  }

  /** What would be cut off has an end that says so. */
  beforeApplicationShutdown(): void {
    setTimeout(() => this.running.abort(new ShuttingDownError()), this.options.shutdownGraceMs).unref();
  }

  @Get(':fileHash')
  async find(
    @Req() request: TenantRequest,
    @Param('fileHash') fileHashText: string,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<unknown> {
    const fileHash = parseFileHash(fileHashText);
    const found = await this.ai.find(tenantOf(request), fileHash);
    const [first] = found;
    if (first === undefined) throw new AnalysisNotFoundError(fileHash);
    const now = Date.now();
    const oldest = Math.min(...found.map(({ entry }) => entry.createdAt));
    const soonest = Math.min(...found.map(({ entry }) => entry.freshUntil));
    const etag = etagOf(found.map(({ entry }) => `${entry.value.key} ${entry.version}`));
    reply.headers({
      etag,
      vary: 'Authorization',
      'cache-control': 'private, no-cache',
      'cache-status': `athena; hit; ttl=${Math.floor((soonest - now) / 1000)}; detail=${first.tier}`,
      age: String(Math.max(0, Math.floor((now - oldest) / 1000))),
    });
    if (matches(request.headers['if-none-match'], etag)) {
      reply.status(304);
      return undefined;
    }
    return { fileHash, analyses: found.map(({ entry }) => answerOf(entry.value)) };
  }

  @Delete(':fileHash')
  async forget(@Req() request: TenantRequest, @Param('fileHash') fileHashText: string): Promise<unknown> {
    const fileHash = parseFileHash(fileHashText);
    const deleted = await this.ai.forget(tenantOf(request), fileHash);
    if (deleted === 0) throw new AnalysisNotFoundError(fileHash);
    return { fileHash, deleted };
  }
}

async function readInput(request: TenantRequest): Promise<AnalysisInput> {
  const contentType = request.headers['content-type'];
  if (/^application\/json\b/i.test(contentType ?? '')) return inputFromJson(request.body);
  if (request.isMultipart()) return inputFromUpload(request);
  throw new UnsupportedMediaTypeError(contentType);
}

function parseFileHash(text: string): string {
  if (!/^[0-9a-f]{64}$/i.test(text)) throw new InvalidFileHashError();
  return text.toLowerCase();
}

function etagOf(versions: readonly string[]): string {
  return `"${createHash('sha256').update(versions.join('\n')).digest('hex').slice(0, 32)}"`;
}

/** RFC 9110 section 13.1.2: a list of tags, weakly compared, or `*`. */
function matches(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  return ifNoneMatch.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag);
}

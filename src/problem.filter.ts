import type { ArgumentsHost, ExceptionFilter } from '@nestjs/common';
import { Catch, HttpException } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { problemOf } from './request/problem.js';

const SOON_OVER = new Set([
  'all_providers_failed',
  'circuit_open',
  'provider_rate_limited',
  'provider_busy',
  'too_many_waiters',
]);
const SOON_MS = 1000;

/** Every failure leaves as an RFC 9457 problem document. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  catch(error: unknown, host: ArgumentsHost): void {
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    const { url } = host.switchToHttp().getRequest<FastifyRequest>();
    // Already streaming, or the client is gone: there is nobody to tell.
    if (reply.sent || reply.raw.destroyed) return;
    if (isHealthReport(error)) {
      void reply.status(error.getStatus()).send(error.getResponse());
      return;
    }
    const problem = problemOf(error, url);
    const { code, status } = problem;
    if (code === 'unauthorized') reply.header('www-authenticate', 'Bearer');
    if (SOON_OVER.has(code)) reply.header('retry-after', retryAfterSeconds(error));
    // Fastify would cut the connection while the client still writes, who then never reads this answer. Node discards
    // the rest of the body instead, for as long as a request may take.
    if (code === 'body_too_large') reply.removeHeader('connection');
    void reply
      .status(status)
      .type('application/problem+json')
      .header('cache-control', 'no-store')
      .send(problem);
  }
}

/** RFC 9110 section 10.2.3: whole seconds, and not too early. */
function retryAfterSeconds(error: unknown): string {
  const { retryAfterMs } = error as { retryAfterMs?: unknown };
  return String(Math.max(1, Math.ceil((typeof retryAfterMs === 'number' ? retryAfterMs : SOON_MS) / 1000)));
}

/** Terminus reports failed checks as an exception whose response is the report. */
function isHealthReport(error: unknown): error is HttpException {
  if (!(error instanceof HttpException)) return false;
  const response = error.getResponse();
  return typeof response === 'object' && 'details' in response;
}

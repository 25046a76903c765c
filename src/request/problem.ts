import { HttpException, Logger } from '@nestjs/common';

const logger = new Logger('Http');

interface Problem {
  readonly status: number;
  readonly title: string;
}

/** Error code to status; the only place that knows both. Codes are documented in `docs/errors.md`. */
export const PROBLEMS: Readonly<Record<string, Problem>> = {
  invalid_json: { status: 400, title: 'The body is not valid JSON' },
  invalid_multipart: { status: 400, title: 'The body is not valid multipart/form-data' },
  invalid_request: { status: 400, title: 'The request has invalid fields' },
  invalid_base64: { status: 400, title: 'The content is not valid base64' },
  invalid_file_hash: { status: 400, title: 'The file hash is not valid' },
  content_empty: { status: 400, title: 'The content is empty' },
  duplicate_id: { status: 400, title: 'The id is taken' },
  unauthorized: { status: 401, title: 'A known key is needed' },
  admin_forbidden: { status: 403, title: 'Administrators only' },
  not_found: { status: 404, title: 'No such resource' },
  analysis_not_found: { status: 404, title: 'No stored analysis' },
  content_too_large: { status: 413, title: 'The content is too large' },
  body_too_large: { status: 413, title: 'The body is too large' },
  item_too_large: { status: 413, title: 'The item is too large' },
  too_many_items: { status: 413, title: 'The batch has too many items' },
  unsupported_media_type: { status: 415, title: 'Unsupported media type' },
  provider_unavailable: { status: 422, title: 'The provider is not available here' },
  analysis_crashed: { status: 422, title: 'The content cannot be analysed' },
  answer_refused: { status: 422, title: 'The provider declines to analyse the content' },
  request_aborted: { status: 499, title: 'The client closed the request' },
  internal_error: { status: 500, title: 'Internal error' },
  invalid_answer: { status: 502, title: 'The provider gave an invalid answer' },
  answer_truncated: { status: 502, title: 'The answer was cut' },
  provider_failed: { status: 502, title: 'The provider failed' },
  provider_rejected: { status: 502, title: 'The provider rejected the request' },
  all_providers_failed: { status: 503, title: 'No provider could answer' },
  circuit_open: { status: 503, title: 'The provider is left alone for a while' },
  provider_rate_limited: { status: 503, title: 'The provider allows no more requests' },
  provider_busy: { status: 503, title: 'The provider is busy' },
  too_many_waiters: { status: 503, title: 'Too many requests wait already' },
  shutting_down: { status: 503, title: 'Shutting down' },
  analysis_timeout: { status: 504, title: 'The analysis took too long' },
  not_cached: { status: 504, title: 'Not cached' },
};

/** Codes of Fastify and its plug-ins, in ours. */
const FOREIGN_CODES: Readonly<Record<string, string>> = {
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'invalid_request',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_CTP_BODY_TOO_LARGE: 'body_too_large',
  FST_REQ_FILE_TOO_LARGE: 'content_too_large',
  FST_FILES_LIMIT: 'invalid_multipart',
  FST_PARTS_LIMIT: 'invalid_multipart',
  FST_FIELDS_LIMIT: 'invalid_multipart',
  FST_PROTO_VIOLATION: 'invalid_multipart',
  FST_INVALID_MULTIPART_CONTENT_TYPE: 'invalid_multipart',
  FST_INVALID_JSON_FIELD_ERROR: 'invalid_multipart',
  FST_MP_PREMATURE_CLOSE: 'request_aborted',
  FST_NO_FORM_DATA: 'invalid_multipart',
  FST_ERR_VALIDATION: 'invalid_request',
  cache_storage_closed: 'shutting_down',
  cache_too_many_waiters: 'too_many_waiters',
};

/** Codes by status, for what a framework refuses without a code of its own. */
const CODE_BY_STATUS: Readonly<Record<number, string>> = {
  400: 'invalid_request',
  404: 'not_found',
  413: 'body_too_large',
  415: 'unsupported_media_type',
};

/** Fields of an error that are about the error, not facts for the client. */
const NOT_FACTS = new Set([
  'name',
  'code',
  'message',
  'stack',
  'cause',
  'statusCode',
  'status',
  'response',
  'options',
]);
/** A problem document of RFC 9457; what stands beside the named members are the facts of the failure. */
export interface ProblemDocument {
  readonly type: string;
  readonly title: string;
  /** The HTTP status. */
  readonly status: number;
  readonly detail?: string;
  /** Stable; `docs/errors.md` documents each. */
  readonly code: string;
  readonly instance: string;
  readonly [fact: string]: unknown;
}

/**
 * The problem document of an error. What has no code that is known is a fault of ours: the log has it, and a client
 * learns no more than that.
 * @param url of the request that failed
 */
export function problemOf(error: unknown, url: string): ProblemDocument {
  const code = codeOf(error);
  const { status, title } = PROBLEMS[code] ?? { status: 500, title: 'Internal error' };
  if (status === 500) logger.error(error instanceof Error ? error : new Error(String(error)));
  return {
    type: `urn:athena:problem:${code}`,
    title,
    status,
    ...(status === 500 ? {} : { detail: messageOf(error) }),
    code,
    instance: url.slice(0, 500),
    ...(status === 500 ? {} : factsOf(error)),
  };
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'internal_error';
  if (error.name === 'AbortError') return 'request_aborted';
  const { code, statusCode } = error as { code?: unknown; statusCode?: unknown };
  const own = typeof code === 'string' ? (FOREIGN_CODES[code] ?? code) : '';
  if (Object.hasOwn(PROBLEMS, own)) return own;
  const status = error instanceof HttpException ? error.getStatus() : statusCode;
  return (typeof status === 'number' ? CODE_BY_STATUS[status] : undefined) ?? 'internal_error';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message.slice(0, 2_000) : '';
}

/** The facts that our errors carry as fields. */
function factsOf(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error) || error instanceof HttpException) return {};
  const { code } = error as { code?: unknown };
  if (typeof code !== 'string' || !Object.hasOwn(PROBLEMS, code)) return {};
  return Object.fromEntries(Object.entries(error).filter(([name]) => !NOT_FACTS.has(name)));
}

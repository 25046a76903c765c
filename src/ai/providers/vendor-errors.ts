import { APICallError } from '@ai-sdk/provider';
import {
  AiError,
  ProviderFailedError,
  ProviderRateLimitedError,
  ProviderRejectedError,
} from '../ai.errors.js';

const MAX_REASON_CHARS = 300;
/** A longer wait than this is not believed. */
const MAX_RETRY_AFTER_MS = 3_600_000;

/**
 * What a call of a vendor ended in, as one of our errors. Messages of vendors are theirs: shortened, on one line, and
 * without our key, which some of them repeat.
 */
export function vendorError(provider: string, error: unknown, secret: string | undefined): AiError {
  if (error instanceof AiError) return error;
  // The SDK wraps what fails while it reads.
  if (APICallError.isInstance(error) && error.cause instanceof AiError) return error.cause;
  const options = { cause: error };
  const { statusCode: status, message } = factsOf(error);
  const reason = printable(message, secret);
  const retryAfterMs = APICallError.isInstance(error) ? retryAfterOf(error.responseHeaders) : undefined;
  if (status === 429) return new ProviderRateLimitedError(provider, retryAfterMs, options);
  // 408, 409 and 425 ask for another try, too.
  const isRefusal =
    status !== undefined && status >= 400 && status < 500 && ![408, 409, 425].includes(status);
  if (isRefusal) return new ProviderRejectedError(provider, status, reason, options);
  return new ProviderFailedError(provider, reason, status, retryAfterMs, options);
}

/** An error of the SDK, or what a vendor sent in the middle of a stream, which is no `Error`. */
function factsOf(error: unknown): { readonly statusCode: number | undefined; readonly message: string } {
  if (typeof error !== 'object' || error === null) return { statusCode: undefined, message: String(error) };
  const { statusCode, message, cause } = error as {
    statusCode?: unknown;
    message?: unknown;
    cause?: unknown;
  };
  const text = typeof message === 'string' && message !== '' ? message : 'an error without a message';
  const deeper = cause instanceof Error && cause.message !== '' && !text.includes(cause.message);
  return {
    // Of a 200 that could not be read the status says nothing.
    statusCode: typeof statusCode === 'number' && statusCode >= 400 ? statusCode : undefined,
    message: deeper ? `${text} (${cause.message})` : text,
  };
}

/** What a vendor says, as it may be shown: on one line, bounded, without our key. */
export function printable(message: string, secret: string | undefined): string {
  const hidden = secret === undefined || secret === '' ? message : message.replaceAll(secret, '(hidden)');
  return hidden
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim()
    .slice(0, MAX_REASON_CHARS)
    .toWellFormed();
}

const NUMBER = /^\d+(\.\d+)?$/;
/** `Date.parse` finds a date in nearly everything that has a number. */
const DATE = /^(mon|tue|wed|thu|fri|sat|sun)[a-z]*,? /i;

/** RFC 9110 section 10.2.3: seconds or a date; `retry-after-ms` is what some vendors send beside it. */
export function retryAfterOf(
  headers: Readonly<Record<string, string>> = {},
  now: () => number = Date.now,
): number | undefined {
  const milliseconds = headers['retry-after-ms']?.trim() ?? '';
  if (NUMBER.test(milliseconds)) return Math.min(Number(milliseconds), MAX_RETRY_AFTER_MS);
  const value = headers['retry-after']?.trim() ?? '';
  const waitMs = NUMBER.test(value)
    ? Number(value) * 1000
    : DATE.test(value)
      ? Date.parse(value) - now()
      : NaN;
  return Number.isNaN(waitMs) ? undefined : Math.min(Math.max(0, waitMs), MAX_RETRY_AFTER_MS);
}

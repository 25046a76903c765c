/** Every failure that an analysis can end in. `code` is stable; `docs/errors.md` documents each. */
export abstract class AiError extends Error {
  abstract readonly code: string;
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** There is nothing to analyse. */
export class EmptyContentError extends AiError {
  readonly code = 'content_empty';
  constructor() {
    super('The content is empty; there is nothing to analyse.');
  }
}

/** The provider named in the request is not one that this instance can use. */
export class ProviderUnavailableError extends AiError {
  readonly code = 'provider_unavailable';
  constructor(
    readonly provider: string,
    readonly available: readonly string[],
  ) {
    super(`Provider "${provider}" is not available here; available: ${available.join(', ') || 'none'}.`);
  }
}

/** Every place of the provider and its queue is taken; try again later. */
export class ProviderBusyError extends AiError {
  readonly code = 'provider_busy';
  constructor(
    readonly provider: string,
    readonly queueLimit: number,
  ) {
    super(`Provider "${provider}" is busy: its queue of ${queueLimit} is full.`);
  }
}

/** The provider has failed too often lately; nothing is sent to it for a while. */
export class CircuitOpenError extends AiError {
  readonly code = 'circuit_open';
  constructor(
    readonly provider: string,
    readonly retryAfterMs: number,
  ) {
    super(`Provider "${provider}" has failed too often lately; it is tried again in ${retryAfterMs} ms.`);
  }
}

/** The provider allows no more requests for now. `retryAfterMs`: as it says; undefined if it does not. */
export class ProviderRateLimitedError extends AiError {
  readonly code = 'provider_rate_limited';
  constructor(
    readonly provider: string,
    readonly retryAfterMs: number | undefined,
    options?: ErrorOptions,
  ) {
    const when = retryAfterMs === undefined ? '' : ` for ${retryAfterMs} ms`;
    super(`Provider "${provider}" allows no more requests${when}.`, options);
  }
}

/** The provider could not be reached, broke off, or failed itself. */
export class ProviderFailedError extends AiError {
  readonly code = 'provider_failed';
  constructor(
    readonly provider: string,
    readonly reason: string,
    /** Of HTTP, if it came to an answer. */
    readonly vendorStatus?: number,
    /** As the provider says. */
    readonly retryAfterMs?: number,
    options?: ErrorOptions,
  ) {
    super(`Provider "${provider}" failed: ${reason}.`, options);
  }
}

/** The provider does not take this request: the key, the model or the content. The same again would be refused again. */
export class ProviderRejectedError extends AiError {
  readonly code = 'provider_rejected';
  constructor(
    readonly provider: string,
    readonly vendorStatus: number,
    readonly reason: string,
    options?: ErrorOptions,
  ) {
    super(`Provider "${provider}" rejected the request with status ${vendorStatus}: ${reason}.`, options);
  }
}

/** The model declines to answer this; nothing was stored. */
export class AnswerRefusedError extends AiError {
  readonly code = 'answer_refused';
  constructor(readonly provider: string) {
    super(`Provider "${provider}" declined to analyse this content.`);
  }
}

/** The model's answer was cut at its length limit; nothing was stored. */
export class AnswerTruncatedError extends AiError {
  readonly code = 'answer_truncated';
  constructor(readonly provider: string) {
    super(`Provider "${provider}" cut its answer at the length limit.`);
  }
}

/** The analysis took longer than it may. */
export class AnalysisTimeoutError extends AiError {
  readonly code = 'analysis_timeout';
  constructor(
    readonly provider: string,
    readonly timeoutMs: number,
  ) {
    super(`Provider "${provider}" did not finish within ${timeoutMs} ms.`);
  }
}

/** The process that ran the analysis died (out of memory, a fatal engine error). The service is not affected. */
export class AnalysisCrashedError extends AiError {
  readonly code = 'analysis_crashed';
  constructor(
    readonly provider: string,
    readonly reason: string,
    options?: ErrorOptions,
  ) {
    super(`Provider "${provider}" could not survive this input: ${reason}.`, options);
  }
}

/** The provider answered, but not with a valid result; nothing was stored. */
export class InvalidAnswerError extends AiError {
  readonly code = 'invalid_answer';
  constructor(
    readonly provider: string,
    readonly reason: string,
    options?: ErrorOptions,
  ) {
    super(`Provider "${provider}" gave an invalid answer: ${reason}.`, options);
  }
}

/** The content is larger than the provider can analyse. */
export class ContentTooLargeError extends AiError {
  readonly code = 'content_too_large';
  constructor(
    readonly bytes: number,
    readonly maxBytes: number,
  ) {
    super(`The content has ${bytes} bytes; at most ${maxBytes} are analysed.`);
  }
}

/** A provider that was tried before the one that answered, or before all had failed. */
export interface FailedAttempt {
  readonly provider: string;
  readonly model: string;
  /** Of the `AiError`. */
  readonly code: string;
  readonly reason: string;
  readonly durationMs: number;
}

/** Several providers were tried, and none could answer. */
export class AllProvidersFailedError extends AiError {
  readonly code = 'all_providers_failed';
  constructor(
    readonly attempts: readonly FailedAttempt[],
    /** When one of them may be worth another try, if that is known. */
    readonly retryAfterMs?: number,
    options?: ErrorOptions,
  ) {
    const list = attempts.map(({ provider, code }) => `${provider} (${code})`).join(', ');
    super(`No provider could answer: ${list}.`, options);
  }
}

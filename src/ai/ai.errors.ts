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

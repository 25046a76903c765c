import { RequestError } from '../request/validate.js';

/** The body says that it is JSON and is not. */
export class InvalidJsonError extends RequestError {
  readonly code = 'invalid_json';
}

/** The body says that it is multipart/form-data and is not, or has parts that no request has. */
export class InvalidMultipartError extends RequestError {
  readonly code = 'invalid_multipart';
}

/** `encoding` is base64 and `content` is not. */
export class InvalidBase64Error extends RequestError {
  readonly code = 'invalid_base64';
  constructor() {
    super('content: not valid base64 (RFC 4648, with or without padding, standard or URL alphabet).');
  }
}

/** The body is of none of the types that are understood there. */
export class UnsupportedMediaTypeError extends RequestError {
  readonly code = 'unsupported_media_type';
  constructor(
    readonly received: string | undefined,
    accepted = 'application/json or multipart/form-data',
  ) {
    super(`Send ${accepted}; got ${received ?? 'no Content-Type'}.`);
  }
}

/** The body is larger than anything that would be taken could make it. */
export class BodyTooLargeError extends RequestError {
  readonly code = 'body_too_large';
  constructor(readonly maxBytes: number) {
    super(`The body has more than ${maxBytes} bytes.`);
  }
}

/** One line of a batch is longer than any file could make it. */
export class ItemTooLargeError extends RequestError {
  readonly code = 'item_too_large';
  constructor(
    readonly line: number,
    readonly maxBytes: number,
  ) {
    super(`Line ${line} has more than ${maxBytes} bytes.`);
  }
}

/** The batch has more items than it may. */
export class TooManyItemsError extends RequestError {
  readonly code = 'too_many_items';
  constructor(readonly maxItems: number) {
    super(`The batch has more than ${maxItems} items.`);
  }
}

/** An earlier item of the batch has the same id. */
export class DuplicateIdError extends RequestError {
  readonly code = 'duplicate_id';
  constructor(readonly id: string) {
    super(`id: ${JSON.stringify(id)} is the id of an earlier item of this batch.`);
  }
}

/** The hash in the path is not the SHA-256 of anything. */
export class InvalidFileHashError extends RequestError {
  readonly code = 'invalid_file_hash';
  constructor() {
    super('The file hash is a SHA-256 in 64 hexadecimal digits.');
  }
}

/** Nothing is stored for this file, or nothing that this tenant may see. */
export class AnalysisNotFoundError extends RequestError {
  readonly code = 'analysis_not_found';
  constructor(readonly fileHash: string) {
    super(`No analysis of ${fileHash} is stored.`);
  }
}

/** `only-if-cached`, and it is not. */
export class NotCachedError extends RequestError {
  readonly code = 'not_cached';
  constructor() {
    super('No stored analysis satisfies the request, and only-if-cached forbids to compute one.');
  }
}

/** This instance is leaving, and begins nothing more. */
export class ShuttingDownError extends RequestError {
  readonly code = 'shutting_down';
  constructor() {
    super('This instance is shutting down.');
  }
}

import type { z } from 'zod';

/** Every way in which a request can be wrong. */
export abstract class RequestError extends Error {
  abstract readonly code: string;
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

export interface FieldFault {
  /** Path of the field in the request, e.g. `type`. */
  readonly field: string;
  readonly message: string;
}

/** Fields are missing, unknown or out of range; all of them are listed. */
export class InvalidRequestError extends RequestError {
  readonly code = 'invalid_request';
  constructor(readonly faults: readonly FieldFault[]) {
    super(faults.map(({ field, message }) => `${field}: ${message}`).join('; '));
  }
}

/** @throws InvalidRequestError with every fault */
export function validate<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new InvalidRequestError(result.error.issues.flatMap(faultsOf));
}

function faultsOf(issue: z.core.$ZodIssue): FieldFault[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys
      .slice(0, 10)
      .map((key) => ({ field: key.slice(0, 100), message: 'is not a field of this request' }));
  }
  const field = issue.path.map(String).join('.') || 'body';
  return [{ field, message: issue.path.length === 0 ? 'must be an object' : issue.message }];
}

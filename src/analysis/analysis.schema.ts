import { z } from 'zod';
import type { AnalysisType, ProviderName } from '../ai/analysis.js';
import { ANALYSIS_TYPES, PROVIDER_NAMES } from '../ai/analysis.js';
import { validate } from '../request/validate.js';
import { InvalidBase64Error } from './analysis.errors.js';

const listed = (names: readonly string[]): string => `must be one of ${names.join(', ')}`;

/** The fields that both bodies have, JSON and multipart. */
const commonFields = {
  type: z.enum(ANALYSIS_TYPES, listed(ANALYSIS_TYPES)),
  filename: z.string('must be a string').max(255, 'must have at most 255 characters').optional(),
  provider: z.enum(PROVIDER_NAMES, listed(PROVIDER_NAMES)).optional(),
};

export const analysisBodySchema = z.strictObject({
  ...commonFields,
  content: z
    .string('must be a string')
    .refine((text) => text.isWellFormed(), 'has lone surrogates, which UTF-8 cannot carry; send base64'),
  encoding: z.enum(['utf-8', 'base64'], 'must be utf-8 or base64').default('utf-8'),
});

export const analysisFieldsSchema = z.strictObject(commonFields);

/** A request as the rest of the application takes it: what was sent, decoded. */
export interface AnalysisInput {
  readonly type: AnalysisType;
  readonly content: Uint8Array;
  readonly filename?: string | undefined;
  readonly provider?: ProviderName | undefined;
}

/** @throws InvalidRequestError, InvalidBase64Error */
export function inputFromJson(body: unknown): AnalysisInput {
  return inputOf(validate(analysisBodySchema, body));
}

/** @throws InvalidBase64Error */
export function inputOf({ content, encoding, ...fields }: z.infer<typeof analysisBodySchema>): AnalysisInput {
  return { ...fields, content: encoding === 'base64' ? decodeBase64(content) : Buffer.from(content, 'utf8') };
}

/** `Buffer.from` skips what is not base64; a file must not change silently on its way in. */
function decodeBase64(text: string): Buffer {
  const digits = text.replace(/[\r\n\t ]/g, '').replace(/={1,2}$/, '');
  if (!/^(?:[A-Za-z0-9+/]*|[A-Za-z0-9_-]*)$/.test(digits) || digits.length % 4 === 1)
    throw new InvalidBase64Error();
  return Buffer.from(digits, 'base64');
}

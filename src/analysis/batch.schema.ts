import { z } from 'zod';
import { validate } from '../request/validate.js';
import type { AnalysisInput } from './analysis.schema.js';
import { analysisBodySchema, inputOf } from './analysis.schema.js';

/** Of an item's id, in UTF-16 units. */
export const MAX_ID_LENGTH = 128;

const id = z
  .string('must be a string')
  .min(1, 'must not be empty')
  .max(MAX_ID_LENGTH, `must have at most ${MAX_ID_LENGTH} characters`);

const batchItemSchema = analysisBodySchema.extend({ id: id.optional() });
const batchBodySchema = z.strictObject({ items: z.array(z.unknown(), 'must be a list') });

/** One item as it was read: a request, or what is wrong with it. */
export type ReadItem = { readonly id?: string | undefined } & (
  { readonly input: AnalysisInput } | { readonly error: unknown }
);

/** An item that is wrong keeps its id, so that its sender knows which it was. */
export function itemFromJson(value: unknown): ReadItem {
  const given = z.looseObject({ id }).safeParse(value).data?.id;
  try {
    const { id: _, ...body } = validate(batchItemSchema, value);
    return { id: given, input: inputOf(body) };
  } catch (error) {
    return { id: given, error };
  }
}

/**
 * The items of a JSON body: a list, or an object with `items`.
 * @throws InvalidRequestError
 */
export function itemsFromJson(body: unknown): readonly unknown[] {
  return Array.isArray(body) ? body : validate(batchBodySchema, body).items;
}

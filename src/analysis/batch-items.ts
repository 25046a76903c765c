import type { FastifyRequest } from 'fastify';
import { DuplicateIdError, TooManyItemsError, UnsupportedMediaTypeError } from './analysis.errors.js';
import { itemsOfLines } from './batch-lines.js';
import type { BatchLimits } from './batch-limits.js';
import type { ReadItem } from './batch.schema.js';
import { itemFromJson, itemsFromJson } from './batch.schema.js';
import { itemsOfUpload } from './batch-upload.js';
import { NDJSON_TYPES } from './bodies.js';

/** An item with its place in the batch. */
export type BatchItem = ReadItem & { readonly index: number; readonly id: string };

export interface BatchItems {
  /** Each is read when it is asked for; throws where the body cannot be read any further. */
  readonly items: AsyncGenerator<BatchItem, void, undefined>;
  /** How many there are, where that is known before they are read. */
  readonly total?: number;
}

/**
 * The items of a request, by its content type.
 * @throws UnsupportedMediaTypeError, and for a JSON body InvalidRequestError and TooManyItemsError
 */
export function batchItemsOf(request: FastifyRequest, limits: BatchLimits): BatchItems {
  const contentType = request.headers['content-type'];
  const mediaType = contentType?.split(';')[0]?.trim().toLowerCase();
  if (mediaType === 'application/json') {
    const values = itemsFromJson(request.body);
    if (values.length > limits.maxItems) throw new TooManyItemsError(limits.maxItems);
    return { items: numbered(itemsOfList(values), limits), total: values.length };
  }
  if (NDJSON_TYPES.some((type) => type === mediaType)) {
    return { items: numbered(itemsOfLines(request, limits), limits) };
  }
  if (request.isMultipart()) return { items: numbered(itemsOfUpload(request, limits), limits) };
  throw new UnsupportedMediaTypeError(
    contentType,
    `${NDJSON_TYPES[0]}, application/json or multipart/form-data`,
  );
}

async function* itemsOfList(values: readonly unknown[]): AsyncGenerator<ReadItem, void, undefined> {
  for (const value of values) yield itemFromJson(value);
}

/** @throws TooManyItemsError */
async function* numbered(
  read: AsyncIterable<ReadItem>,
  { maxItems }: BatchLimits,
): AsyncGenerator<BatchItem, void, undefined> {
  const taken = new Set<string>();
  let index = 0;
  for await (const item of read) {
    if (index === maxItems) throw new TooManyItemsError(maxItems);
    const id = item.id ?? String(index);
    yield taken.has(id) ? { index, id, error: new DuplicateIdError(id) } : { ...item, index, id };
    taken.add(id);
    index += 1;
  }
}

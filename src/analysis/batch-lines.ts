import type { IncomingMessage } from 'node:http';
import type { FastifyRequest } from 'fastify';
import { BodyTooLargeError, ItemTooLargeError } from './analysis.errors.js';
import type { BatchLimits } from './batch-limits.js';
import type { ReadItem } from './batch.schema.js';
import { itemFromJson } from './batch.schema.js';
import { maxJsonBytes } from './bodies.js';
import { linesOf } from './lines.js';
import { strictJson } from './strict-json.js';

/**
 * The items of an NDJSON body, one a line, read as they are asked for. A line that is too long is an item that failed;
 * after one that is no JSON nothing in the body can be relied on.
 * @throws InvalidJsonError, BodyTooLargeError
 */
export async function* itemsOfLines(
  request: FastifyRequest,
  { maxFileBytes, maxItems }: BatchLimits,
): AsyncGenerator<ReadItem, void, undefined> {
  const maxBytes = maxJsonBytes(maxFileBytes);
  const parse = strictJson(request.server);
  for await (const { number, bytes } of linesOf(bodyOf(request.raw, maxBytes * maxItems), maxBytes)) {
    if (bytes === undefined) yield { error: new ItemTooLargeError(number, maxBytes) };
    else if (!isBlank(bytes)) yield itemFromJson(parse(request, bytes, `Line ${number}`));
  }
}

/** Blank and overlong lines cost no item, so the body has a bound of its own. */
async function* bodyOf(raw: IncomingMessage, maxBytes: number): AsyncGenerator<Uint8Array, void, undefined> {
  let bytes = 0;
  try {
    // Destroying the request would take the connection away under the answer.
    for await (const chunk of raw.iterator({ destroyOnReturn: false })) {
      bytes += (chunk as Buffer).length;
      if (bytes > maxBytes) break;
      yield chunk as Buffer;
    }
  } catch (cause) {
    throw new DOMException(`The body broke off: ${String(cause)}`, 'AbortError');
  }
  if (bytes > maxBytes) throw new BodyTooLargeError(maxBytes);
}

const BLANKS = new Set(Buffer.from(' \t\r'));
const isBlank = (line: Uint8Array): boolean => line.every((byte) => BLANKS.has(byte));

import type { MultipartFile } from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import { InvalidRequestError, validate } from '../request/validate.js';
import { BodyTooLargeError } from './analysis.errors.js';
import { analysisFieldsSchema } from './analysis.schema.js';
import type { BatchLimits } from './batch-limits.js';
import type { ReadItem } from './batch.schema.js';
import { MAX_ID_LENGTH } from './batch.schema.js';
import { formError } from './upload.js';

/** What a part may add to the bytes of a file: its head and its boundary. */
const PART_HEAD_BYTES = 16 * 1024;

const FIELDS = new Set(['type', 'provider']);

/**
 * The items of a form: each part `file` is one, with the fields that stand before it. A file that is too large is an
 * item that failed; after a form that is broken nothing more is read.
 * @throws InvalidMultipartError, InvalidRequestError, BodyTooLargeError
 */
export async function* itemsOfUpload(
  request: FastifyRequest,
  { maxFileBytes, maxItems }: BatchLimits,
): AsyncGenerator<ReadItem, void, undefined> {
  const fields = new Map<string, unknown>();
  // One file more than is taken, so that it is counted with the items of the other bodies.
  const limits = { files: maxItems + 1, fields: 2 * maxItems + 2, parts: 3 * maxItems + 3 };
  const options = { limits: { ...limits, fileSize: maxFileBytes }, throwFileSizeLimit: false };
  const parts = request.parts(options);
  boundBody(request, maxItems * (maxFileBytes + PART_HEAD_BYTES));
  try {
    for await (const part of parts) {
      if (part.type === 'file') yield await itemOf(part, fields, request);
      else if (FIELDS.has(part.fieldname)) fields.set(part.fieldname, part.value);
      else throw unknown(part.fieldname, 'is not a field of a batch; send `type` and `provider`');
    }
  } catch (error) {
    throw formError(error);
  }
}

async function itemOf(
  { fieldname, file, filename = '' }: MultipartFile,
  fields: ReadonlyMap<string, unknown>,
  request: FastifyRequest,
): Promise<ReadItem> {
  if (fieldname !== 'file')
    throw unknown(fieldname, 'is not a file of a batch; send `file`, any number of them');
  const chunks: Uint8Array[] = [];
  for await (const chunk of file) chunks.push(chunk as Uint8Array);
  const id = filename !== '' && filename.length <= MAX_ID_LENGTH ? filename : undefined;
  if (file.truncated) return { id, error: new request.server.multipartErrors.RequestFileTooLargeError() };
  try {
    if (!fields.has('type')) {
      throw unknown('type', 'must stand before the file: fields are for the files that follow them');
    }
    const given = validate(analysisFieldsSchema, Object.fromEntries(fields));
    const name = filename === '' ? {} : { filename: filename.slice(-255) };
    return { id, input: { ...given, ...name, content: Buffer.concat(chunks) } };
  } catch (error) {
    return { id, error };
  }
}

const unknown = (field: string, message: string): InvalidRequestError =>
  new InvalidRequestError([{ field: field.slice(0, 100), message }]);

/** A part that is too large is passed over, which would go on for ever with one that has no end. */
function boundBody({ raw }: FastifyRequest, maxBytes: number): void {
  let bytes = 0;
  const count = (chunk: Buffer): void => {
    bytes += chunk.length;
    if (bytes <= maxBytes) return;
    raw.off('data', count);
    // The parser ends with an error of the request, and the connection stays for the answer.
    raw.emit('error', new BodyTooLargeError(maxBytes));
  };
  raw.on('data', count);
}

import multipart from '@fastify/multipart';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { strictJson } from './strict-json.js';
import { discardBody } from './discard-body.js';

/** JSON may spell one byte of a file in six (`\u0000`). */
const JSON_BYTES_PER_FILE_BYTE = 6;
const OTHER_FIELDS_BYTES = 64 * 1024;

/** The most that a batch in one JSON text may have: parsing it holds up everybody else. */
const MAX_JSON_BATCH_BYTES = 16 * 1024 * 1024;

export const BATCH_PATH = '/v1/analyses/batch';
export const NDJSON_TYPES = ['application/x-ndjson', 'application/jsonl'] as const;

export interface BodyLimits {
  /** The largest file, in bytes. */
  readonly maxFileBytes: number;
  /** The most items of a batch. */
  readonly maxItems: number;
}

/** The most bytes that a file with its fields takes as JSON. */
export function maxJsonBytes(maxFileBytes: number): number {
  return maxFileBytes * JSON_BYTES_PER_FILE_BYTE + OTHER_FIELDS_BYTES;
}

/** Teaches the server the bodies of an analysis and of a batch, all bounded; NDJSON is left to who reads it. */
export async function acceptBodies(
  server: FastifyInstance,
  { maxFileBytes, maxItems }: BodyLimits,
): Promise<void> {
  const bodyLimit = maxJsonBytes(maxFileBytes);
  const parse = strictJson(server);
  server.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer', bodyLimit },
    async (request: FastifyRequest, body: Buffer) => parse(request, body, 'The body'),
  );
  server.addHook('onRoute', (route) => {
    if (route.url === BATCH_PATH) route.bodyLimit = Math.min(bodyLimit * maxItems, MAX_JSON_BATCH_BYTES);
  });
  server.addContentTypeParser([...NDJSON_TYPES], (_request, _payload, done) => done(null));
  // A form that is refused is left in the middle.
  server.addHook('onResponse', async ({ raw }) => discardBody(raw));
  await server.register(multipart, {
    limits: { fileSize: maxFileBytes, files: 1, fields: 8, fieldSize: 1024, parts: 16, headerPairs: 100 },
  });
}

import multipart from '@fastify/multipart';
import type { FastifyInstance } from 'fastify';
import { InvalidJsonError } from './analysis.errors.js';

/** JSON may spell one byte of a file in six (`\u0000`). */
const JSON_BYTES_PER_FILE_BYTE = 6;
const OTHER_FIELDS_BYTES = 64 * 1024;

/**
 * Teaches the server the two bodies of an analysis, both bounded. JSON must be UTF-8, without names that reach for a
 * prototype: what would have to be changed on its way in is refused.
 */
export async function acceptBodies(server: FastifyInstance, maxFileBytes: number): Promise<void> {
  const bodyLimit = maxFileBytes * JSON_BYTES_PER_FILE_BYTE + OTHER_FIELDS_BYTES;
  const parse = server.getDefaultJsonParser('error', 'error');
  const utf8 = new TextDecoder('utf-8', { fatal: true });
  server.addContentTypeParser<Buffer>(
    'application/json',
    { parseAs: 'buffer', bodyLimit },
    (request, body, done) => {
      try {
        const text = utf8.decode(body);
        void parse(request, text, (error, value) => (error ? done(invalidJson(error)) : done(null, value)));
      } catch (error) {
        done(invalidJson(error));
      }
    },
  );
  await server.register(multipart, {
    limits: { fileSize: maxFileBytes, files: 1, fields: 8, fieldSize: 1024, parts: 16, headerPairs: 100 },
  });
}

/** An error of our own, because the framework would turn a SyntaxError into its own kind. */
function invalidJson(cause: unknown): InvalidJsonError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new InvalidJsonError(`The body is not valid JSON in UTF-8: ${reason}`, { cause });
}

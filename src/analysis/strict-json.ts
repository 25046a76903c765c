import type { FastifyInstance, FastifyRequest } from 'fastify';
import { InvalidJsonError } from './analysis.errors.js';

/**
 * Parses the bytes of one JSON text.
 * @param name what the text is, in an error: `The body`
 * @throws InvalidJsonError
 */
export type JsonParser = (request: FastifyRequest, bytes: Uint8Array, name: string) => unknown;

/** JSON in UTF-8, without names that reach for a prototype: what would have to be changed on its way in is refused. */
export function strictJson(server: FastifyInstance): JsonParser {
  const parse = server.getDefaultJsonParser('error', 'error');
  const utf8 = new TextDecoder('utf-8', { fatal: true });
  return (request, bytes, name) => {
    let parsed: unknown;
    let failure: unknown;
    try {
      void parse(request, utf8.decode(bytes), (error, value) => {
        failure = error;
        parsed = value;
      });
    } catch (error) {
      failure = error;
    }
    // An error of our own, because the framework would turn a SyntaxError into its own kind.
    if (failure) throw invalidJson(name, failure);
    return parsed;
  };
}

function invalidJson(name: string, cause: unknown): InvalidJsonError {
  const known =
    cause instanceof Error && (cause as { code?: unknown }).code !== 'FST_ERR_CTP_INVALID_JSON_BODY';
  return new InvalidJsonError(`${name} is not valid JSON in UTF-8${known ? `: ${cause.message}` : '.'}`, {
    cause,
  });
}

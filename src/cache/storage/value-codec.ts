import { ValueDecoder } from './value-decoder.js';
import { ValueEncoder } from './value-encoder.js';

export { ValueTooLargeError } from './value-encoder.js';

export type DecodedValue =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'malformed'; readonly reason: string };

/**
 * A value that nobody can change: frozen, and then shared; or bytes, of which each reader gets a copy. `bytes` is
 * what it takes in memory.
 */
export type IsolatedValue =
  | { readonly kind: 'shared'; readonly value: unknown; readonly bytes: number }
  | { readonly kind: 'copied'; readonly encoded: Buffer; readonly bytes: number };

let idle: ValueEncoder | undefined;

/**
 * The bytes of a value; the same in every storage, so that each gives back the same types. Carries undefined, null,
 * booleans, numbers (-0, NaN and the infinities too), strings (lone surrogates too), BigInt, arrays (holes too),
 * objects with or without a prototype, Map, Set, Date, RegExp, the native errors, Buffer, ArrayBuffer, DataView and
 * typed arrays. Own enumerable properties are what an object is; arrays and built-ins are their content, without
 * other properties. What occurs twice comes back as two copies. At most 1000 levels deep.
 *
 * @param maxBytes bounds the result, and the work. Default 1 GiB.
 * @throws ValueNotSerializableError naming the path of what can't be carried: a function, symbol, cycle, an instance
 *   of any other class, or a property that can't be read.
 * @throws ValueTooLargeError
 */
export function encodeValue(value: unknown, maxBytes = 2 ** 30): Buffer {
  // A getter of the value may come here again.
  const encoder = idle ?? new ValueEncoder();
  idle = undefined;
  try {
    return encoder.encode(value, maxBytes);
  } finally {
    idle = encoder;
  }
}

/** The value of bytes of any origin. Never throws. */
export function decodeValue(bytes: Buffer): DecodedValue {
  try {
    return { kind: 'value', value: new ValueDecoder(bytes, false).decode() };
  } catch (error) {
    return { kind: 'malformed', reason: error instanceof Error ? error.message : String(error) };
  }
}

/**
 * A copy of the value that is safe to share: frozen throughout if it is made of objects, arrays and primitives;
 * else (a Date, a Map, a Buffer can't be frozen) its bytes, to be decoded for each reader.
 * @throws as `encodeValue`
 */
export function isolate(value: unknown, maxBytes?: number): IsolatedValue {
  const encoded = encodeValue(value, maxBytes);
  const decoder = new ValueDecoder(encoded, true);
  const copy = decoder.decode();
  return decoder.frozen
    ? { kind: 'shared', value: copy, bytes: decoder.heapBytes }
    : { kind: 'copied', encoded, bytes: encoded.length };
}

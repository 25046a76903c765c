/**
 * The bytes of a value. Each value is one tag byte and what the tag calls for; nothing is implied by position, and
 * no length is trusted beyond the bytes that are there. Numbers are little-endian. A count or length is a varint:
 * seven bits a byte, lowest first. A text is a varint (bytes * 2 + 1 if UTF-16, which only lone surrogates need)
 * and its bytes. A name of an object is a varint: 0 and a text, or the ordinal of an earlier name of the same value.
 *
 * | tag                 | follows                                                     |
 * | ------------------- | ----------------------------------------------------------- |
 * | undefined to false  |                                                             |
 * | integer             | zigzag varint, 32 bits                                      |
 * | float               | 8 bytes; also -0, NaN and the infinities                    |
 * | bigInt              | varint (bytes * 2 + 1 if negative), magnitude, highest first |
 * | text                | text                                                        |
 * | array               | count, values; a hole is a value of its own                 |
 * | object, bareObject  | count, (name, value)...; bare: without a prototype          |
 * | map, set            | count, (key, value)... or values                            |
 * | date                | 8 bytes of epoch milliseconds                               |
 * | regExp              | text of the source, text of the flags, float of lastIndex   |
 * | error               | ordinal in NATIVE_ERRORS, then as an object                 |
 * | buffer, arrayBuffer | count, bytes                                                |
 * | view                | ordinal in VIEWS, count of bytes, bytes                     |
 *
 * Stored bytes outlive the program that wrote them: tags and ordinals are never given a second meaning.
 */
export const Tag = {
  undefined: 0,
  null: 1,
  true: 2,
  false: 3,
  integer: 4,
  float: 5,
  bigInt: 6,
  text: 7,
  array: 8,
  hole: 9,
  object: 10,
  bareObject: 11,
  map: 12,
  set: 13,
  date: 14,
  regExp: 15,
  error: 16,
  buffer: 17,
  arrayBuffer: 18,
  view: 19,
} as const;

/** A guard of the stack, in both directions. */
export const MAX_DEPTH = 1000;

interface ViewConstructor {
  readonly name: string;
  new (buffer: ArrayBuffer): ArrayBufferView;
}

export const VIEWS: readonly ViewConstructor[] = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  DataView,
];

export const NATIVE_ERRORS = [
  Error,
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
] as const;

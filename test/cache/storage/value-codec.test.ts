import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { anything, assert, property } from 'fast-check';
import { ValueNotSerializableError } from '../../../src/cache/cache.errors.js';
import {
  decodeValue,
  encodeValue,
  isolate,
  MAX_DEPTH,
  ValueTooLarge,
} from '../../../src/cache/storage/value-codec.js';

const values = anything({
  withBigInt: true,
  withDate: true,
  withMap: true,
  withSet: true,
  withNullPrototype: true,
  withTypedArray: true,
  withUnicodeString: true,
  maxDepth: 5,
});

const roundTrip = (value: unknown): unknown => {
  const decoded = decodeValue(encodeValue(value));
  if (decoded.kind !== 'value') throw new Error(decoded.reason);
  return decoded.value;
};

function nested(levels: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level += 1) value = [value];
  return value;
}

describe('value codec', () => {
  it('gives back whatever it takes', () => {
    assert(
      property(values, (value) => {
        let encoded: Buffer;
        try {
          encoded = encodeValue(value);
        } catch (error) {
          expect(error).toBeInstanceOf(ValueNotSerializableError);
          return;
        }
        // Jest holds an invalid Date as the key of a Map for different from itself.
        expect(isDeepStrictEqual(roundTrip(value), value)).toBe(true);
        // One value has one form.
        expect(encodeValue(roundTrip(value)).equals(encoded)).toBe(true);
      }),
      { numRuns: 3000, examples: [[{ ['__proto__']: 1 }], [new Map([[new Date(Number.NaN), 0]])]] },
    );
  });

  it('makes what shares a part no larger than the limit', () => {
    let bomb: unknown = 'boom';
    for (let level = 0; level < 60; level += 1) bomb = [bomb, bomb];
    expect(() => encodeValue(bomb, 100_000)).toThrow(ValueTooLarge);
    const sparse: unknown[] = [];
    sparse.length = 4e9;
    expect(() => encodeValue(sparse, 100_000)).toThrow(ValueTooLarge);
    expect(() => encodeValue('x'.repeat(99), 99)).toThrow(ValueTooLarge);
    expect(encodeValue('x'.repeat(97), 99)).toHaveLength(99);
  });

  it('goes as deep as it says, in both directions', () => {
    expect(roundTrip(nested(MAX_DEPTH))).toEqual(nested(MAX_DEPTH));
    expect(() => encodeValue(nested(MAX_DEPTH + 1))).toThrow(ValueNotSerializableError);
    // 0x91: an array of one element.
    expect(decodeValue(Buffer.alloc(200_000, 0x91))).toMatchObject({ kind: 'malformed' });
  });

  it('serialises what a getter serialises in the midst of it', () => {
    const value = {
      before: 'a',
      get inner() {
        return encodeValue({ other: [1, 2, 3] });
      },
      after: 'b',
    };
    expect(roundTrip(value)).toEqual({
      before: 'a',
      inner: encodeValue({ other: [1, 2, 3] }),
      after: 'b',
    });
    const failing = {
      get broken() {
        throw new Error('no');
      },
    };
    expect(() => encodeValue([failing])).toThrow('$[0].broken cannot be read');
    expect(roundTrip('still works')).toBe('still works');
  });

  it('shortens the path to what it refuses', () => {
    let value: unknown = Symbol('deep');
    for (let level = 0; level < 500; level += 1) value = { level: value };
    expect(() => encodeValue(value)).toThrow(/^The value cannot be cached: .{200}… is a symbol\.$/);
  });

  it.each<[string, readonly number[]]>([
    ['nothing', []],
    ['trailing bytes', [0xc0, 0xc0]],
    ['a forged count of elements', [0xdd, 0xff, 0xff, 0xff, 0xff]],
    ['a forged count of names', [0xdf, 0xff, 0xff, 0xff, 0xff]],
    ['a forged length of text', [0xdb, 0xff, 0xff, 0xff, 0xff]],
    ['a forged length of bytes', [0xc6, 0xff, 0xff, 0xff, 0xff, 1]],
    ['an unknown extension', [0xd4, 0x7e, 0]],
    ['a Map that is none', [0xd4, 0x51, 0x01]],
    ['an object that is none', [0xd4, 0x52, 0xc0]],
    ['a pattern that is none', [0xc7, 5, 0x78, 0x92, 0xa1, 0x28, 0xa0, 0]],
    [
      'a view that its bytes do not fill',
      [0xc7, 15, 0x55, 0x92, 0xaa, ...Buffer.from('Int16Array'), 0xc4, 1, 9],
    ],
    ['a view that is none', [0xd4, 0x55, 0xc0]],
  ])('decodes %s to a reason', (_name, bytes) => {
    expect(decodeValue(Buffer.from(bytes))).toMatchObject({ kind: 'malformed', reason: expect.any(String) });
  });

  it('keeps no reference to the bytes that it decoded', () => {
    const bytes = encodeValue({ a: Buffer.from('abc'), b: new Uint8Array([1, 2]), c: 'text' });
    const decoded = decodeValue(bytes);
    bytes.fill(0);
    expect(decoded).toMatchObject({ value: { a: Buffer.from('abc'), b: new Uint8Array([1, 2]), c: 'text' } });
  });
});

describe('isolate', () => {
  it('freezes a copy of plain data, all of it', () => {
    const original = { list: [{ a: 1 }], none: Object.create(null) as object };
    const isolated = isolate(original);
    if (isolated.kind !== 'shared') throw new Error('not shared');
    const copy = isolated.value as typeof original;
    expect(copy).toStrictEqual(original);
    for (const part of [copy, copy.list, copy.list[0], copy.none]) expect(Object.isFrozen(part)).toBe(true);
    expect(Object.isFrozen(original)).toBe(false);
    expect(isolated.bytes).toBeGreaterThan(100);
  });

  it.each([
    [{ at: new Date() }],
    [[new Map()]],
    [new Set()],
    [Buffer.alloc(1)],
    [new Float64Array(1)],
    [/a/],
  ])('keeps the bytes of %p', (value) => {
    expect(isolate(value).kind).toBe('copied');
  });
});

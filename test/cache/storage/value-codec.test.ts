import { describe, expect, it } from '@jest/globals';
import { anything, assert, property } from 'fast-check';
import { ValueNotSerializableError } from '../../../src/cache/cache.errors.js';
import {
  decodeValue,
  encodeValue,
  isolate,
  ValueTooLargeError,
} from '../../../src/cache/storage/value-codec.js';
import { MAX_DEPTH, Tag } from '../../../src/cache/storage/value-format.js';

const values = anything({
  withBigInt: true,
  withDate: true,
  withMap: true,
  withSet: true,
  withNullPrototype: true,
  withTypedArray: true,
  withSparseArray: true,
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
        expect(roundTrip(value)).toStrictEqual(value);
        // One value has one form.
        expect(encodeValue(roundTrip(value)).equals(encoded)).toBe(true);
      }),
      { numRuns: 3000, examples: [[{ ['__proto__']: 1 }]] },
    );
  });

  it('keeps every detail of a RegExp and of an Error', () => {
    const pattern = /a/gy;
    pattern.lastIndex = 7;
    expect((roundTrip(pattern) as RegExp).lastIndex).toBe(7);
    const error = Object.assign(new SyntaxError('outer', { cause: { code: 5 } }), { code: 'E', extra: [1] });
    const back = roundTrip(error) as SyntaxError & { code: string; extra: number[] };
    expect(back).toBeInstanceOf(SyntaxError);
    expect([back.message, back.stack, back.cause, back.code, back.extra]).toEqual([
      'outer',
      error.stack,
      { code: 5 },
      'E',
      [1],
    ]);
    expect(Object.keys(back)).toEqual(['code', 'extra']);
  });

  it('makes what shares a part no larger than the limit', () => {
    let bomb: unknown = 'boom';
    for (let level = 0; level < 60; level += 1) bomb = [bomb, bomb];
    expect(() => encodeValue(bomb, 100_000)).toThrow(ValueTooLargeError);
    const sparse: unknown[] = [];
    sparse.length = 4e9;
    expect(() => encodeValue(sparse, 100_000)).toThrow(ValueTooLargeError);
    expect(() => encodeValue('x'.repeat(99), 99)).toThrow(ValueTooLargeError);
    expect(encodeValue('x'.repeat(96), 99)).toHaveLength(99);
  });

  it('goes as deep as it says, in both directions', () => {
    expect(roundTrip(nested(MAX_DEPTH))).toEqual(nested(MAX_DEPTH));
    expect(() => encodeValue(nested(MAX_DEPTH + 1))).toThrow(ValueNotSerializableError);
    const deeper = Buffer.concat([Buffer.alloc(200_000).fill(Buffer.of(Tag.array, 1)), Buffer.of(Tag.null)]);
    expect(decodeValue(deeper)).toMatchObject({ kind: 'malformed' });
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
    ['trailing bytes', [Tag.null, 0]],
    ['an unknown tag', [99]],
    ['a forged count of elements', [Tag.array, 0xff, 0xff, 0xff, 0xff, 0x0f]],
    ['a forged count of names', [Tag.object, 0xff, 0xff, 0xff, 0x0f]],
    ['a forged length of text', [Tag.text, 0xff, 0xff, 0xff, 0xff, 0x7f]],
    ['a forged length of bytes', [Tag.buffer, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]],
    ['a varint without an end', [Tag.integer, ...Array<number>(20).fill(0xff)]],
    ['a name that was not there', [Tag.object, 1, 5, Tag.null]],
    ['a pattern that is none', [Tag.regExp, 2, 0x28, 0, ...Array<number>(8).fill(0)]],
    ['an unknown class of errors', [Tag.error, 99, 0]],
    ['a view that its bytes do not fill', [Tag.view, 5, 3, 1, 2, 3]],
    ['a hole outside of an array', [Tag.hole]],
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
    [new Error('x')],
  ])('keeps the bytes of %p', (value) => {
    expect(isolate(value).kind).toBe('copied');
  });
});

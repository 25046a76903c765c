import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { ArgumentsNotSerializableError } from '../../src/cache/cache.errors.js';
import { keyOfCall } from '../../src/cache/cached-key.js';

const keyOf = (...args: unknown[]): string => keyOfCall('Reports.find', args);

describe('keyOfCall', () => {
  it('can be read', () => {
    expect(keyOf('a', { limit: 10, after: undefined })).toBe(
      'Reports.find("a",{"after":undefined,"limit":10})',
    );
    expect(keyOf()).toBe('Reports.find()');
  });

  it('is short, whatever the arguments are', () => {
    expect(keyOf('x'.repeat(10_000))).toMatch(/^Reports\.find\(sha256:[0-9a-f]{64}\)$/);
    expect(keyOf('x'.repeat(10_000))).not.toBe(keyOf('x'.repeat(9_999)));
  });

  it('keeps everything apart that is not the same', () => {
    const calls: unknown[][] = [
      [],
      [undefined],
      [undefined, undefined],
      [null],
      ['null'],
      [1],
      ['1'],
      [1n],
      [true],
      ['true'],
      [0],
      [-0],
      [Number.NaN],
      ['NaN'],
      [Infinity],
      [1, 2],
      [2, 1],
      ['1,2'],
      [[1, 2]],
      [[1], 2],
      [[]],
      [[[]]],
      [{}],
      [{ a: undefined }],
      [{ a: 1 }],
      [{ a: '1' }],
      [{ 'a":1,"b': 2 }],
      [{ a: 1, b: 2 }],
      [new Date(0)],
      ['Date(0)'],
      [new Date(Number.NaN)],
      [/a/],
      [/a/g],
      [new Map([['a', 1]])],
      [new Map([[['a', 1], 1]])],
      [new Set(['a', 1])],
      [Buffer.from('a')],
      [new Uint8Array([97])],
      [new Int8Array([97])],
      [new Uint8Array([97]).buffer],
      [new Uint8Array([97, 98]).subarray(1)],
      ['\ud800'],
      ['\ufffd'],
    ];
    const keys = calls.map((args) => keyOf(...args));
    expect(new Set(keys).size).toBe(calls.length);
  });

  it('is the same for the same arguments, whatever order fields were written in', () => {
    expect(keyOf({ a: 1, b: { c: 1, d: 2 } })).toBe(keyOf({ b: { d: 2, c: 1 }, a: 1 }));
    expect(keyOf(Object.assign(Object.create(null) as object, { a: 1 }))).toBe(keyOf({ a: 1 }));
    fc.assert(
      fc.property(
        fc.array(fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true })),
        (args) => {
          expect(keyOf(...structuredClone(args))).toBe(keyOf(...args));
        },
      ),
    );
  });

  it('is another one for other arguments', () => {
    const json = fc.array(fc.jsonValue({ noUnicodeString: true, maxDepth: 2 }), { maxLength: 2 });
    fc.assert(
      fc.property(json, json, (one, other) => {
        expect(keyOf(...one) === keyOf(...other)).toBe(isDeepStrictEqual(one, other));
      }),
    );
  });

  class Money {
    constructor(readonly cents: number) {}
  }
  const cycle: { self?: unknown } = {};
  cycle.self = [cycle];
  const deep = Array.from({ length: 101 }).reduce((inner) => [inner], 1);
  it.each<[string, unknown[], RegExp]>([
    [
      'a function',
      ['a', { next: [() => 1] }],
      /of Reports\.find: argument 2\.next\[0\] is a function\. Give @Cached/,
    ],
    ['a symbol', [Symbol('a')], /argument 1 is a symbol/],
    ['an instance', [new Money(1)], /argument 1 is a Money/],
    ['a cycle', [cycle], /argument 1\.self\[0\] refers to itself/],
    ['a depth', [deep], /nested more than 100 levels deep/],
    ['a field named by a symbol', [{ [Symbol('a')]: 1 }], /argument 1 has a field named by a symbol/],
  ])('refuses %s, and says where', (_name, args, message) => {
    expect(() => keyOf(...args)).toThrow(ArgumentsNotSerializableError);
    expect(() => keyOf(...args)).toThrow(message);
  });

  it('takes what is named twice and not around itself', () => {
    const shared = { a: 1 };
    expect(keyOf(shared, [shared, shared])).toBe(keyOf({ a: 1 }, [{ a: 1 }, { a: 1 }]));
  });
});

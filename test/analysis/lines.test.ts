import { array, assert, asyncProperty, integer, nat, uint8Array } from 'fast-check';
import { describe, expect, it } from '@jest/globals';
import type { Line } from '../../src/analysis/lines.js';
import { linesOf } from '../../src/analysis/lines.js';

async function* streamOf(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

async function read(
  chunks: readonly (string | Uint8Array)[],
  maxLineBytes = 100,
): Promise<(string | undefined)[]> {
  const lines: Line[] = [];
  for await (const line of linesOf(streamOf(chunks.map((chunk) => Buffer.from(chunk))), maxLineBytes)) {
    lines.push(line);
  }
  expect(lines.map(({ number }) => number)).toEqual(lines.map((_, index) => index + 1));
  return lines.map(({ bytes }) => bytes?.toString('latin1'));
}

describe('linesOf', () => {
  it.each([
    ['nothing', [], []],
    ['an empty chunk', [''], []],
    ['one line', ['a\n'], ['a']],
    ['no line feed at the end', ['a\nb'], ['a', 'b']],
    ['empty lines', ['\n\na\n\n'], ['', '', 'a', '']],
    ['a line over many chunks', ['a', 'b', '', 'c\nd', '\n'], ['abc', 'd']],
    ['carriage returns, which are kept', ['a\r\nb\r'], ['a\r', 'b\r']],
  ])('reads %s', async (_name, chunks, lines) => {
    expect(await read(chunks)).toEqual(lines);
  });

  it('passes over what is too long, and goes on after it', async () => {
    expect(await read(['1234\n12345\n1', '2345\n1234'], 4)).toEqual(['1234', undefined, undefined, '1234']);
    expect(await read(['12', '345'], 4)).toEqual([undefined]);
  });

  it('does not mind how the bytes come', async () => {
    const bytes = uint8Array({ maxLength: 60 }).map((values) => values.map((value) => value % 14));
    await assert(
      asyncProperty(bytes, array(nat(60)), integer({ min: 1, max: 20 }), async (whole, cuts, max) => {
        const places = [
          0,
          ...cuts.map((cut) => Math.min(cut, whole.length)).sort((a, b) => a - b),
          whole.length,
        ];
        const chunks = places.slice(1).map((place, i) => whole.subarray(places[i], place));
        const expected = Buffer.from(whole)
          .toString('latin1')
          .split('\n')
          .map((line) => (line.length > max ? undefined : line));
        if (expected.at(-1) === '') expected.pop();
        expect(await read(chunks, max)).toEqual(expected);
      }),
    );
  });

  it('asks for a chunk only when its lines are wanted', async () => {
    let asked = 0;
    async function* counted(): AsyncGenerator<Uint8Array> {
      for (;;) {
        asked += 1;
        yield Buffer.from('a\nb\n');
      }
    }
    const lines = linesOf(counted(), 10);
    for (const expected of [1, 1, 2, 2, 3]) {
      await lines.next();
      expect(asked).toBe(expected);
    }
    await lines.return();
  });
});

import { expect, it } from '@jest/globals';
import { piecesOf } from './pieces.js';

it('cuts a text into pieces of about one length', () => {
  expect(piecesOf('abcdefghij', 4)).toEqual(['abc', 'def', 'ghi', 'j']);
  expect(piecesOf('ab', 4)).toEqual(['a', 'b']);
  expect(piecesOf('', 4)).toEqual([]);
});

it('cuts no character apart', () => {
  expect(piecesOf('a😀b😀', 3)).toEqual(['a😀', 'b😀']);
  expect(piecesOf('😀', 2)).toEqual(['😀']);
});

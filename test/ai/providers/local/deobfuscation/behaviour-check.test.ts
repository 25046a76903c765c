import { describe, expect, it } from '@jest/globals';
import {
  behavesLike,
  observeBehaviour,
} from '../../../../../src/ai/providers/local/deobfuscation/behaviour-check.js';

async function alike(first: string, second: string): Promise<boolean | undefined> {
  const [a, b] = [await observeBehaviour(first, 300), await observeBehaviour(second, 300)];
  return a === undefined || b === undefined ? undefined : behavesLike(a, b);
}

describe('behaviour check', () => {
  it.each([
    ['console.log("a", 1)', 'console["log"]("a", 0x1)'],
    [
      'setTimeout(() => console.log("later"), 10); console.log("now")',
      'console.log("now"); setTimeout(() => console.log("later"), 5)',
    ],
    ['console.log(Math.random(), Date.now())', 'var r = Math.random(); console.log(r, new Date().getTime())'],
    ['missing()', 'other()'],
  ])('sees that %s is like %s', async (first, second) => {
    expect(await alike(first, second)).toBe(true);
  });

  it.each([
    ['console.log("a")', 'console.log("b")'],
    ['console.log("a")', 'console.log("a"); console.log("b")'],
    ['console.log("a")', 'console.log("a"); while (true) {}'],
    ['Promise.resolve().then(() => console.log("a"))', 'Promise.resolve()'],
    ['console.log("a")', 'console.log("a"); missing()'],
    ['module.exports = { a: 1 }', 'module.exports = { a: 2 }'],
  ])('sees that %s is not like %s', async (first, second) => {
    expect(await alike(first, second)).toBe(false);
  });
});

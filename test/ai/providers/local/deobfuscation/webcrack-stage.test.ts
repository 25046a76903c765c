import { describe, expect, it } from '@jest/globals';
import { Budget } from '../../../../../src/ai/providers/local/deobfuscation/budget.js';
import { runWebcrack } from '../../../../../src/ai/providers/local/deobfuscation/webcrack-stage.js';
import { runProgram } from './run-program.js';

describe('webcrack stage', () => {
  it.each([
    [
      'a function that is assigned twice',
      'var f = function () { return 1; }; var g = f; var f = function () { return 2; }; console.log(g(), f());',
    ],
    [
      'a function in a branch',
      '"use strict"; if (true) { var f = function () { return 1; }; } console.log(f());',
    ],
    [
      'a use before the assignment',
      'console.log(typeof f); var f = function () {}, n = 1; console.log(typeof f, n);',
    ],
    ['special characters in a template', 'const n = 1; console.log(`a${"`"}b${"\\\\"}c${"${n}"}${n}`);'],
  ])('keeps the meaning of %s', async (_, source) => {
    const { code } = await runWebcrack(source, new Budget(4_000));
    expect(await runProgram(code)).toBe(await runProgram(source));
  });
});

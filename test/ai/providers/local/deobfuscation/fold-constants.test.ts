import { describe, expect, it } from '@jest/globals';
import { Budget } from '../../../../../src/ai/providers/local/deobfuscation/budget.js';
import { foldConstants } from '../../../../../src/ai/providers/local/deobfuscation/fold-constants.js';

const fold = (source: string) => foldConstants(source, new Budget(4_000));

describe('constant folding', () => {
  it.each([
    ['x = String.fromCharCode(72, 0x69);', 'x = "Hi";'],
    ['x = "cba".split("").reverse().join("");', 'x = "abc";'],
    ['x = unescape("%68%69") + window.atob("IQ==");', 'x = "hi!";'],
    ['x = (17795081).toString(36);', 'x = "alert";'],
    ['log("a" + "b" + "c", y + "d");', 'log("abc", y + "d");'],
    ['const k = 3; x = String.fromCharCode(75 - k);', 'x = "H";'],
    ['x = [![]+[]][+[]][+[]] + "oo";', 'x = "foo";'],
  ])('%s', async (source, expected) => {
    expect((await fold(source)).code).toBe(expected);
  });

  it.each([
    ['a change of case', 'x = "GET".toLowerCase();'],
    ['an encoder', 'x = Buffer.from("user:password").toString("base64"); y = btoa("text");'],
    ['a readable list', 'x = ["name", "age"].join(", ");'],
    ['a repeated text', 'x = "-".repeat(20);'],
    ['a number', 'x = 60 * 60 * 24; y = "text".length; z = "a".charCodeAt(0);'],
    ['the clock and chance', 'x = String.fromCharCode(65 + Math.random() * 26); y = atob(Date.now());'],
    ['a local name of a built-in', 'function f(String) { return String.fromCharCode(72); }'],
    ['a variable that changes', 'let k = 1; k++; x = String.fromCharCode(k);'],
    ['an argument', 'function f(key) { return String.fromCharCode(key); }'],
    [
      'an encoder of its own',
      'function c(s, k) { let r = ""; for (const x of s) r += String.fromCharCode(x.charCodeAt(0) + k); return r; } log(c("hello there", 3), c("good morning", 3));',
    ],
    [
      'a function with a memory',
      'let n = 0; function next(s) { n++; return atob(s) + n; } log(next("aGk="), next("aGV5"));',
    ],
    ['a table that is written to', 'var _0xt = ["alpha", "beta"]; _0xt[0] = input(); log(_0xt[0], _0xt[1]);'],
    ['a table that is handed out', 'var _0xt = ["alpha", "beta"]; change(_0xt); log(_0xt[0], _0xt[1]);'],
    ['a short list in readable code', 'const COLOURS = ["red", "green"]; log(COLOURS[0], COLOURS[1]);'],
  ])('leaves %s alone', async (_, source) => {
    expect(await fold(source)).toEqual({
      code: source,
      decodedStrings: 0,
      foldedExpressions: 0,
      incomplete: false,
    });
  });

  it('removes a decoder only when nothing uses it any more', async () => {
    const decoder = 'function d(s) { return atob(s); }\n';
    expect((await fold(`${decoder}log(d("aGVsbG8="), d("d29ybGQ="));`)).code).toBe('log("hello", "world");');
    const partly = await fold(`${decoder}log(d("aGVsbG8="), d("d29ybGQ="), d(input));`);
    expect(partly.code).toContain('function d(s)');
    expect(partly.code).toContain('log("hello", "world", d(input))');
  });

  it('gives up on endless expressions without losing the others', async () => {
    const folding = await fold(
      'x = (() => { for (;;) String.fromCharCode(1); })(); y = String.fromCharCode(72, 105);',
    );
    expect(folding.code).toContain('y = "Hi"');
    expect(folding.incomplete).toBe(true);
  });
});

import { describe, expect, it } from '@jest/globals';
import { runInIsolate } from '../../../../../src/ai/providers/local/deobfuscation/isolate.js';

async function textOf(script: string): Promise<string | undefined> {
  const [result] = await runInIsolate([script], 1_000);
  return result?.status === 'done' ? result.text : `${result?.status}: ${result?.reason}`;
}

describe('isolate', () => {
  it.each([
    ['typeof process + typeof require + typeof fetch', 'undefinedundefinedundefined'],
    ['[].constructor.constructor("return typeof process + typeof require")()', 'undefinedundefined'],
    ['Buffer.from.constructor("return typeof process")()', 'undefined'],
    ['new Proxy(atob, {}).constructor.constructor("return typeof process")()', 'undefined'],
    ['try { null.x } catch (e) { e.constructor.constructor("return typeof process")() }', 'undefined'],
    ['Object.getOwnPropertyNames(globalThis).filter((n) => /ivm|isolate|host/i.test(n)).join()', ''],
  ])('keeps the host out of reach: %s', async (script, expected) => {
    expect(await textOf(script)).toBe(expected);
  });

  it.each([
    ['atob("aGVsbG8=")', 'hello'],
    ['btoa("hello")', 'aGVsbG8='],
    ['Buffer.from("68c3a9", "hex").toString()', 'hé'],
    ['Buffer.from("aGk=", "base64").toString("latin1")', 'hi'],
    ['new TextDecoder().decode(new Uint8Array([104, 105]))', 'hi'],
    ['[].flat + ""', 'function flat() { [native code] }'],
    ['[].constructor + ""', 'function Array() { [native code] }'],
    ['"".repeat + ""', 'function repeat() { [native code] }'],
  ])('decodes like a browser or Node: %s', async (script, expected) => {
    expect(await textOf(script)).toBe(expected);
  });

  it.each([
    '"x".repeat(5e8).split("")',
    '"x".padEnd(5e8)',
    'Array(1e9).fill(1).join()',
    '[].constructor(1e9).join("x")',
    'let s = "x"; for (let i = 0; i < 28; i++) s += s; s.split("")',
    'new Uint8Array(1e9)',
  ])('refuses sizes that would end the process: %s', async (script) => {
    expect(await textOf(script)).toBe('failed: threw');
  });

  it('ends what does not end, and goes on with the next script', async () => {
    const results = await runInIsolate(['while (true) {}', '"still here"'], 100);
    expect(results).toMatchObject([
      { status: 'failed', reason: 'timeout' },
      { status: 'done', text: 'still here' },
    ]);
  });

  it('survives a memory bomb', async () => {
    const results = await runInIsolate(
      ['const a = []; while (true) a.push(new Array(1e5).fill(a))', '"later"'],
      4_000,
    );
    expect(results.map(({ status }) => status)).toEqual(['failed', 'failed']);
  });

  it('lets only text out', async () => {
    const results = await runInIsolate(['42', '[1]; true', '"text"'], 500);
    const texts = results.map((result) => (result.status === 'done' ? result.text : result.reason));
    expect(texts).toEqual([undefined, undefined, 'text']);
  });
});

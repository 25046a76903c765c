/**
 * Hostile programs, in a process with the permissions that the application gives its analysis child: the
 * answer must come, be honest, and leave the process alive. Runs the built code.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from '@jest/globals';
import type { Deobfuscation } from '../../../../../src/ai/providers/local/local-analysis.js';

const ROOT = fileURLToPath(new URL('../../../../../', import.meta.url));
const BUILT = `${ROOT}dist/ai/providers/local/deobfuscation/deobfuscate.js`;

const DECODER_OF_OBFUSCATOR = `function _0x1b0d(){const a=['one','two','three','console','log'];_0x1b0d=function(){return a;};return _0x1b0d();}
function _0x4088(i,k){i=i-0x10;const t=_0x1b0d();LOOP let v=t[i];return v;}console[_0x4088(0x14)](_0x4088(0x10));`;

const HOSTILE: Record<string, string> = {
  endlessDecoder: DECODER_OF_OBFUSCATOR.replace('LOOP', 'while(true){}'),
  regularExpressionBomb: `var x = "${'a'.repeat(40)}!".replace(/^(a+)+$/, "b");`,
  memoryBomb:
    'var x = (() => { const a = []; while (true) a.push(String.fromCharCode(65) + a.length + new Array(999)); })();',
  hugeText: 'var x = "x".repeat(5e8).split("").reverse().join("");',
  doubledText:
    'var x = (() => { let s = String.fromCharCode(65); for (let i = 0; i < 28; i++) s += s; return s.split("").join(""); })();',
  deepBrackets: `${'('.repeat(50_000)}1${')'.repeat(50_000)}`,
  deepArrays: `${'['.repeat(50_000)}${']'.repeat(50_000)}`,
  longSum: `x=${'1+'.repeat(50_000)}1`,
  nulBytes: 'var a = "\\0\0"; \0',
  hostAccess: `var a = String.fromCharCode(72, 105) + ''; eval([].constructor.constructor("return process")().exit(3) + a);`,
  replacedBuiltIns:
    'JSON.stringify = () => "[]"; Array.prototype.map = null; Object.prototype.then = 1; eval(String.fromCharCode(49, 59));',
  importInLayer: `eval(String.fromCharCode(${[...'import("node:fs").then((f) => f.rmSync("/"))'].map((c) => c.charCodeAt(0))}));`,
};

let results: Record<string, Deobfuscation & { readonly tookMs: number }>;

beforeAll(async () => {
  if (!existsSync(BUILT)) throw new Error(`Build the application first: ${BUILT} is missing`);
  const script = `
    const { deobfuscate } = await import(${JSON.stringify(BUILT)});
    const results = {};
    for (const [name, source] of Object.entries(${JSON.stringify(HOSTILE)})) {
      const startedAt = performance.now();
      const result = await deobfuscate(source, { dialect: 'javascript', timeoutMs: 3000 });
      results[name] = { ...result, tookMs: performance.now() - startedAt };
    }
    console.log(JSON.stringify(results));`;
  const flags = ['--permission', '--allow-addons', '--max-old-space-size=512', '--no-warnings'];
  const reads = [`--allow-fs-read=${ROOT}`, '--allow-fs-read=/etc/alpine-release'];
  const args = [...flags, ...reads, '--input-type=module', '-'];
  const stdout = await new Promise<string>((resolve, reject) => {
    const child = execFile(process.execPath, args, { env: {}, cwd: ROOT }, (error, output) =>
      error ? reject(error) : resolve(output),
    );
    child.stdin?.end(script);
  });
  results = JSON.parse(stdout) as typeof results;
}, 40_000);

describe('hostile programs', () => {
  it.each(Object.keys(HOSTILE))('%s: answers in time', (name) => {
    expect(results[name]?.tookMs).toBeLessThan(5_000);
  });

  it('says that an endless decoder did not finish', () => {
    expect(results['endlessDecoder']).toMatchObject({ level: 'partial', confidence: 'low' });
    expect(results['endlessDecoder']?.limits).toContain(
      'The string decoder did not finish; its texts are still encoded.',
    );
  });

  it.each(['deepBrackets', 'deepArrays', 'longSum'])('%s: returned as it came', (name) => {
    expect(results[name]).toMatchObject({
      code: HOSTILE[name],
      changed: false,
      parsed: false,
      level: 'partial',
    });
    expect(results[name]?.limits).toEqual([expect.stringContaining('nested too deeply')]);
  });

  it('returns binary text unchanged', () => {
    expect(results['nulBytes']).toMatchObject({ code: HOSTILE['nulBytes'], parsed: false, level: 'none' });
  });

  it.each(['hugeText', 'doubledText', 'memoryBomb', 'regularExpressionBomb'])('%s: not folded', (name) => {
    expect(results[name]?.code.length).toBeLessThan(1_000);
    expect(results[name]?.decodedStrings).toBe(0);
  });

  it('finds no host in the sandbox and is not misled by replaced built-ins', () => {
    expect(results['hostAccess']?.code).toContain('exit(3)');
    expect(results['replacedBuiltIns']?.code).not.toContain('fromCharCode');
    expect(results['importInLayer']?.code).toContain('import("node:fs")');
  });
});

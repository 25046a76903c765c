import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { deobfuscate } from '../../../../../src/ai/providers/local/deobfuscation/deobfuscate.js';
import { shareOfTexts } from './readable-texts.js';
import { runProgram } from './run-program.js';

interface CorpusSample {
  readonly name: string;
  /** The program it was made from; several samples share one. */
  readonly orig: string;
  readonly stdout: string;
  readonly sameOutput: boolean;
}

const CORPUS = new URL('../../../../corpus/obfuscated/', import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, CORPUS), 'utf8');
const samples = JSON.parse(read('meta.json')) as CorpusSample[];

/** Recovered by no known tool: they only must not be broken. */
const UNRECOVERED = new Set(['27-jsconfuser-low', '28-jsconfuser-medium']);

describe('obfuscated corpus', () => {
  it.each(samples)('$name', async ({ name, stdout, sameOutput }) => {
    const source = read(`${name}.js`);
    const result = await deobfuscate(source, { dialect: 'javascript', timeoutMs: 8_000 });
    const expected = sameOutput ? stdout : await runProgram(source);
    expect(await runProgram(result.code)).toBe(expected);
    if (UNRECOVERED.has(name)) {
      expect(result.confidence).toBe('low');
    } else {
      expect(shareOfTexts(read(`${name}.plain.js`), result.code)).toBeGreaterThanOrEqual(0.95);
      expect(result.confidence).not.toBe('low');
    }
  });

  it.each([...new Map(samples.map((sample) => [sample.orig, sample.name]))])(
    'original %s stays',
    async (_, name) => {
      const source = read(`${name}.plain.js`);
      const result = await deobfuscate(source, { dialect: 'javascript', timeoutMs: 8_000 });
      expect(result).toMatchObject({
        code: source,
        changed: false,
        level: 'full',
        confidence: 'high',
        limits: [],
      });
    },
  );
});

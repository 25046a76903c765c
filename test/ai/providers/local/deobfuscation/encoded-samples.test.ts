import { describe, expect, it } from '@jest/globals';
import { deobfuscate } from '../../../../../src/ai/providers/local/deobfuscation/deobfuscate.js';
import { ENCODED_SAMPLES } from './encoded-samples.js';
import { shareOfTexts } from './readable-texts.js';
import { runProgram } from './run-program.js';

describe('encoders of every family', () => {
  it.each(ENCODED_SAMPLES)('$name', async ({ plain, code }) => {
    const result = await deobfuscate(code, { dialect: 'javascript', timeoutMs: 8_000 });
    expect(shareOfTexts(plain, result.code)).toBeGreaterThanOrEqual(0.95);
    expect(await runProgram(result.code)).toBe(await runProgram(plain));
    expect(result).toMatchObject({
      changed: true,
      parsed: true,
      level: 'full',
      confidence: 'high',
      limits: [],
    });
  });
});

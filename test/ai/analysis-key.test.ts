import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { PROVIDER_NAMES } from '../../src/ai/analysis.js';
import type { AnalysisRequest } from '../../src/ai/analysis-key.js';
import { analysisKey, analysisKeysOfFile } from '../../src/ai/analysis-key.js';
import { LANGUAGES } from '../../src/ai/language.js';

const REQUEST: Required<AnalysisRequest> = {
  tenant: 'acme',
  type: 'deobfuscate',
  content: Buffer.from('alert(1)'),
  filename: 'a.js',
  provider: 'local',
};

/** For each field another value that may change the answer. A new field does not compile until it stands here. */
const CHANGES: { readonly [Field in keyof Required<AnalysisRequest>]: AnalysisRequest[Field] } = {
  tenant: 'globex',
  type: 'vulnerabilities',
  content: Buffer.from('alert(2)'),
  filename: 'a.ts',
  provider: 'claude',
};

describe('analysisKey', () => {
  it('can be read', () => {
    const hash = createHash('sha256').update('alert(1)').digest('hex');
    expect(analysisKey({ tenant: 'acme', type: 'deobfuscate', content: REQUEST.content })).toBe(
      `acme:analysis:${hash}:deobfuscate:any:v1`,
    );
    expect(analysisKey(REQUEST)).toMatch(
      new RegExp(`^acme:analysis:${hash}:deobfuscate:local:v1:[0-9a-f]{16}$`),
    );
  });

  it.each(Object.keys(CHANGES) as (keyof AnalysisRequest)[])('changes with %s', (field) => {
    expect(analysisKey({ ...REQUEST, [field]: CHANGES[field] })).not.toBe(analysisKey(REQUEST));
  });

  it.each(['filename', 'provider'] as const)('changes when %s is left out', (field) => {
    const { [field]: _, ...rest } = REQUEST;
    expect(analysisKey(rest)).not.toBe(analysisKey(REQUEST));
  });

  it('does not depend on the order of the fields, nor on how the bytes are held', () => {
    const reversed = Object.fromEntries(Object.entries(REQUEST).toReversed()) as unknown as AnalysisRequest;
    expect(analysisKey(reversed)).toBe(analysisKey(REQUEST));
    expect(analysisKey({ ...REQUEST, content: new Uint8Array(REQUEST.content) })).toBe(analysisKey(REQUEST));
  });

  it('does not change with what of a file name says nothing of its language', () => {
    expect(analysisKey({ ...REQUEST, filename: 'other.mjs' })).toBe(analysisKey(REQUEST));
    expect(analysisKey({ ...REQUEST, filename: 'README' })).toBe(
      analysisKey({ ...REQUEST, filename: undefined }),
    );
  });

  it('is among the keys of its file, whatever was asked', () => {
    const hash = createHash('sha256').update('alert(1)').digest('hex');
    const keys = new Set(analysisKeysOfFile('acme', hash, PROVIDER_NAMES));
    for (const type of ['deobfuscate', 'vulnerabilities'] as const) {
      for (const provider of [undefined, ...PROVIDER_NAMES]) {
        for (const filename of [undefined, 'a.js', 'b.ps1', 'c.unknown']) {
          expect(keys).toContain(analysisKey({ ...REQUEST, type, provider, filename }));
        }
      }
    }
    expect(keys.size).toBe(2 * (1 + PROVIDER_NAMES.length) * (1 + LANGUAGES.length));
  });
});

import { readFileSync } from 'node:fs';
import type { Dialect } from '../../../../../src/ai/providers/local/local-analysis.js';

/** A snippet with the flaws that it has: `//! CWE-89` marks the line, `//! CWE-89 -2` one two lines above. */
export interface Sample {
  readonly name: string;
  readonly dialect: Dialect;
  readonly code: string;
  readonly flaws: readonly { readonly cweId: string; readonly line: number }[];
}

function parseSample(text: string): Sample {
  const [title = '', ...lines] = text.split('\n');
  const flaws = lines.flatMap((line, index) =>
    [...line.matchAll(/\/\/! (CWE-\d+)(?: (-\d+))?/g)].map(([, cweId = '', offset = '0']) => ({
      cweId,
      line: index + 1 + Number(offset),
    })),
  );
  return {
    name: title.replace(' [typescript]', ''),
    dialect: title.endsWith('[typescript]') ? 'typescript' : 'javascript',
    code: lines.map((line) => line.replace(/ *\/\/! .*/, '')).join('\n'),
    flaws,
  };
}

/** Reads a file of samples; each begins with a line `=== name`. */
export function readSamples(file: string): Sample[] {
  const text = readFileSync(new URL(`samples/${file}`, import.meta.url), 'utf8');
  return text
    .split(/^=== /m)
    .slice(1)
    .map((sample) => parseSample(sample));
}

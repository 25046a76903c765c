import { generate } from '@babel/generator';
import type { Coverage } from '../../analysis.js';
import type { Deobfuscation } from './local-analysis.js';
import { parseScript } from './parse.js';
import type { ScriptSource } from './source.js';

/** Results of deobfuscation that no deobfuscator gave: none at all, a layout only, or several put together. */

/** JSON may need six bytes for a character, and a reply has 16 MiB. */
const MAX_CODE_CHARS = 2_300_000;
/** No hand writes such lines. */
const LONG_LINE = /[^\n]{400}/;

/** The code as it came, and why. */
export function notDecoded(code: string, level: Coverage['level'], limits: readonly string[]): Deobfuscation {
  return {
    code,
    changed: false,
    techniques: [],
    layers: [],
    decodedStrings: 0,
    foldedExpressions: 0,
    confidence: 'low',
    level,
    parsed: false,
    limits,
  };
}

/** The code as it is before anything is evaluated: with a readable layout, if it has none and can be parsed. */
export function laidOut({ text, dialect }: ScriptSource, limit: string): Deobfuscation {
  if (!LONG_LINE.test(text)) return notDecoded(text, 'none', [limit]);
  const parsed = parseScript(text, dialect);
  if (parsed === undefined) return notDecoded(text, 'none', [limit]);
  try {
    const { code } = generate(parsed.ast, { jsescOption: { minimal: true } });
    return { ...notDecoded(code, 'partial', [limit, 'Only its layout was made readable.']), parsed: true };
  } catch {
    return notDecoded(text, 'none', [limit, 'It is nested too deeply to be laid out again.']);
  }
}

/** One result for a page of several scripts: as good as the worst of them. */
export function combine(code: string, results: readonly Deobfuscation[]): Deobfuscation {
  const sum = (of: (result: Deobfuscation) => number): number =>
    results.reduce((total, each) => total + of(each), 0);
  return {
    code,
    changed: results.some(({ changed }) => changed),
    techniques: [...new Set(results.flatMap(({ techniques }) => techniques))],
    layers: results.flatMap(({ layers }) => layers),
    decodedStrings: sum(({ decodedStrings }) => decodedStrings),
    foldedExpressions: sum(({ foldedExpressions }) => foldedExpressions),
    confidence: worst(results, CONFIDENCES, ({ confidence }) => confidence),
    level: worst(results, LEVELS, ({ level }) => level),
    parsed: results.every(({ parsed }) => parsed),
    limits: [...new Set(results.flatMap(({ limits }) => limits))],
  };
}

/** Layers may hold far more than was submitted. */
export function boundCode(deobfuscation: Deobfuscation): { deobfuscation: Deobfuscation; limits: string[] } {
  const { code } = deobfuscation;
  if (code.length <= MAX_CODE_CHARS) return { deobfuscation, limits: [] };
  const limits = [`The code was cut to its first ${MAX_CODE_CHARS} of ${code.length} characters.`];
  const cut = {
    ...deobfuscation,
    code: code.slice(0, MAX_CODE_CHARS),
    confidence: 'low',
    level: 'partial',
  } as const;
  return { deobfuscation: cut, limits };
}

const CONFIDENCES = ['low', 'medium', 'high'] as const;
const LEVELS = ['none', 'pattern-only', 'partial', 'full'] as const;

/** The first of `order` that any of the results has. */
function worst<T>(
  results: readonly Deobfuscation[],
  order: readonly [T, ...T[]],
  of: (result: Deobfuscation) => T,
): T {
  return order.find((value) => results.some((result) => of(result) === value)) ?? order[0];
}

import type { Findings } from './local-analysis.js';
import { PATTERN_RULES } from './pattern-rules.js';

/**
 * Rules for languages that are not parsed here. Text patterns know nothing of data flow: every finding is of low
 * confidence and of medium severity at most, and finding nothing says nothing.
 */

const COMMENT_START: Readonly<Record<string, RegExp>> = {
  python: /^\s{0,200}#/,
  ruby: /^\s{0,200}#/,
  shell: /^\s{0,200}#/,
  perl: /^\s{0,200}#/,
  powershell: /^\s{0,200}#/,
  lua: /^\s{0,200}--/,
  sql: /^\s{0,200}--/,
  vbscript: /^\s{0,200}'/,
  batch: /^\s{0,200}(?:rem\s|::)/i,
};
const SLASH_COMMENT = /^\s{0,200}(?:\/\/|\/?\*|#\s)/;

const MAX_FINDINGS_PER_RULE = 20;

/** Languages that share another's rules. */
const RULES_OF: Readonly<Record<string, string>> = { kotlin: 'java', cpp: 'c' };

export function matchPatterns(text: string, language: string): Findings {
  const rules = PATTERN_RULES[RULES_OF[language] ?? language];
  if (rules === undefined) {
    const limit = `There are no rules for ${language === 'unknown' ? 'an unknown language' : `"${language}"`}.`;
    return { vulnerabilities: [], observations: [], level: 'none', parsed: false, limits: [limit] };
  }
  const lines = new Lines(text);
  const limits = ['Text patterns were searched for; the code was not parsed, and no data flow was followed.'];
  const vulnerabilities: Findings['vulnerabilities'][number][] = [];
  for (const [flaw, pattern] of [...rules, ...(PATTERN_RULES['*'] ?? [])]) {
    const matched = linesOf(pattern, text, lines, COMMENT_START[language] ?? SLASH_COMMENT);
    if (matched.length > MAX_FINDINGS_PER_RULE) {
      limits.push(`"${flaw.name}" matched more than ${MAX_FINDINGS_PER_RULE} lines; the first are listed.`);
    }
    for (const line of matched.slice(0, MAX_FINDINGS_PER_RULE)) {
      vulnerabilities.push({ ...flaw, line, confidence: 'low' });
    }
  }
  vulnerabilities.sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
  return { vulnerabilities, observations: [], level: 'pattern-only', parsed: false, limits };
}

/** The lines that a rule matches outside comments, one more than are listed at most. */
function linesOf(pattern: RegExp, text: string, lines: Lines, comment: RegExp): number[] {
  const matched = new Set<number>();
  for (const match of text.matchAll(pattern)) {
    const line = lines.numberAt(match.index + (match[0].length - match[0].trimStart().length));
    if (!comment.test(lines.startOf(line))) matched.add(line);
    if (matched.size > MAX_FINDINGS_PER_RULE) break;
  }
  return [...matched];
}

/** Line numbers of offsets, as editors count them. */
class Lines {
  readonly #starts: number[] = [0];

  constructor(private readonly text: string) {
    for (const lineBreak of text.matchAll(/\r\n|\n|\r/g)) {
      this.#starts.push(lineBreak.index + lineBreak[0].length);
    }
  }

  numberAt(offset: number): number {
    let low = 0;
    let high = this.#starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((this.#starts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return low + 1;
  }

  /** Enough of the line's beginning to see whether it is a comment. */
  startOf(line: number): string {
    const start = this.#starts[line - 1] ?? 0;
    return this.text.slice(start, Math.min(start + 250, this.#starts[line] ?? this.text.length));
  }
}

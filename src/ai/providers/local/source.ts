import type { Coverage } from '../../analysis.js';
import type { Language } from '../../language.js';
import { extractScripts, type InlineScript } from './html.js';
import { guessLanguage, languageOfShebang } from './language-guess.js';
import type { Dialect } from './local-analysis.js';
import { parseScript } from './parse.js';
import { scriptEvidence } from './script-evidence.js';
import { decodeText } from './text-encoding.js';

/** What the submitted bytes are; decides which analysis they can get. */
export type Source = ScriptSource | PageSource | OtherSource | UnreadableSource;

interface Identified {
  /** As in `Coverage`. */
  readonly language: string;
  readonly languageSource: Coverage['languageSource'];
  readonly text: string;
  readonly limits: readonly string[];
}

/** JavaScript or TypeScript. */
export interface ScriptSource extends Identified {
  readonly kind: 'script';
  readonly dialect: Dialect;
  /** What else it might be, in which case nothing about it is certain. */
  readonly ambiguous: boolean;
}

/** HTML; its scripts are analysed. */
export interface PageSource extends Identified {
  readonly kind: 'page';
  readonly scripts: readonly InlineScript[];
}

/** Text in a language that is not analysed, or in none that could be recognised. */
export interface OtherSource extends Identified {
  readonly kind: 'other';
}

/** Nothing to read: no content, or not text. */
export interface UnreadableSource extends Identified {
  readonly kind: 'unreadable';
}

/** Up to this length it is checked whether a file is in the dialect that its name suggests. */
const MAX_CHECKED_CHARS = 256 * 1024;

/** What the bytes are, by themselves and by the language that the file's name suggests. */
export function identifySource(bytes: Uint8Array, hint?: Language): Source {
  const decoded = decodeText(bytes);
  if (decoded.kind === 'binary') return unreadable(`The content is not text: ${decoded.reason}.`);
  const { text, limits } = decoded;
  if (text.trim() === '') return unreadable('The content is empty.');
  return hint === undefined ? identifyText(text, limits) : identifyHinted(text, limits, hint);
}

function identifyHinted(text: string, limits: readonly string[], hint: Language): Source {
  if (hint === 'html') return page(text, limits, 'hint');
  if (hint !== 'javascript' && hint !== 'typescript') {
    return { kind: 'other', language: hint, languageSource: 'hint', text, limits };
  }
  if (opensWithMarkup(text) && parseScript(text, hint) === undefined) {
    const limit = `The file's name suggests ${hint}, its content is HTML.`;
    return page(text, [...limits, limit], 'guess');
  }
  // Parsing large files twice costs more time than there is.
  const parsed = text.length > MAX_CHECKED_CHARS ? undefined : parseScript(text, hint);
  const dialect = parsed?.dialect ?? hint;
  const other =
    dialect === hint
      ? []
      : [`The file's name suggests ${hint}, but its content could only be read as ${dialect}.`];
  return {
    kind: 'script',
    language: dialect,
    languageSource: dialect === hint ? 'hint' : 'parse',
    dialect,
    ambiguous: false,
    text,
    limits: [...limits, ...other],
  };
}

function identifyText(text: string, limits: readonly string[]): Source {
  const known = languageOfMarks(text);
  if (known === 'html') return page(text, limits, 'guess');
  if (known !== undefined && known !== 'javascript') {
    return { kind: 'other', language: known, languageSource: 'guess', text, limits };
  }
  if (isJson(text)) return { kind: 'other', language: 'json', languageSource: 'parse', text, limits };
  return identifyByParse(text, limits) ?? identifyByGuess(text, limits);
}

/** What the first characters say, where they say it clearly. */
function languageOfMarks(text: string): string | undefined {
  const start = text.trimStart().slice(0, 400);
  const byShebang = languageOfShebang(start);
  if (byShebang !== undefined) return byShebang;
  if (/^<\?(?:php|=)/i.test(start)) return 'php';
  if (/^<\?xml/i.test(start) && !/<html|xhtml/i.test(start)) return 'xml';
  return opensWithMarkup(text) ? 'html' : undefined;
}

/** HTML parses as JSX, so this is asked before the parser is. */
function opensWithMarkup(text: string): boolean {
  return /^<(?:!doctype|!--|\?xml|[a-z][\w:-]{0,40}[\s/>])/i.test(text.trimStart().slice(0, 400));
}

/** Objects and arrays only: `"text"` and `5` are valid JSON too, and mean nothing. JSFuck begins like an array. */
function isJson(text: string): boolean {
  if (!/^\s{0,1000}[{[]/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function identifyByParse(text: string, limits: readonly string[]): ScriptSource | undefined {
  const parsed = parseScript(text);
  if (parsed === undefined) return undefined;
  const evidence = scriptEvidence(parsed.ast);
  if (evidence === 'none') return undefined;
  const { dialect } = parsed;
  const script = { kind: 'script', language: dialect, languageSource: 'parse', dialect, text } as const;
  if (evidence === 'certain') return { ...script, ambiguous: false, limits };
  const guess = guessLanguage(text);
  if (guess !== undefined && guess !== 'javascript' && guess !== 'typescript') return undefined;
  const limit = `The content can be read as ${dialect}, but also as other languages, such as Python.`;
  return { ...script, ambiguous: true, limits: [...limits, limit] };
}

function identifyByGuess(text: string, limits: readonly string[]): Source {
  const guess = guessLanguage(text);
  if (guess === undefined) {
    const limit = 'The language could not be recognised.';
    return { kind: 'other', language: 'unknown', languageSource: 'none', text, limits: [...limits, limit] };
  }
  if (guess === 'javascript' || guess === 'typescript') {
    // It does not parse: the analysers do what they can with broken code, and say so.
    return {
      kind: 'script',
      language: guess,
      languageSource: 'guess',
      dialect: guess,
      ambiguous: true,
      text,
      limits,
    };
  }
  return { kind: 'other', language: guess, languageSource: 'guess', text, limits };
}

function page(
  text: string,
  limits: readonly string[],
  languageSource: Coverage['languageSource'],
): PageSource {
  const { scripts, limits: ofScripts } = extractScripts(text);
  return { kind: 'page', language: 'html', languageSource, text, scripts, limits: [...limits, ...ofScripts] };
}

function unreadable(limit: string): UnreadableSource {
  return { kind: 'unreadable', language: 'unknown', languageSource: 'none', text: '', limits: [limit] };
}

/** Names the techniques that a source shows, by signs that ordinary code does not have. */
import * as t from '@babel/types';
import { contains } from './encoded-expressions.js';
import { readability } from './readability.js';
import type { Program } from './syntax.js';

/** Signs that no ordinary program shows. */
const STRONG_SIGNS: readonly (readonly [string, RegExp])[] = [
  ['JSFuck', /^[[\]()!+\s;]{200,}$/],
  ['JSFuck', /\(!!?\[\]\+\[\]\)\[[+![\]()]+\]/],
  ['jjencode', /[\w$]+\s*=\s*~\s*\[\];\s*[\w$]+\s*=\s*\{\s*___\s*:\s*\+\+/],
  ['aaencode', /ﾟωﾟﾉ\s*=/],
  ['packer (p,a,c,k,e,d)', /function\s*\(\s*p\s*,\s*a\s*,\s*c\s*,\s*k\s*,\s*e\s*,\s*[dr]\s*\)/],
  ['control flow flattening', /['"]\d+(?:\|\d+){2,}['"]\s*[[.]\s*['"]?(?:split|\\x73)/],
  ['self defending', /\(\(\(\.\+\)\+\)\+\)\+\$/],
  ['hexadecimal escapes', /(?:\\x[2-7][0-9a-f]){4}/i],
  ['unicode escapes', /(?:\\u00[2-7][0-9a-f]){4}/i],
];

/** Signs that ordinary programs show as well: worth a name only where something hidden was found. */
const WEAK_SIGNS: readonly (readonly [string, RegExp])[] = [
  ['character codes', /fromC(?:harCode|odePoint)/],
  ['base64', /\batob\s*\(|['"]base64['"]/],
  ['percent encoding', /unescape\s*\(|decodeURIComponent\s*\(\s*['"]%/],
  ['reversed strings', /\.\s*reverse\(\s*\)|\[['"]reverse['"]\]/],
];

const ROTATION = /push['"]?\]?\s*\(\s*[\w$]+\s*\[?\.?\s*['"]?shift/;
const RC4 = /%\s*(?:0x100|256)\b/;
const CUSTOM_BASE64 = /abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789\+\/=/;

/** Signatures are looked for in this much of a source; they stand at its beginning or everywhere. */
const SEARCHED_LENGTH = 1 << 18;

export function strongTechniquesOf(source: string): string[] {
  return namesOf(STRONG_SIGNS, source);
}

export function weakTechniquesOf(source: string): string[] {
  return namesOf(WEAK_SIGNS, source);
}

function namesOf(signs: readonly (readonly [string, RegExp])[], source: string): string[] {
  const text = source.slice(0, SEARCHED_LENGTH);
  return [...new Set(signs.filter(([, sign]) => sign.test(text)).map(([name]) => name))];
}

/** `string array (rotated, rc4)`, by what the decoder's own code shows. */
export function nameOfStringArray(source: string): string {
  const traits = [];
  if (ROTATION.test(source)) traits.push('rotated');
  if (RC4.test(source)) traits.push('rc4');
  else if (CUSTOM_BASE64.test(source)) traits.push('base64');
  return traits.length === 0 ? 'string array' : `string array (${traits.join(', ')})`;
}

const HEX_NAME = /^_0x[0-9a-f]{4,}$/i;

export interface Residue {
  /** Names like `_0x3f2a1b` are still called with constant arguments: a decoder was not resolved. */
  readonly undecodedCalls: number;
  readonly hexadecimalNames: number;
  readonly encodedLiterals: number;
  /** Long texts in which hardly two letters go together: somebody's own encoding. */
  readonly scrambledLiterals: number;
  readonly flattenedFlow: boolean;
}

/** What is still obfuscated in a result. */
export function residueOf(ast: Program): Residue {
  let undecodedCalls = 0;
  let encodedLiterals = 0;
  let scrambledLiterals = 0;
  const names = new Set<string>();
  t.traverseFast(ast, (node) => {
    if (t.isIdentifier(node) && HEX_NAME.test(node.name)) names.add(node.name);
    if (t.isCallExpression(node) && isUndecodedCall(node)) undecodedCalls++;
    if (t.isStringLiteral(node) && isEncodedText(node.value)) encodedLiterals++;
    if (t.isStringLiteral(node) && isScrambledText(node.value)) scrambledLiterals++;
  });
  return {
    undecodedCalls,
    hexadecimalNames: names.size,
    encodedLiterals,
    scrambledLiterals,
    flattenedFlow: contains(ast, (node) => t.isStringLiteral(node) && /^\d+(?:\|\d+){3,}$/.test(node.value)),
  };
}

function isUndecodedCall({ callee, arguments: args }: t.CallExpression): boolean {
  if (!t.isIdentifier(callee) || !HEX_NAME.test(callee.name) || args.length === 0 || args.length > 3)
    return false;
  return args.every(isDecoderArgument);
}

function isDecoderArgument(node: t.Node): boolean {
  return t.isNumericLiteral(node) || (t.isStringLiteral(node) && /^(?:0x[0-9a-f]+|\S{4})$/i.test(node.value));
}

/** Long, without a space, and mixing cases and digits as only encoders do. */
function isEncodedText(text: string): boolean {
  if (text.length < 40 || /\s/.test(text)) return false;
  if (/^(?:[0-9a-f]{2})+$/i.test(text)) return true;
  return /^[A-Za-z0-9+/]+={0,2}$/.test(text) && /[a-z]/.test(text) && /[A-Z]/.test(text) && /\d/.test(text);
}

/** Printable, long, and not base64: alphabets of an own making mix in every sign of the keyboard. */
function isScrambledText(text: string): boolean {
  if (text.length < 200 || !/^[\x20-\x7e]+$/.test(text)) return false;
  const signs = text.match(/[^A-Za-z0-9\s]/g)?.length ?? 0;
  return signs / text.length > 0.15 && readability(text) < 0.15;
}

/** Below this many generated names, they are somebody's style. */
const MANY_HEXADECIMAL_NAMES = 5;

export function looksGenerated(residue: Residue): boolean {
  return residue.hexadecimalNames >= MANY_HEXADECIMAL_NAMES || residue.scrambledLiterals > 0;
}

export function hidesTexts(residue: Residue): boolean {
  return residue.undecodedCalls + residue.encodedLiterals + residue.scrambledLiterals > 0;
}

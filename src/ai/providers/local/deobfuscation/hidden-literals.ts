/** Counts texts that are written to be unreadable: in escapes, encoded, or cut into small pieces. */
import * as t from '@babel/types';
import { memberName } from './closed-expressions.js';
import { NEEDLESS_ESCAPE } from './plain-literals.js';
import { readProgram } from './syntax.js';

/** People break long lines, obfuscators cut words. */
const SMALL_PIECE_LENGTH = 8;

export function countHiddenLiterals(source: string): number {
  const reading = readProgram(source);
  if (!('ast' in reading)) return 0;
  let count = 0;
  const inner = new Set<t.Node>();
  t.traverseFast(reading.ast, (node) => {
    if (t.isStringLiteral(node) && NEEDLESS_ESCAPE.test(String(node.extra?.['raw'] ?? ''))) count++;
    if (t.isTemplateElement(node) && NEEDLESS_ESCAPE.test(node.value.raw)) count++;
    if (isCutByConcat(node) || isEncodedArgument(node)) count++;
    if (!t.isBinaryExpression(node, { operator: '+' })) return;
    inner.add(node.left);
    if (!inner.has(node) && isCutText(node)) count++;
  });
  return count;
}

function isCutText(node: t.BinaryExpression): boolean {
  const pieces: string[] = [];
  let current: t.Node = node;
  while (t.isBinaryExpression(current, { operator: '+' })) {
    if (!t.isStringLiteral(current.right)) return false;
    pieces.push(current.right.value);
    current = current.left;
  }
  if (!t.isStringLiteral(current)) return false;
  pieces.push(current.value);
  return areSmall(pieces);
}

/** `'on'.concat('e t', 'ext')` */
function isCutByConcat(node: t.Node): boolean {
  if (!t.isCallExpression(node) || !t.isMemberExpression(node.callee)) return false;
  if (memberName(node.callee) !== 'concat' || !t.isStringLiteral(node.callee.object)) return false;
  const pieces = node.arguments.map((argument) => (t.isStringLiteral(argument) ? argument.value : undefined));
  return (
    !pieces.includes(undefined) && areSmall([node.callee.object.value, ...pieces.map((piece) => piece ?? '')])
  );
}

/** `atob('...')`, `unescape('%6c...')` */
function isEncodedArgument(node: t.Node): boolean {
  if (!t.isCallExpression(node) || !t.isIdentifier(node.callee)) return false;
  const [text] = node.arguments;
  if (!t.isStringLiteral(text)) return false;
  if (node.callee.name === 'atob') return true;
  return /^(?:unescape|decodeURI(?:Component)?)$/.test(node.callee.name) && text.value.includes('%');
}

function areSmall(pieces: readonly string[]): boolean {
  return pieces.reduce((sum, piece) => sum + piece.length, 0) / pieces.length <= SMALL_PIECE_LENGTH;
}

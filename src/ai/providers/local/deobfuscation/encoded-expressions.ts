/**
 * Tells an expression that hides a text from ordinary program logic. Folding `'GET'.toLowerCase()` or
 * `['a', 'b'].join(', ')` would be correct and yet wrong: the reader wants the program, not its results.
 */
import * as t from '@babel/types';
import { memberName } from './closed-expressions.js';
import { wordSet } from './word-set.js';

const DECODING_NAMES: ReadonlySet<string> = wordSet(
  'fromCharCode fromCodePoint atob unescape decodeURIComponent decodeURI reverse charCodeAt ' +
    'codePointAt TextDecoder',
);

/** Names of program logic: a change of case, an encoder. */
const LOGIC_NAMES: ReadonlySet<string> = wordSet(
  'toUpperCase toLowerCase toLocaleUpperCase toLocaleLowerCase normalize trim btoa ' +
    'encodeURIComponent encodeURI TextEncoder repeat padStart padEnd Object stringify parse ' +
    'sort filter includes test match exec',
);

/** Methods that take a written text apart; on a literal they have no other purpose than to hide it. */
const CUTTING_METHODS: ReadonlySet<string> = wordSet(
  'replace replaceAll charAt at substr substring slice concat',
);

const BYTE_ENCODINGS: ReadonlySet<string> = new Set([
  'base64',
  'base64url',
  'hex',
  'binary',
  'latin1',
  'utf16le',
]);

/** True for a closed expression that hides a text. */
export function hidesText(node: t.Node): boolean {
  if (!FOLDABLE_TYPES.has(node.type)) return false;
  if (contains(node, isLogic)) return false;
  return isConcatenation(node) || contains(node, isDecodingStep) || isJsFuck(node);
}

const FOLDABLE_TYPES: ReadonlySet<string> = wordSet(
  'CallExpression BinaryExpression MemberExpression TemplateLiteral ConditionalExpression ' +
    'SequenceExpression LogicalExpression',
);

/** A step that only decoders take; also looked for inside of functions. */
export function isDecodingStep(node: t.Node): boolean {
  switch (node.type) {
    case 'Identifier':
      return DECODING_NAMES.has(node.name);
    case 'BinaryExpression':
      return node.operator === '^';
    case 'MemberExpression':
      return DECODING_NAMES.has(memberName(node) ?? '') || cutsLiteral(node);
    case 'CallExpression':
      return isDecodingCall(node);
    default:
      return false;
  }
}

/** Does any node of the tree, functions included, satisfy the test? */
export function contains(root: t.Node, test: (node: t.Node) => boolean): boolean {
  let found = false;
  t.traverseFast(root, (node) => {
    if (found) return t.traverseFast.stop;
    found = test(node);
    return found ? t.traverseFast.stop : undefined;
  });
  return found;
}

function isDecodingCall(node: t.CallExpression): boolean {
  if (node.callee.type !== 'MemberExpression') return false;
  const name = memberName(node.callee);
  const [first, second] = node.arguments;
  switch (name) {
    case 'from':
      return (
        first?.type === 'ArrayExpression' ||
        (second?.type === 'StringLiteral' && BYTE_ENCODINGS.has(second.value))
      );
    case 'join':
      return first?.type === 'StringLiteral' && first.value === '';
    case 'toString':
      return first?.type === 'NumericLiteral' && first.value > 10;
    default:
      return name !== undefined && CUTTING_METHODS.has(name) && startsAtLiteral(node.callee.object);
  }
}

/** `'abc'[1]` */
function cutsLiteral(node: t.MemberExpression): boolean {
  return node.computed && node.object.type === 'StringLiteral' && node.property.type === 'NumericLiteral';
}

function startsAtLiteral(node: t.Node): boolean {
  if (t.isStringLiteral(node) || t.isTemplateLiteral(node)) return true;
  if (t.isCallExpression(node)) return startsAtLiteral(node.callee);
  if (t.isMemberExpression(node)) return startsAtLiteral(node.object);
  if (t.isParenthesizedExpression(node)) return startsAtLiteral(node.expression);
  return t.isBinaryExpression(node, { operator: '+' }) && startsAtLiteral(node.left);
}

function isLogic(node: t.Node): boolean {
  if (node.type === 'Identifier') return LOGIC_NAMES.has(node.name);
  if (node.type === 'MemberExpression') return LOGIC_NAMES.has(memberName(node) ?? '');
  if (node.type !== 'CallExpression' || node.callee.type !== 'MemberExpression') return false;
  const [encoding] = node.arguments;
  return (
    memberName(node.callee) === 'toString' &&
    encoding?.type === 'StringLiteral' &&
    ['base64', 'base64url', 'hex'].includes(encoding.value)
  );
}

/** Written texts added together, with nothing else between them. */
function isConcatenation(node: t.Node): boolean {
  if (t.isTemplateLiteral(node)) {
    return node.expressions.length > 0 && node.expressions.every((part) => t.isStringLiteral(part));
  }
  if (!t.isBinaryExpression(node, { operator: '+' })) return false;
  let current: t.Node = node;
  let texts = 0;
  while (t.isBinaryExpression(current, { operator: '+' })) {
    if (!isTextPart(current.right)) return false;
    if (!t.isNumericLiteral(current.right)) texts++;
    current = current.left;
  }
  return texts > 0 && isTextPart(current);
}

function isTextPart(node: t.Node): boolean {
  if (t.isStringLiteral(node) || t.isNumericLiteral(node)) return true;
  return isConcatenation(node);
}

/** Built from `[]`, `!`, `+` and what they give; real programs never negate an array. */
function isJsFuck(node: t.Node): boolean {
  return contains(
    node,
    (part) =>
      (part.type === 'UnaryExpression' &&
        (part.operator === '!' || part.operator === '+') &&
        part.argument.type === 'ArrayExpression') ||
      (part.type === 'BinaryExpression' &&
        part.operator === '+' &&
        part.right.type === 'ArrayExpression' &&
        part.right.elements.length === 0),
  );
}

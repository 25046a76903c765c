import { traverseFast, type File, type Node } from '@babel/types';

/**
 * How surely a text that parses as JavaScript is JavaScript. `hello`, `"text"`, `a: b` and `x = 5` parse, and
 * are more likely prose or configuration; `print("x")` is as good Python.
 */
export type Evidence = 'certain' | 'ambiguous' | 'none';

/** Syntax that prose, configuration and other languages do not share. */
const CERTAIN_TYPES: ReadonlySet<Node['type']> = new Set<Node['type']>([
  'VariableDeclaration',
  'FunctionDeclaration',
  'FunctionExpression',
  'ArrowFunctionExpression',
  'ClassDeclaration',
  'ImportDeclaration',
  'ExportNamedDeclaration',
  'ExportDefaultDeclaration',
  'ExportAllDeclaration',
  'TSTypeAliasDeclaration',
  'TSInterfaceDeclaration',
  'TSEnumDeclaration',
  'NewExpression',
  'TemplateLiteral',
  'RegExpLiteral',
  'IfStatement',
  'ForStatement',
  'ForOfStatement',
  'ForInStatement',
  'WhileStatement',
  'TryStatement',
  'ConditionalExpression',
  'JSXElement',
]);

const KNOWN_GLOBALS = new Set(
  (
    'eval alert atob btoa unescape escape require fetch setTimeout setInterval console document window ' +
    'globalThis self location navigator localStorage module exports process Buffer Function String Array Object ' +
    'JSON Math Promise WScript ActiveXObject XMLHttpRequest importScripts $ jQuery'
  ).split(' '),
);

export function scriptEvidence(ast: File): Evidence {
  let evidence: Evidence = 'none';
  try {
    traverseFast(ast, (node) => {
      if (node.type === 'CallExpression' && evidence === 'none') evidence = 'ambiguous';
      if (!isCertain(node)) return undefined;
      evidence = 'certain';
      return traverseFast.stop;
    });
  } catch {
    // Nested more deeply than the stack: nobody writes prose like that.
    return 'certain';
  }
  return evidence;
}

function isCertain(node: Node): boolean {
  if (CERTAIN_TYPES.has(node.type)) return true;
  switch (node.type) {
    case 'CallExpression':
      return rootName(node.callee) === undefined || KNOWN_GLOBALS.has(rootName(node.callee) ?? '');
    case 'AssignmentExpression':
      return node.left.type === 'MemberExpression' && KNOWN_GLOBALS.has(rootName(node.left) ?? '');
    case 'UnaryExpression':
      return node.operator === 'typeof' || node.operator === 'void' || node.operator === '!';
    case 'BinaryExpression':
      return node.operator === '===' || node.operator === '!==';
    default:
      return false;
  }
}

/** The identifier that a chain of members begins with; undefined when it begins with something else. */
function rootName(node: Node): string | undefined {
  let current = node;
  while (current.type === 'MemberExpression' || current.type === 'CallExpression') {
    current = current.type === 'MemberExpression' ? current.object : current.callee;
  }
  return current.type === 'Identifier' ? current.name : undefined;
}

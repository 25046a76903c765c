import traverseModule from '@babel/traverse';
import type { Binding, NodePath, Scope } from '@babel/traverse';
import type * as t from '@babel/types';

// @babel/traverse is CommonJS: its function is the `default` of what an ES module gets as default import.
export const traverse = traverseModule.default;
export type { Binding, NodePath, Scope, t };

export type FunctionNode =
  | t.FunctionDeclaration
  | t.FunctionExpression
  | t.ArrowFunctionExpression
  | t.ObjectMethod
  | t.ClassMethod
  | t.ClassPrivateMethod;

export function child(path: NodePath, key: string): NodePath | undefined {
  const found = path.get(key) as NodePath | NodePath[];
  const single = Array.isArray(found) ? found[0] : found;
  return single?.node ? single : undefined;
}

export function children(path: NodePath, key: string): NodePath[] {
  const found = path.get(key) as NodePath | NodePath[];
  return Array.isArray(found) ? found.filter((each) => each.node) : [];
}

const WRAPPERS = new Set([
  'TSAsExpression',
  'TSNonNullExpression',
  'TSTypeAssertion',
  'TSSatisfiesExpression',
  'ParenthesizedExpression',
  'TypeCastExpression',
]);

/** The expression without casts and parentheses. */
export function unwrap(path: NodePath): NodePath {
  let current = path;
  while (WRAPPERS.has(current.type)) {
    const inner = child(current, 'expression');
    if (!inner) {
      break;
    }
    current = inner;
  }
  return current;
}

export function isCall(path: NodePath): boolean {
  return (
    path.type === 'CallExpression' || path.type === 'OptionalCallExpression' || path.type === 'NewExpression'
  );
}

export function isMember(path: NodePath): boolean {
  return path.type === 'MemberExpression' || path.type === 'OptionalMemberExpression';
}

export function isFunction(path: NodePath): path is NodePath<FunctionNode> {
  return (
    path.type === 'FunctionDeclaration' ||
    path.type === 'FunctionExpression' ||
    path.type === 'ArrowFunctionExpression' ||
    path.type === 'ObjectMethod' ||
    path.type === 'ClassMethod' ||
    path.type === 'ClassPrivateMethod'
  );
}

export function enclosingFunction(path: NodePath): NodePath<FunctionNode> | undefined {
  let current = path.parentPath;
  while (current && !isFunction(current)) {
    current = current.parentPath;
  }
  return current && isFunction(current) ? current : undefined;
}

/** Name of a property, key or identifier where it is written down; undefined where it is computed. */
export function keyName(node: t.Node | null | undefined, computed = false): string | undefined {
  switch (node?.type) {
    case 'Identifier':
    case 'JSXIdentifier':
      return computed ? undefined : node.name;
    case 'StringLiteral':
      return node.value;
    case 'NumericLiteral':
      return String(node.value);
    case 'PrivateName':
      return node.id.name;
    case 'TemplateLiteral':
      return node.expressions.length === 0 ? node.quasis[0]?.value.raw : undefined;
    default:
      return undefined;
  }
}

export function propertyName(path: NodePath): string | undefined {
  const { node } = path;
  switch (node.type) {
    case 'MemberExpression':
    case 'OptionalMemberExpression':
      return keyName(node.property, node.computed);
    case 'ObjectProperty':
    case 'ObjectMethod':
    case 'ClassMethod':
    case 'ClassProperty':
      return keyName(node.key, node.computed);
    case 'ClassPrivateProperty':
    case 'ClassPrivateMethod':
      return node.key.id.name;
    default:
      return undefined;
  }
}

/** The value of a property of an object literal. */
export function objectProperty(path: NodePath | undefined, name: string): NodePath | undefined {
  if (path?.type !== 'ObjectExpression') {
    return undefined;
  }
  const property = children(path, 'properties').findLast((each) => propertyName(each) === name);
  return property?.type === 'ObjectProperty' ? child(property, 'value') : property;
}

/** 1-based line on which a reader would look for a call: that of the method's name in a long chain. */
export function lineOf(path: NodePath): number {
  const callee = isCall(path) ? child(path, 'callee') : undefined;
  const member = callee && isMember(callee) ? child(callee, 'property') : undefined;
  return (member ?? path).node.loc?.start.line ?? path.node.loc?.start.line ?? 1;
}

/** Lower-case words of an identifier: `resetToken2_ID` gives reset, token, id. */
export function wordsOf(name: string): string[] {
  return name
    .slice(0, 200)
    .replace(/([a-z\d])([A-Z])/g, '$1 $2')
    .replace(/([A-Z])([A-Z][a-z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z]+/)
    .filter((word) => word.length > 0);
}

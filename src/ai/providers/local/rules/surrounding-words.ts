import { written } from './names.js';
import {
  child,
  children,
  isCall,
  isFunction,
  keyName,
  propertyName,
  wordsOf,
  type NodePath,
} from './syntax.js';

const MAX_CLIMB = 40;

export function hasAny(words: Iterable<string>, among: ReadonlySet<string>): boolean {
  return [...words].some((word) => among.has(word));
}

/** Names that an expression is given on its way outwards: variable, property, argument of a call, function. */
export function namesAround(path: NodePath): string[] {
  const names: string[] = [];
  let current: NodePath | null = path;
  for (let climbed = 0; current && climbed < MAX_CLIMB; climbed += 1) {
    const { node } = current;
    if (node.type === 'VariableDeclarator') {
      names.push(keyName(node.id) ?? '');
    } else if (node.type === 'AssignmentExpression' || node.type === 'ForOfStatement') {
      const left = child(current, 'left');
      names.push(left ? written(left) : '');
    } else if (
      node.type === 'ObjectProperty' ||
      node.type === 'ClassProperty' ||
      node.type === 'ClassPrivateProperty'
    ) {
      names.push(propertyName(current) ?? '');
    } else if (isCall(current) && current !== path) {
      const callee = child(current, 'callee');
      names.push(callee ? written(callee) : '');
    } else if (isFunction(current)) {
      const name = functionName(current);
      names.push(name);
      if (name !== '') {
        break;
      }
    }
    current = current.parentPath;
  }
  return names.filter((name) => name !== '' && name !== '?');
}

export function functionName(fn: NodePath): string {
  const { node, parent } = fn;
  if ('id' in node && node.id && typeof node.id === 'object' && 'name' in node.id) {
    return String(node.id.name);
  }
  if (parent.type === 'VariableDeclarator') {
    return keyName(parent.id) ?? '';
  }
  if (parent.type === 'AssignmentExpression') {
    const left = fn.parentPath && child(fn.parentPath, 'left');
    return left ? written(left) : '';
  }
  return propertyName(fn) ?? (fn.parentPath && propertyName(fn.parentPath)) ?? '';
}

export function wordsAround(path: NodePath): Set<string> {
  return new Set(namesAround(path).flatMap(wordsOf));
}

/** Words of everything that is named inside the arguments of a call and of the calls chained to it. */
export function wordsInside(call: NodePath): Set<string> {
  const words = new Set<string>();
  const collect = (path: NodePath, depth: number): void => {
    if (depth > 6) {
      return;
    }
    const { node } = path;
    if (node.type === 'Identifier' || node.type === 'StringLiteral') {
      wordsOf(node.type === 'Identifier' ? node.name : '').forEach((word) => words.add(word));
    }
    wordsOf(propertyName(path) ?? '').forEach((word) => words.add(word));
    for (const key of ['object', 'left', 'right', 'callee', 'argument']) {
      const inner = child(path, key);
      if (inner) {
        collect(inner, depth + 1);
      }
    }
    for (const key of ['arguments', 'expressions', 'elements']) {
      children(path, key).forEach((each) => collect(each, depth + 1));
    }
  };
  children(call, 'arguments').forEach((each) => collect(each, 0));
  return words;
}

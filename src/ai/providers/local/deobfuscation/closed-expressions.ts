/**
 * What every piece of a program depends on. A piece is closed when it reads nothing but its own variables,
 * well-known deterministic built-ins, and other variables of the program that are listed with it; only closed
 * pieces may be evaluated ahead of time.
 */
import type { Binding, NodePath } from '@babel/traverse';
import * as t from '@babel/types';
import { traverse, type Program } from './syntax.js';
import { wordSet } from './word-set.js';

/** Built-ins whose result depends on nothing but their arguments. */
export const DETERMINISTIC_GLOBALS: ReadonlySet<string> = wordSet(
  'undefined NaN Infinity String Number Boolean BigInt Array Object Math JSON RegExp Map Set ' +
    'Error TypeError RangeError SyntaxError parseInt parseFloat isNaN isFinite atob btoa escape ' +
    'unescape encodeURIComponent decodeURIComponent encodeURI decodeURI Buffer TextDecoder ' +
    'TextEncoder ArrayBuffer DataView Uint8Array Int8Array Uint16Array Int16Array Uint32Array ' +
    'Int32Array Uint8ClampedArray',
);

/** Names of the global object: allowed only in front of a deterministic built-in (`window.atob`). */
const GLOBAL_OBJECTS: ReadonlySet<string> = new Set(['window', 'self', 'globalThis', 'global', 'top']);

/** Members of deterministic built-ins that are not deterministic, or that answer by locale. */
const VOLATILE_MEMBERS: ReadonlySet<string> = new Set(['random', 'now', 'toLocaleString', 'localeCompare']);

export interface Dependencies {
  /** Depends on, or does, something that only the running program knows. */
  readonly open: boolean;
  /** Variables from outside the piece that it reads. */
  readonly reads: ReadonlySet<Binding>;
  /** Variables from outside the piece that it assigns. */
  readonly writes: ReadonlySet<Binding>;
}

interface Recording {
  open: boolean;
  readonly reads: Set<Binding>;
  readonly writes: Set<Binding>;
}

const NO_DEPENDENCIES: Dependencies = { open: false, reads: new Set(), writes: new Set() };

/** The dependencies of every node; a node that is not in the map depends on nothing. */
export class DependencyMap {
  readonly #recordings = new Map<t.Node, Recording>();

  constructor(ast: Program) {
    traverse(ast, { enter: (path) => this.#record(path) });
  }

  of(node: t.Node): Dependencies {
    return this.#recordings.get(node) ?? NO_DEPENDENCIES;
  }

  #record(path: NodePath): void {
    switch (path.node.type) {
      case 'Identifier':
        if (path.isReferencedIdentifier()) this.#recordRead(path as NodePath<t.Identifier>);
        break;
      case 'AssignmentExpression':
        this.#recordWrites(path, path.node.left);
        break;
      case 'UpdateExpression':
        this.#recordWrites(path, path.node.argument);
        break;
      case 'ForInStatement':
      case 'ForOfStatement':
        this.#recordWrites(path, path.node.left);
        break;
      case 'VariableDeclarator':
        // A `var` inside the piece may belong to a function outside of it.
        this.#recordWrites(path, path.node.id);
        break;
      case 'ThisExpression':
      case 'Super':
      case 'MetaProperty':
      case 'YieldExpression':
      case 'AwaitExpression':
        this.#markOpenWithin(path, ownFunction(path));
        break;
      case 'Import':
      case 'ImportExpression':
      case 'JSXElement':
      case 'JSXFragment':
      case 'DebuggerStatement':
      case 'WithStatement':
        this.#markOpenWithin(path, null);
        break;
      default:
    }
  }

  #recordRead(path: NodePath<t.Identifier>): void {
    const { name } = path.node;
    const binding = path.scope.getBinding(name);
    if (binding !== undefined) {
      for (const node of enclosingNodes(path, binding.scope.path)) this.#recordingOf(node).reads.add(binding);
    } else if (name === 'arguments') {
      this.#markOpenWithin(path, ownFunction(path));
    } else if (!isDeterministicGlobal(path)) {
      this.#markOpenWithin(path, null);
    }
  }

  #recordWrites(path: NodePath, target: t.Node): void {
    for (const name of namesAssignedBy(target)) {
      const binding = path.scope.getBinding(name);
      if (binding === undefined) this.#markOpenWithin(path, null);
      else {
        for (const node of enclosingNodes(path, binding.scope.path))
          this.#recordingOf(node).writes.add(binding);
      }
    }
  }

  #markOpenWithin(path: NodePath, limit: NodePath | null): void {
    for (const node of enclosingNodes(path, limit)) this.#recordingOf(node).open = true;
  }

  #recordingOf(node: t.Node): Recording {
    let recording = this.#recordings.get(node);
    if (recording === undefined) {
      recording = { open: false, reads: new Set(), writes: new Set() };
      this.#recordings.set(node, recording);
    }
    return recording;
  }
}

/** The node and its ancestors, up to but without the limit. */
function* enclosingNodes(path: NodePath, limit: NodePath | null): Generator<t.Node> {
  for (let current: NodePath | null = path; current !== null; current = current.parentPath) {
    if (current.node === limit?.node) return;
    yield current.node;
  }
}

function ownFunction(path: NodePath): NodePath | null {
  return path.findParent((parent) => parent.isFunction() && !parent.isArrowFunctionExpression());
}

function isDeterministicGlobal(path: NodePath<t.Identifier>): boolean {
  const { parent, node } = path;
  const isObject = parent.type === 'MemberExpression' && parent.object === node;
  const member = isObject ? memberName(parent) : undefined;
  if (GLOBAL_OBJECTS.has(node.name)) {
    return (member !== undefined && DETERMINISTIC_GLOBALS.has(member)) || isLastResort(path);
  }
  if (node.name === 'Function') return asksForGlobalObject(path);
  if (!DETERMINISTIC_GLOBALS.has(node.name)) return false;
  // `Math['ran' + 'dom']` must not slip through, so a computed member of a built-in needs a literal name.
  return !isObject || (member !== undefined && !VOLATILE_MEMBERS.has(member));
}

/** `Function('return this')`, with which the obfuscator's base64 decoder looks for the global object. */
function asksForGlobalObject(path: NodePath<t.Identifier>): boolean {
  const { parent, node } = path;
  if (parent.type !== 'CallExpression' || parent.callee !== node) return false;
  const pieces: string[] = [];
  for (const argument of parent.arguments) {
    t.traverseFast(argument, (part) => {
      if (part.type === 'StringLiteral') pieces.push(part.value);
    });
  }
  return /^\s*return (?:this|\(function\(\)\s*\{\}\.constructor\("return this"\)\(\s*\)\s*\));?\s*$/.test(
    pieces.join(''),
  );
}

/** `try { ... } catch { scope = window; }`: the catch that follows such a look-up. */
function isLastResort(path: NodePath<t.Identifier>): boolean {
  const { parent, node } = path;
  const isAssigned = parent.type === 'AssignmentExpression' && parent.right === node;
  return isAssigned && path.findParent((ancestor) => ancestor.isCatchClause()) !== null;
}

/** The name of a member where it is written in the source: `a.b` or `a['b']`. */
export function memberName(node: t.MemberExpression): string | undefined {
  if (!node.computed) return node.property.type === 'Identifier' ? node.property.name : undefined;
  return node.property.type === 'StringLiteral' ? node.property.value : undefined;
}

function namesAssignedBy(target: t.Node): string[] {
  switch (target.type) {
    case 'Identifier':
      return [target.name];
    case 'ArrayPattern':
      return target.elements.flatMap((element) => (element === null ? [] : namesAssignedBy(element)));
    case 'ObjectPattern':
      return target.properties.flatMap((property) =>
        namesAssignedBy(property.type === 'ObjectProperty' ? property.value : property.argument),
      );
    case 'AssignmentPattern':
      return namesAssignedBy(target.left);
    case 'RestElement':
      return namesAssignedBy(target.argument);
    case 'VariableDeclaration':
      return target.declarations.flatMap((declarator) => namesAssignedBy(declarator.id));
    default:
      return [];
  }
}

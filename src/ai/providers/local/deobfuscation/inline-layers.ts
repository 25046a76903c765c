/**
 * Replaces code that a program runs from a constant text, in the place where it runs: `eval('...')`,
 * `new Function('a', '...')`, `setTimeout('...', 10)`, `document.write('<script>...')`. The text sees other
 * variables than its new surroundings might suggest, so it is only put in where every name keeps its meaning.
 */
import type { NodePath } from '@babel/traverse';
import * as t from '@babel/types';
import { memberName } from './closed-expressions.js';
import { contains } from './encoded-expressions.js';
import { printProgram, readProgram, traverse, type Program } from './syntax.js';
import { inlineScriptsOf, type Layer } from './unwrap-layers.js';

export interface Inlined {
  readonly code: string;
  readonly layers: readonly Layer[];
}

export function inlineConstantLayers(source: string): Inlined | undefined {
  const reading = readProgram(source);
  if (!('ast' in reading)) return undefined;
  const layers: Layer[] = [];
  traverse(reading.ast, {
    CallExpression(path) {
      const layer = inlineEval(path) ?? inlineTimer(path) ?? inlineWrite(path) ?? inlineFunction(path);
      if (layer !== undefined) layers.push(layer);
    },
    NewExpression(path) {
      const layer = inlineFunction(path);
      if (layer !== undefined) layers.push(layer);
    },
  });
  return layers.length === 0 ? undefined : { code: printProgram(reading.ast), layers };
}

function inlineEval(path: NodePath<t.CallExpression>): Layer | undefined {
  const { callee } = path.node;
  const isDirect = t.isIdentifier(callee, { name: 'eval' }) && !path.scope.hasBinding('eval', true);
  if (!isDirect && !isIndirectEval(path)) return undefined;
  const text = onlyText(path.node.arguments);
  const inner = text === undefined ? undefined : readProgram(text);
  if (text === undefined || inner === undefined || !('ast' in inner)) return undefined;
  const layer = layerOf('eval', text);
  const statement = path.parentPath;
  if (statement.isExpressionStatement()) {
    if (!canStandAt(statement, inner.ast, isDirect)) return undefined;
    statement.replaceWithMultiple(inner.ast.program.body);
    return layer;
  }
  const [only, ...others] = inner.ast.program.body;
  if (others.length > 0 || !t.isExpressionStatement(only) || inner.ast.program.directives.length > 0)
    return undefined;
  if (!isDirect && capturesName(path, inner.ast)) return undefined;
  path.replaceWith(only.expression);
  return layer;
}

function layerOf(via: string, code: string): Layer {
  return { via, bytes: Buffer.byteLength(code) };
}

/** `(0, eval)(...)`, `window.eval(...)`: the text runs in the global scope. */
function isIndirectEval(path: NodePath<t.CallExpression>): boolean {
  const { callee } = path.node;
  if (t.isMemberExpression(callee) && memberName(callee) === 'eval')
    return isGlobalObject(path, callee.object);
  return t.isSequenceExpression(callee) && t.isIdentifier(callee.expressions.at(-1), { name: 'eval' });
}

function inlineTimer(path: NodePath<t.CallExpression>): Layer | undefined {
  const name = globalFunctionName(path);
  const [text, ...rest] = path.node.arguments;
  if ((name !== 'setTimeout' && name !== 'setInterval') || !t.isStringLiteral(text)) return undefined;
  const body = functionBody(text.value);
  if (body === undefined || capturesName(path, body) || declaresGlobals(body)) return undefined;
  const callback = t.functionExpression(
    null,
    [],
    t.blockStatement(body.program.body, body.program.directives),
  );
  path.node.arguments = [callback, ...rest];
  return layerOf('timer', text.value);
}

function inlineWrite(path: NodePath<t.CallExpression>): Layer | undefined {
  const { callee } = path.node;
  const statement = path.parentPath;
  if (!t.isMemberExpression(callee) || !t.isIdentifier(callee.object, { name: 'document' })) return undefined;
  const name = memberName(callee);
  if ((name !== 'write' && name !== 'writeln') || path.scope.hasBinding('document', true)) return undefined;
  const text = onlyText(path.node.arguments);
  const code = text === undefined ? undefined : inlineScriptsOf(text);
  if (text === undefined || code === undefined || !statement.isExpressionStatement()) return undefined;
  const inner = readProgram(code);
  if (!('ast' in inner) || !canStandAt(statement, inner.ast, false)) return undefined;
  statement.replaceWithMultiple(inner.ast.program.body);
  return layerOf('document.write', text);
}

/** A function made from texts becomes the function that it is. */
function inlineFunction(path: NodePath<t.CallExpression> | NodePath<t.NewExpression>): Layer | undefined {
  if (!isFunctionConstructor(path)) return undefined;
  const texts: string[] = [];
  for (const argument of path.node.arguments) {
    if (!t.isStringLiteral(argument)) return undefined;
    texts.push(argument.value);
  }
  const code = texts.pop();
  if (code === undefined) return undefined;
  const reading = readProgram(`(function (${texts.join(',')}) {\n${code}\n})`);
  if (!('ast' in reading) || capturesName(path, reading.ast)) return undefined;
  const [only, ...others] = reading.ast.program.body;
  if (others.length > 0 || !t.isExpressionStatement(only) || !t.isFunctionExpression(only.expression))
    return undefined;
  // A closing bracket in the text could end the function early and begin something else.
  if (code.trim() === '' || isGuard(code)) return undefined;
  path.replaceWith(only.expression);
  return layerOf('Function', code);
}

/** `debugger` traps and look-ups of the global object hide nothing. */
function isGuard(code: string): boolean {
  return /^\s*(?:debugger\s*;?|return\s+this\s*;?|return\s*\(?function\s*\(\)\s*\{\s*\}\.constructor[^]*)\s*$/.test(
    code,
  );
}

function isFunctionConstructor(path: NodePath<t.CallExpression> | NodePath<t.NewExpression>): boolean {
  const { callee } = path.node;
  if (t.isIdentifier(callee, { name: 'Function' })) return !path.scope.hasBinding('Function', true);
  if (!t.isMemberExpression(callee)) return false;
  const name = memberName(callee);
  if (name === 'Function') return isGlobalObject(path, callee.object);
  return name === 'constructor' && isFunctionValue(callee.object);
}

/** `(function () {}).constructor`, `[].filter.constructor`, `''.constructor.constructor` */
function isFunctionValue(node: t.Node): boolean {
  if (t.isFunction(node)) return !node.async && !node.generator;
  if (!t.isMemberExpression(node)) return false;
  const name = memberName(node);
  if (name === 'constructor')
    return t.isLiteral(node.object) || t.isArrayExpression(node.object) || isFunctionValue(node.object);
  return (
    t.isArrayExpression(node.object) &&
    ['at', 'concat', 'fill', 'filter', 'find', 'flat', 'map', 'sort'].includes(name ?? '')
  );
}

function globalFunctionName(path: NodePath<t.CallExpression>): string | undefined {
  const { callee } = path.node;
  if (t.isIdentifier(callee)) return path.scope.hasBinding(callee.name, true) ? undefined : callee.name;
  return t.isMemberExpression(callee) && isGlobalObject(path, callee.object) ? memberName(callee) : undefined;
}

function isGlobalObject(path: NodePath, node: t.Node): boolean {
  if (!t.isIdentifier(node) || path.scope.hasBinding(node.name, true)) return false;
  return ['window', 'self', 'globalThis', 'global', 'top'].includes(node.name);
}

function onlyText(args: t.CallExpression['arguments']): string | undefined {
  const [text, ...others] = args;
  return others.length === 0 && t.isStringLiteral(text) ? text.value : undefined;
}

function functionBody(code: string): Program | undefined {
  const reading = readProgram(code);
  return 'ast' in reading && reading.ast.program.sourceType === 'script' ? reading.ast : undefined;
}

/** May these statements take the place of a statement that ran them as text? */
function canStandAt(statement: NodePath, inner: Program, isDirect: boolean): boolean {
  if (inner.program.sourceType === 'module' || inner.program.directives.length > 0) return false;
  if (contains(inner, (node) => t.isReturnStatement(node)) && hasReturnOutsideFunctions(inner)) return false;
  if (!statement.inList || isStrict(statement)) return false;
  const program = statement.scope.getProgramParent();
  const isTopLevel = statement.parentPath?.isProgram() === true;
  if (!isTopLevel && (!isDirect || declaresGlobals(inner) || hasLexicalDeclarations(inner))) return false;
  if (!isDirect && capturesName(statement, inner)) return false;
  // Text has its own scope for let, const and class; here they would meet the program's names.
  return declaredNames(inner).every((name) => !program.hasOwnBinding(name) && !(name in program.bindings));
}

function hasReturnOutsideFunctions(inner: Program): boolean {
  let found = false;
  traverse(inner, {
    Function: (path) => path.skip(),
    ReturnStatement: () => {
      found = true;
    },
  });
  return found;
}

function isStrict(path: NodePath): boolean {
  return (
    path.find(
      (parent) =>
        (parent.isProgram() &&
          (parent.node.sourceType === 'module' || hasUseStrict(parent.node.directives))) ||
        (parent.isBlockStatement() && hasUseStrict(parent.node.directives)) ||
        parent.isClassBody(),
    ) !== null
  );
}

function hasUseStrict(directives: readonly t.Directive[]): boolean {
  return directives.some(({ value }) => value.value === 'use strict');
}

function declaresGlobals(inner: Program): boolean {
  return declaredNames(inner).length > 0;
}

function hasLexicalDeclarations(inner: Program): boolean {
  return inner.program.body.some(
    (node) => t.isClassDeclaration(node) || (t.isVariableDeclaration(node) && node.kind !== 'var'),
  );
}

function declaredNames(inner: Program): string[] {
  let names: string[] = [];
  traverse(inner, {
    Program(path) {
      names = Object.keys(path.scope.bindings);
    },
  });
  return names;
}

/** Would a name that the text takes from the global scope mean a local variable here? */
function capturesName(path: NodePath, inner: Program): boolean {
  let captured = false;
  traverse(inner, {
    Program(innerPath) {
      captured = Object.keys(innerPath.scope.globals).some((name) => {
        const binding = path.scope.getBinding(name);
        return binding !== undefined && !binding.scope.path.isProgram();
      });
    },
  });
  return captured;
}

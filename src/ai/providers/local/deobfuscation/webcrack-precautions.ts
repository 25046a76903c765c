/**
 * Three places where webcrack would change what a program does. The tree is adjusted before and between its
 * own steps, so that its rewriting is correct or does not apply.
 */
import type { NodePath, TraverseOptions } from '@babel/traverse';
import * as t from '@babel/types';
import type { Options } from 'webcrack';
import type { traverse } from './syntax.js';
import { contains } from './encoded-expressions.js';

type Plugins = NonNullable<Options['plugins']>;
type Plugin = (api: { traverse: typeof traverse }) => { visitor: TraverseOptions; post: () => void };

/** webcrack's later steps rely on fresh scopes; a traversal of ours would leave it outdated ones. */
function precaution(visitor: TraverseOptions): Plugin {
  return (api) => ({ visitor, post: () => api.traverse.cache.clear() });
}

export const WEBCRACK_PRECAUTIONS: Plugins = {
  afterParse: [precaution({ TemplateLiteral: mergeTemplateTexts, VariableDeclaration: keepLateFunctions })],
  afterUnminify: [precaution({ VariableDeclarator: keepConsoleGuard })],
};

/** webcrack puts a text into a template without escaping it, so texts are merged here first. */
function mergeTemplateTexts(path: NodePath<t.TemplateLiteral>): void {
  const { node } = path;
  if (path.parentPath.isTaggedTemplateExpression()) return;
  for (let i = node.expressions.length - 1; i >= 0; i--) {
    const text = node.expressions[i];
    const [before, after] = [node.quasis[i], node.quasis[i + 1]];
    if (!t.isStringLiteral(text) || before === undefined || after === undefined) continue;
    before.value.raw += escapeForTemplate(text.value) + after.value.raw;
    before.tail = after.tail;
    node.expressions.splice(i, 1);
    node.quasis.splice(i + 1, 1);
  }
}

export function escapeForTemplate(text: string): string {
  return text.replace(/[\\`]|\$(?=\{)/g, '\\$&').replaceAll('\r', '\\r');
}

/**
 * webcrack turns `var f = function () {}` into a declaration, which the engine moves to the top. Where that
 * could be noticed (another value before, a use before, a block of its own) the assignment is taken apart
 * first.
 */
function keepLateFunctions(path: NodePath<t.VariableDeclaration>): void {
  const { node } = path;
  if (node.kind !== 'var' || !path.inList || path.parentPath.isExportNamedDeclaration()) return;
  const late = node.declarations.filter((declarator) => isNoticed(path, declarator));
  if (late.length === 0) return;
  const statements = node.declarations.map((declarator) => {
    if (!late.includes(declarator) || !t.isIdentifier(declarator.id) || !declarator.init) {
      return t.variableDeclaration('var', [declarator]);
    }
    return t.expressionStatement(t.assignmentExpression('=', t.cloneNode(declarator.id), declarator.init));
  });
  const names = late.map(({ id }) => t.variableDeclarator(t.cloneNode(id)));
  path.replaceWithMultiple([t.variableDeclaration('var', names), ...statements]);
}

function isNoticed(path: NodePath<t.VariableDeclaration>, declarator: t.VariableDeclarator): boolean {
  if (!t.isIdentifier(declarator.id) || !t.isFunctionExpression(declarator.init) || declarator.init.id)
    return false;
  const binding = path.scope.getBinding(declarator.id.name);
  if (binding === undefined || !binding.constant) return true;
  const holder = path.parentPath;
  const isTopLevel = holder.isProgram() || (holder.isBlockStatement() && holder.parentPath.isFunction());
  if (!isTopLevel) return true;
  const owner = path.getFunctionParent()?.node;
  const start = declarator.start ?? 0;
  return binding.referencePaths.some(
    (use) => (use.node.start ?? 0) < start && use.getFunctionParent()?.node === owner,
  );
}

/**
 * webcrack removes every guard that is called through the obfuscator's run-once function. One of them
 * switches the console off, which is what the program does: it stays, as the plain function that it is.
 */
function keepConsoleGuard(path: NodePath<t.VariableDeclarator>): void {
  const { init } = path.node;
  if (!t.isCallExpression(init) || !t.isIdentifier(init.callee)) return;
  const runOnce = init.callee.name;
  const [receiver, guard, ...others] = init.arguments;
  if (!t.isThisExpression(receiver) || !t.isFunctionExpression(guard) || others.length > 0) return;
  if (!silencesConsole(guard)) return;
  path.get('init').replaceWith(guard);
  path.traverse({
    Identifier(use) {
      // The guard borrows the run-once function only because it is a function.
      if (use.node.name !== runOnce || !use.isReferencedIdentifier()) return;
      use.replaceWith(t.functionExpression(null, [], t.blockStatement([])));
      use.skip();
    },
  });
}

function silencesConsole(guard: t.FunctionExpression): boolean {
  const namesConsole = contains(guard, (node) => t.isIdentifier(node, { name: 'console' }));
  return (
    namesConsole &&
    ['log', 'warn'].every((method) => contains(guard, (node) => t.isStringLiteral(node, { value: method })))
  );
}

/**
 * Peels wrappers: a script whose only purpose is to build another script and run it is replaced by that
 * script. The wrapper is run in the isolate, where it can do nothing but say what it would have run.
 */
import * as t from '@babel/types';
import type { Budget } from './budget.js';
import { DETERMINISTIC_GLOBALS, memberName } from './closed-expressions.js';
import { recordExecutedCode, type RecordedCode } from './code-recorder.js';
import { contains } from './encoded-expressions.js';
import { readProgram, traverse, type Program } from './syntax.js';
import { wordSet } from './word-set.js';

export interface Layer {
  readonly via: string;
  readonly bytes: number;
}

export interface Unwrapped {
  readonly code: string;
  readonly layer: Layer;
}

const RUN_TIMEOUT_MS = 1_000;

/** The code inside of the outermost wrapper; undefined where the script is no wrapper. */
export async function unwrapLayer(source: string, budget: Budget): Promise<Unwrapped | undefined> {
  // What is written in symbols alone cannot refer to anything else, and nests deeper than the parser goes.
  const reading = isWrittenInSymbols(source) ? undefined : readProgram(source);
  const ast = reading !== undefined && 'ast' in reading ? reading.ast : undefined;
  if (reading !== undefined) {
    if (ast === undefined || !mentionsExecution(ast) || dependsOnSurroundings(ast)) return undefined;
  }
  const recording = await recordExecutedCode(source, budget.slice(RUN_TIMEOUT_MS));
  if (recording === undefined || recording.hasOtherEffects || recording.executions.length !== 1)
    return undefined;
  const [execution] = recording.executions;
  if (execution === undefined || !recording.finished) return undefined;
  const inner = asProgram(execution);
  if (inner === undefined || (ast !== undefined && usesWrapper(inner, ast))) return undefined;
  return { code: inner, layer: { via: execution.via, bytes: Buffer.byteLength(execution.code) } };
}

/** JSFuck and its like: brackets, signs and nothing else. */
export function isWrittenInSymbols(source: string): boolean {
  return /^[[\](){}!+\s;]+$/.test(source) && source.trim() !== '';
}

const EXECUTORS: ReadonlySet<string> = wordSet(
  'eval Function setTimeout setInterval execScript constructor write writeln',
);

/** Cheap look before anything runs: does the script name, or spell in pieces, a way to run text? */
function mentionsExecution(ast: Program): boolean {
  return contains(ast, (node) => {
    if (t.isIdentifier(node)) return EXECUTORS.has(node.name) && node.name !== 'write';
    if (t.isStringLiteral(node)) return EXECUTORS.has(node.value);
    if (!t.isMemberExpression(node)) return false;
    return EXECUTORS.has(memberName(node) ?? '') || (node.computed && !t.isLiteral(node.property));
  });
}

/** What a wrapper may name without depending on where it runs. */
const WRAPPER_GLOBALS: ReadonlySet<string> = new Set([
  ...DETERMINISTIC_GLOBALS,
  ...wordSet('eval Function setTimeout setInterval execScript document window self globalThis global top'),
]);

/**
 * A script that asks where or when it runs may run different code there; its one recorded answer is not the
 * truth.
 */
function dependsOnSurroundings(ast: Program): boolean {
  if (ast.program.sourceType === 'module') return true;
  const assigned = new Set<string>();
  const asked = new Set<string>();
  let asksByMember = false;
  t.traverseFast(ast, (node) => {
    if (t.isAssignmentExpression(node, { operator: '=' }) && t.isIdentifier(node.left))
      assigned.add(node.left.name);
    if (t.isUnaryExpression(node, { operator: 'typeof' }) && t.isIdentifier(node.argument))
      asked.add(node.argument.name);
    if (t.isMemberExpression(node)) asksByMember ||= SURROUNDINGS.has(memberName(node) ?? '');
  });
  const globals = globalsOf(ast);
  return (
    asksByMember ||
    globals.some((name) => asked.has(name) || !(WRAPPER_GLOBALS.has(name) || assigned.has(name)))
  );
}

const SURROUNDINGS: ReadonlySet<string> = wordSet('random now location cookie');

function globalsOf(ast: Program): string[] {
  let globals: string[] = [];
  traverse(ast, {
    Program(path) {
      globals = Object.keys(path.scope.globals);
      path.stop();
    },
  });
  return globals;
}

/** The recorded code as a program of its own, if it can be one. */
function asProgram({ via, code, parameters }: RecordedCode): string | undefined {
  if (via === 'document.write') return inlineScriptsOf(code);
  const reading = readProgram(code);
  if (!('ast' in reading)) return undefined;
  if (via !== 'Function') return reading.source;
  if (
    parameters.trim() !== '' ||
    contains(reading.ast, (node) => t.isIdentifier(node, { name: 'arguments' }))
  )
    return undefined;
  return hasTopLevelReturn(reading.ast) ? `(function () {\n${reading.source}\n})();` : reading.source;
}

function hasTopLevelReturn(ast: Program): boolean {
  let found = false;
  traverse(ast, {
    Function: (path) => path.skip(),
    ReturnStatement: () => {
      found = true;
    },
  });
  return found;
}

/** Only where the written markup is scripts and nothing else. */
export function inlineScriptsOf(markup: string): string | undefined {
  const scripts = [
    ...markup.matchAll(/<script(?:\s+(?:type|language)\s*=\s*["']?[\w/.]+["']?)*\s*>([^]*?)<\/script\s*>/gi),
  ];
  const rest = scripts.reduce((text, [whole]) => text.replace(whole, ''), markup);
  if (scripts.length === 0 || rest.trim() !== '') return undefined;
  const code = scripts.map(([, body]) => body ?? '').join('\n;\n');
  return 'ast' in readProgram(code) ? code : undefined;
}

/** Does the inner code need something that the wrapper defines? */
function usesWrapper(inner: string, wrapper: Program): boolean {
  const innerReading = readProgram(inner);
  if (!('ast' in innerReading)) return true;
  const defined = new Set(globalsOf(wrapper).filter((name) => !WRAPPER_GLOBALS.has(name)));
  traverse(wrapper, {
    Program(path) {
      for (const name of Object.keys(path.scope.bindings)) defined.add(name);
      path.stop();
    },
  });
  return globalsOf(innerReading.ast).some((name) => defined.has(name));
}

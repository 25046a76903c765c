/**
 * Recognises a sample's own decoder functions: closed, made of decoding steps, called with constant
 * arguments, and always answering with a text that reads better than what went in.
 */
import type { Binding } from '@babel/traverse';
import * as t from '@babel/types';
import { memberName } from './closed-expressions.js';
import type { Slice } from './definition-slices.js';
import { contains, isDecodingStep } from './encoded-expressions.js';
import { readability } from './readability.js';

export interface DecodedCall {
  readonly argumentTexts: readonly string[];
  /** Undefined where the call threw or gave no string. */
  readonly result: string | undefined;
}

/** A single call is too little to know a decoder by, unless the gain is plain to see. */
const CLEAR_GAIN = 0.15;

/** The variable that a call goes to: `decode('...')` or `tools.decode('...')`. */
export function calledName(call: t.CallExpression): t.Identifier | undefined {
  if (call.callee.type === 'Identifier') return call.callee;
  const isOwnMethod = call.callee.type === 'MemberExpression' && memberName(call.callee) !== undefined;
  return isOwnMethod && t.isMemberExpression(call.callee) && t.isIdentifier(call.callee.object)
    ? call.callee.object
    : undefined;
}

/** Is the variable, by its definition, a decoder, a wrapper around one, or another name for one? */
export function isDecoder(binding: Binding, slice: Slice, seen: ReadonlySet<Binding> = new Set()): boolean {
  if (seen.has(binding)) return false;
  const definition = t.isVariableDeclarator(binding.path.node) ? binding.path.node.init : binding.path.node;
  if (!definition) return false;
  const isDecoderName = (node: t.Node): boolean => {
    if (!t.isIdentifier(node)) return false;
    const target = binding.path.scope.getBinding(node.name);
    return (
      target !== undefined &&
      slice.bindings.has(target) &&
      isDecoder(target, slice, new Set([...seen, binding]))
    );
  };
  if (isDecoderName(definition)) return true;
  if (!contains(definition, t.isFunction)) return false;
  if (t.isFunction(definition)) {
    const answer = onlyAnswer(definition);
    if (t.isCallExpression(answer)) return isDecoderName(answer.callee) || takesDecodingSteps(definition);
  }
  return takesDecodingSteps(definition);
}

export function isAcceptableDecoder(calls: readonly DecodedCall[]): boolean {
  if (calls.some((call) => call.result === undefined)) return false;
  const before = average(calls.flatMap((call) => call.argumentTexts).map(readability));
  const after = average(calls.map((call) => readability(call.result ?? '')));
  const gain = after - before;
  return calls.length >= 2 ? gain >= 0 : gain >= CLEAR_GAIN;
}

/** A table look-up by a computed index counts as well: it is how string arrays are read. */
function takesDecodingSteps(definition: t.Node): boolean {
  return contains(definition, (node) => {
    if (isDecodingStep(node)) return true;
    if (node.type !== 'MemberExpression' || !node.computed) return false;
    return !t.isStringLiteral(node.property) && !t.isNumericLiteral(node.property);
  });
}

/** What a function returns, where returning is all it does. */
function onlyAnswer(definition: t.Function): t.Node | null | undefined {
  if (definition.body.type !== 'BlockStatement') return definition.body;
  const [only, ...others] = definition.body.body;
  return others.length === 0 && only?.type === 'ReturnStatement' ? only.argument : undefined;
}

function average(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

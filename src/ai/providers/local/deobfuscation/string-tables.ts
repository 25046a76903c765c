/**
 * Recognises tables of constant texts (`_$_a1f3[7]`), also those that are split from one text or rotated
 * before use. A short list of words in readable code is not one: inlining it would say less than the list
 * does.
 */
import type { Binding } from '@babel/traverse';
import * as t from '@babel/types';
import type { Slice } from './definition-slices.js';

const GENERATED_NAME = /^(?:_0x|_\$|\$_|__|[$_]+\d)|^[$_]{1,3}[a-z0-9]{0,6}$|^[a-z]{1,2}\d?$/i;
const MIN_ENTRIES = 2;
const MANY_USES = 6;

export function isStringTable(binding: Binding, slice: Slice): boolean {
  const definition = binding.path.node;
  if (definition.type !== 'VariableDeclarator' || !definition.init) return false;
  const { init } = definition;
  if (t.isObjectExpression(init)) return isTextObject(init) && GENERATED_NAME.test(binding.identifier.name);
  const isList = t.isArrayExpression(init) ? isTextList(init) : isSplitText(init);
  if (!isList) return false;
  const isPrepared = slice.units.size > 1;
  return (
    isPrepared || binding.referencePaths.length >= MANY_USES || GENERATED_NAME.test(binding.identifier.name)
  );
}

function isTextList(list: t.ArrayExpression): boolean {
  const texts = list.elements.filter(
    (element) => element !== null && !t.isSpreadElement(element) && !isNumber(element),
  );
  return texts.length >= MIN_ENTRIES && texts.length * 2 >= list.elements.length;
}

function isNumber(node: t.Node): boolean {
  return t.isNumericLiteral(node) || (t.isUnaryExpression(node) && t.isNumericLiteral(node.argument));
}

function isTextObject(object: t.ObjectExpression): boolean {
  return (
    object.properties.length >= MIN_ENTRIES &&
    object.properties.every((property) => t.isObjectProperty(property) && t.isStringLiteral(property.value))
  );
}

/** `'a|b|c'.split('|')`, however the text and the separator are written. */
function isSplitText(node: t.Node): boolean {
  return (
    t.isCallExpression(node) &&
    t.isMemberExpression(node.callee) &&
    (t.isIdentifier(node.callee.property, { name: 'split' }) ||
      t.isStringLiteral(node.callee.property, { value: 'split' }))
  );
}

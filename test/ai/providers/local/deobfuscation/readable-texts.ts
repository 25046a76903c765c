import * as t from '@babel/types';
import { readProgram } from '../../../../../src/ai/providers/local/deobfuscation/syntax.js';

/** String literals and member names of a program: what a reader of the result wants to find. */
export function readableTexts(code: string): Set<string> {
  const reading = readProgram(code);
  if (!('ast' in reading)) throw new SyntaxError(reading.failure);
  const texts = new Set<string>();
  t.traverseFast(reading.ast, (node) => {
    if (t.isStringLiteral(node)) texts.add(node.value);
    if (t.isTemplateElement(node)) texts.add(node.value.cooked ?? '');
    if (t.isMemberExpression(node) && !node.computed && t.isIdentifier(node.property))
      texts.add(node.property.name);
  });
  texts.delete('');
  return texts;
}

/** The share of the original's texts that can be read in the result. */
export function shareOfTexts(original: string, result: string): number {
  const wanted = [...readableTexts(original)];
  const found = [...readableTexts(result)].join('\u0001');
  return wanted.length === 0 ? 1 : wanted.filter((text) => found.includes(text)).length / wanted.length;
}

/** Spells literals and members plainly: `'\x6c\x6f\x67'` as `'log'`, `console['log']` as `console.log`. */
import * as t from '@babel/types';
import { printProgram, readProgram, traverse } from './syntax.js';
import { escapeForTemplate } from './webcrack-precautions.js';

export interface PlainSpelling {
  readonly code: string;
  /** Literals whose text was written in escapes. */
  readonly decodedLiterals: number;
}

export const NEEDLESS_ESCAPE = /\\x[2-7][0-9a-f]|\\u00[2-7][0-9a-f]|\\u\{0*[2-7][0-9a-f]\}/i;

/** The source itself where nothing was written in escapes. */
export function spellPlainly(source: string): PlainSpelling {
  const reading = NEEDLESS_ESCAPE.test(source) ? readProgram(source) : undefined;
  if (reading === undefined || !('ast' in reading)) return { code: source, decodedLiterals: 0 };
  let decodedLiterals = 0;
  traverse(reading.ast, {
    StringLiteral({ node }) {
      if (!NEEDLESS_ESCAPE.test(String(node.extra?.['raw'] ?? ''))) return;
      delete node.extra;
      decodedLiterals++;
    },
    TemplateElement({ node, parentPath }) {
      const { cooked } = node.value;
      const isTagged = parentPath?.parentPath?.isTaggedTemplateExpression() === true;
      if (isTagged || typeof cooked !== 'string' || !NEEDLESS_ESCAPE.test(node.value.raw)) return;
      node.value.raw = escapeForTemplate(cooked);
      decodedLiterals++;
    },
    MemberExpression({ node }) {
      if (
        !node.computed ||
        !t.isStringLiteral(node.property) ||
        !t.isValidIdentifier(node.property.value, false)
      )
        return;
      node.property = t.identifier(node.property.value);
      node.computed = false;
    },
  });
  return decodedLiterals === 0
    ? { code: source, decodedLiterals }
    : { code: printProgram(reading.ast), decodedLiterals };
}

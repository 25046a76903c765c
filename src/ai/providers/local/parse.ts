import { parse, type ParserOptions, type ParserPlugin } from '@babel/parser';
import type { File } from '@babel/types';
import type { Dialect } from './local-analysis.js';

/** A syntax tree, and which dialect it was read in. */
export interface ParsedScript {
  readonly dialect: Dialect;
  readonly ast: File;
}

const OPTIONS: ParserOptions = {
  sourceType: 'unambiguous',
  allowReturnOutsideFunction: true,
  allowAwaitOutsideFunction: true,
  allowSuperOutsideMethod: true,
  allowUndeclaredExports: true,
  allowNewTargetOutsideFunction: true,
  errorRecovery: true,
};

/**
 * Faults that a snippet of a real program may have. What else the parser recovers from would let prose pass:
 * it forgives missing semicolons, so "one two three" would be three statements.
 */
const FORGIVEN =
  /^(?:VarRedeclaration|DuplicateExport|DuplicateProto|DuplicateConstructor|Strict\w*|.*Octal\w*)$/;

/** Reads JavaScript, else TypeScript; undefined when it is neither (also when it is nested too deeply). */
export function parseScript(code: string, first: Dialect = 'javascript'): ParsedScript | undefined {
  const dialects: readonly Dialect[] =
    first === 'javascript' ? ['javascript', 'typescript'] : ['typescript', 'javascript'];
  for (const dialect of dialects) {
    const ast = parseAs(code, dialect);
    if (ast !== undefined) return { dialect, ast };
  }
  return undefined;
}

function parseAs(code: string, dialect: Dialect): File | undefined {
  // In TypeScript `<T>value` is a cast or the start of an element, by the file's extension: try both.
  const pluginSets: ParserPlugin[][] =
    dialect === 'javascript'
      ? [['jsx', 'decorators']]
      : [
          ['typescript', 'decorators'],
          ['typescript', 'jsx', 'decorators'],
        ];
  for (const plugins of pluginSets) {
    try {
      const ast = parse(code, { ...OPTIONS, plugins });
      if ((ast.errors ?? []).every(isForgiven)) return ast;
    } catch {
      // A syntax error, or a stack that nesting has exhausted: not readable in this way.
    }
  }
  return undefined;
}

function isForgiven(error: unknown): boolean {
  const code = error instanceof Error && 'reasonCode' in error ? error.reasonCode : undefined;
  return typeof code === 'string' && FORGIVEN.test(code);
}

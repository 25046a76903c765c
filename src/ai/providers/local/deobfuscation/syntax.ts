/**
 * Reading and printing programs. Pasted snippets often declare a constant twice: an engine refuses to run
 * them, but they can be read when `let` and `const` are taken for `var`.
 */
import generatorModule from '@babel/generator';
import { parse, type ParseResult, type ParserOptions } from '@babel/parser';
import traverseModule from '@babel/traverse';
import * as t from '@babel/types';

export const generate = generatorModule.default;
export const traverse = traverseModule.default;

export type Program = ParseResult<t.File>;

const PARSER_OPTIONS: ParserOptions = {
  allowReturnOutsideFunction: true,
  plugins: ['jsx', 'decorators', 'explicitResourceManagement'],
};

const REDECLARATION = 'VarRedeclaration';

/** The program, or the reason why it cannot be read. Never throws, however deep or broken the source is. */
export type Reading = { readonly ast: Program; readonly source: string } | { readonly failure: string };

export function readProgram(source: string): Reading {
  let failure = 'it is not valid JavaScript';
  for (const sourceType of ['unambiguous', 'module', 'script'] as const) {
    try {
      return { ast: parse(source, { ...PARSER_OPTIONS, sourceType }), source };
    } catch (error) {
      if (error instanceof RangeError) return { failure: 'it is nested too deeply' };
      if (isRedeclaration(error)) return readWithoutLexicalDeclarations(source);
      if (sourceType === 'unambiguous') failure = describeSyntaxError(error);
    }
  }
  return { failure };
}

export function parses(source: string): boolean {
  return 'ast' in readProgram(source);
}

/** Readable text of a program; strings are printed without needless escapes. */
export function printProgram(node: t.Node): string {
  return generate(node, { jsescOption: { minimal: true } }).code;
}

/** Layout removed, so that two programs can be compared by what they say. */
export function printCompact(node: t.Node): string {
  return generate(node, { compact: true, comments: false, jsescOption: { minimal: true } }).code;
}

function isRedeclaration(error: unknown): boolean {
  return error instanceof SyntaxError && 'reasonCode' in error && error.reasonCode === REDECLARATION;
}

function describeSyntaxError(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return `it is not valid JavaScript (${message.slice(0, 200)})`;
}

function readWithoutLexicalDeclarations(source: string): Reading {
  try {
    const ast = parse(source, { ...PARSER_OPTIONS, sourceType: 'unambiguous', errorRecovery: true });
    t.traverseFast(ast, (node) => {
      if (node.type !== 'VariableDeclaration') return;
      if (node.kind === 'let' || node.kind === 'const') node.kind = 'var';
    });
    const relaxed = printProgram(ast);
    return { ast: parse(relaxed, { ...PARSER_OPTIONS, sourceType: 'unambiguous' }), source: relaxed };
  } catch (error) {
    return { failure: error instanceof RangeError ? 'it is nested too deeply' : describeSyntaxError(error) };
  }
}

/**
 * TypeScript to JavaScript. Node's own compiler first, because it also turns enums and parameter properties
 * into code; where it gives up, the types are removed from Babel's tree.
 */
import { stripTypeScriptTypes } from 'node:module';
import { parse } from '@babel/parser';
import type * as t from '@babel/types';
import { printProgram, traverse } from './syntax.js';

export type StrippedSource = { readonly code: string } | { readonly failure: string };

export function stripTypes(source: string): StrippedSource {
  try {
    return { code: withoutExperimentalWarning(() => stripTypeScriptTypes(source, { mode: 'transform' })) };
  } catch {
    return stripTypesFromTree(source);
  }
}

/** The compiler announces on stderr that it is experimental; the child's stderr is kept for real faults. */
function withoutExperimentalWarning<T>(run: () => T): T {
  const emitWarning = process.emitWarning;
  process.emitWarning = () => undefined;
  try {
    return run();
  } finally {
    process.emitWarning = emitWarning;
  }
}

function stripTypesFromTree(source: string): StrippedSource {
  try {
    const ast = parse(source, {
      sourceType: 'unambiguous',
      allowReturnOutsideFunction: true,
      plugins: ['typescript', 'decorators'],
    });
    traverse(ast, {
      TSParameterProperty: rejectCode,
      TSEnumDeclaration: rejectCode,
      TSModuleDeclaration: rejectCode,
      TSImportEqualsDeclaration: rejectCode,
      TSExportAssignment: rejectCode,
      'TSAsExpression|TSSatisfiesExpression|TSNonNullExpression|TSTypeAssertion'(path) {
        const { expression } = path.node as t.TSAsExpression;
        path.replaceWith(expression);
      },
      'TSTypeAnnotation|TSTypeParameterInstantiation|TSTypeParameterDeclaration'(path) {
        path.remove();
      },
      'TSInterfaceDeclaration|TSTypeAliasDeclaration|TSDeclareFunction|TSDeclareMethod'(path) {
        path.remove();
      },
    });
    return { code: printProgram(ast) };
  } catch (error) {
    const reason =
      error instanceof RangeError ? 'it is nested too deeply' : 'its TypeScript could not be compiled';
    return { failure: reason };
  }
}

/**
 * Enums, namespaces and parameter properties are code, not types: only a compiler can turn them into
 * JavaScript.
 */
function rejectCode(): never {
  throw new SyntaxError('TypeScript syntax with a meaning at run time');
}

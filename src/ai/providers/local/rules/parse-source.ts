import { parse, type ParserPlugin } from '@babel/parser';
import type { Dialect } from '../local-analysis.js';
import { traverse, type t } from './syntax.js';

export interface ParsedSource {
  readonly file: t.File;
  /** Messages of errors that the parser stepped over. */
  readonly recovered: readonly string[];
}

const JAVASCRIPT: ParserPlugin[][] = [
  ['jsx', 'decorators-legacy', 'explicitResourceManagement'],
  ['typescript', 'jsx', 'decorators-legacy', 'explicitResourceManagement'],
  ['flow', 'jsx', 'decorators-legacy'],
];
const TYPESCRIPT: ParserPlugin[][] = [
  ['typescript', 'jsx', 'decorators-legacy', 'explicitResourceManagement'],
  // Without JSX for casts in angle brackets.
  ['typescript', 'decorators-legacy', 'explicitResourceManagement'],
];

function parseWith(source: string, plugins: ParserPlugin[]): t.File {
  return parse(source, {
    sourceType: 'unambiguous',
    errorRecovery: true,
    allowReturnOutsideFunction: true,
    allowAwaitOutsideFunction: true,
    allowImportExportEverywhere: true,
    allowNewTargetOutsideFunction: true,
    allowSuperOutsideMethod: true,
    allowUndeclaredExports: true,
    plugins,
  });
}

type FileWithErrors = t.File & {
  readonly errors?: readonly { readonly message?: string; readonly code: string }[] | null;
};

function recoveredErrors(file: FileWithErrors): string[] {
  // Duplicate declarations are usual in pasted snippets, and `declareAgain` deals with them.
  return (file.errors ?? [])
    .map((error) => error.message ?? error.code)
    .filter((message) => !/already been declared|Duplicate/.test(message));
}

/** Parses leniently: the first dialect without errors, else the one with the fewest. Throws when none parses. */
export function parseSource(source: string, dialect: Dialect): ParsedSource {
  let best: ParsedSource | undefined;
  let failure: unknown;
  for (const plugins of dialect === 'typescript' ? TYPESCRIPT : JAVASCRIPT) {
    try {
      const file = parseWith(source, plugins);
      const recovered = recoveredErrors(file);
      if (recovered.length === 0) {
        return { file, recovered };
      }
      if (!best || recovered.length < best.recovered.length) {
        best = { file, recovered };
      }
    } catch (error) {
      if (error instanceof RangeError) {
        throw error;
      }
      failure ??= error;
    }
  }
  if (!best) {
    throw failure;
  }
  return best;
}

function classAsVariable(node: t.ClassDeclaration, id: t.Identifier): t.VariableDeclaration {
  const init: t.ClassExpression = { ...node, type: 'ClassExpression' };
  const declarator = { type: 'VariableDeclarator', id, init, loc: node.loc } as t.VariableDeclarator;
  return {
    type: 'VariableDeclaration',
    kind: 'var',
    declarations: [declarator],
    loc: node.loc,
  } as t.VariableDeclaration;
}

function importAsVariable(node: t.ImportDeclaration): t.VariableDeclaration {
  const required = {
    type: 'CallExpression',
    callee: { type: 'Identifier', name: 'require', loc: node.loc },
    arguments: [node.source],
    loc: node.loc,
  } as t.CallExpression;
  const declarations = node.specifiers.map((specifier) => {
    const init =
      specifier.type === 'ImportSpecifier'
        ? {
            type: 'MemberExpression',
            object: required,
            property: specifier.imported,
            computed: false,
            loc: node.loc,
          }
        : required;
    return { type: 'VariableDeclarator', id: specifier.local, init, loc: node.loc } as t.VariableDeclarator;
  });
  return { type: 'VariableDeclaration', kind: 'var', declarations, loc: node.loc } as t.VariableDeclaration;
}

/**
 * Makes every declaration one that may be repeated: `let`, `const`, classes and imports become `var`. Several
 * snippets in one file declare the same names again, and scope analysis refuses that.
 */
function declareAgain(file: t.File): void {
  traverse.cheap(file, (node) => {
    if (node.type === 'VariableDeclaration') {
      node.kind = 'var';
    }
    if (node.type === 'Program' || node.type === 'BlockStatement') {
      node.body = node.body.map((statement) => {
        if (statement.type === 'ClassDeclaration' && statement.id) {
          return classAsVariable(statement, statement.id);
        }
        return statement.type === 'ImportDeclaration' && statement.specifiers.length > 0
          ? importAsVariable(statement)
          : statement;
      });
    }
    if (node.type === 'ExportNamedDeclaration' && node.declaration?.type === 'ClassDeclaration') {
      const { id } = node.declaration;
      node.declaration = id ? classAsVariable(node.declaration, id) : node.declaration;
    }
  });
}

/** Runs `visit` on the file, a second time with repeatable declarations when scope analysis refuses the first. */
export function withScopes(file: t.File, visit: () => void): void {
  try {
    visit();
  } catch (error) {
    if (!(error instanceof Error) || !/Duplicate declaration/.test(error.message)) {
      throw error;
    }
    traverse.cache.clear();
    declareAgain(file);
    visit();
  }
}

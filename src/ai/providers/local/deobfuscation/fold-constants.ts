/**
 * Replaces expressions that hide a text by that text: chains of decoding built-ins, look-ups in string tables
 * and calls of the sample's own decoder functions. Only strings are put in; everything else stays program
 * logic.
 */
import type { Binding, NodePath } from '@babel/traverse';
import * as t from '@babel/types';
import type { Budget } from './budget.js';
import { DependencyMap } from './closed-expressions.js';
import { calledName, isAcceptableDecoder, isDecoder, type DecodedCall } from './decoder-functions.js';
import { DefinitionSlices, isInside, type Slice } from './definition-slices.js';
import { hidesText } from './encoded-expressions.js';
import { evaluate } from './evaluate.js';
import { isStringTable } from './string-tables.js';
import { printProgram, readProgram, traverse, type Program } from './syntax.js';

export interface Folding {
  readonly code: string;
  /** Texts that came out of decoder functions and string tables. */
  readonly decodedStrings: number;
  readonly foldedExpressions: number;
  /** Something was not evaluated because of the time or memory limit. */
  readonly incomplete: boolean;
}

interface Candidate {
  readonly path: NodePath;
  readonly slice: Slice | undefined;
  /** Set where the candidate is itself the call of a decoder. */
  readonly decoder: Binding | undefined;
  readonly fromTable: boolean;
}

const MAX_CANDIDATES = 20_000;
const MAX_ROUNDS = 4;
const BATCH_TIMEOUT_MS = 600;
const SINGLE_TIMEOUT_MS = 100;
const MAX_SINGLE_EVALUATIONS = 12;

export async function foldConstants(source: string, budget: Budget): Promise<Folding> {
  const unchanged = { code: source, decodedStrings: 0, foldedExpressions: 0, incomplete: false };
  const reading = readProgram(source);
  if (!('ast' in reading)) return unchanged;
  const pass = new FoldingPass(reading.ast, reading.source, budget);
  await pass.run();
  if (pass.decodedStrings + pass.foldedExpressions === 0)
    return { ...unchanged, incomplete: pass.incomplete };
  return {
    code: printProgram(reading.ast),
    decodedStrings: pass.decodedStrings,
    foldedExpressions: pass.foldedExpressions,
    incomplete: pass.incomplete,
  };
}

class FoldingPass {
  decodedStrings = 0;
  foldedExpressions = 0;
  incomplete = false;
  readonly #ast: Program;
  readonly #source: string;
  readonly #budget: Budget;
  readonly #dependencies: DependencyMap;
  readonly #slices: DefinitionSlices;
  readonly #usedSlices = new Set<Slice>();

  constructor(ast: Program, source: string, budget: Budget) {
    this.#ast = ast;
    this.#source = source;
    this.#budget = budget;
    this.#dependencies = new DependencyMap(ast);
    this.#slices = new DefinitionSlices(this.#dependencies, source);
  }

  async run(): Promise<void> {
    let candidates = this.#candidatesIn((visit) => traverse(this.#ast, { Expression: visit }));
    for (let round = 0; round < MAX_ROUNDS && candidates.length > 0; round++) {
      const results = await this.#evaluateAll(candidates);
      const rejected = rejectedDecoders(candidates, results);
      const leftOver: Candidate[] = [];
      for (const candidate of candidates) {
        const value = results.get(candidate);
        const isRejected = candidate.decoder !== undefined && rejected.has(candidate.decoder);
        if (value === undefined || isRejected) leftOver.push(candidate);
        else this.#replace(candidate, value);
      }
      // What gave no string as a whole may still contain parts that do.
      candidates = this.#candidatesIn((visit) => {
        for (const { path } of leftOver) path.traverse({ Expression: visit });
      });
    }
    this.#removeUnusedDefinitions();
  }

  #candidatesIn(walk: (visit: (path: NodePath<t.Expression>) => void) => void): Candidate[] {
    const candidates: Candidate[] = [];
    walk((path) => {
      if (candidates.length >= MAX_CANDIDATES) {
        this.incomplete = true;
        return path.stop();
      }
      const candidate = this.#candidateAt(path);
      if (candidate === undefined) return;
      candidates.push(candidate);
      path.skip();
    });
    return candidates;
  }

  #candidateAt(path: NodePath<t.Expression>): Candidate | undefined {
    if (!isReplaceable(path)) return undefined;
    const { open, reads, writes } = this.#dependencies.of(path.node);
    if (open || writes.size > 0) return undefined;
    const slice = reads.size === 0 ? undefined : this.#slices.combined(reads);
    if (reads.size > 0 && slice === undefined) return undefined;
    if (slice !== undefined && [...slice.units].some((unit) => isInside(path, unit))) return undefined;
    const decoder = this.#decoderCalledBy(path, slice);
    const fromTable = this.#readsTable(path, slice);
    if (decoder !== undefined || fromTable) return { path, slice, decoder, fromTable };
    const isWanted = isExecuted(path) || hidesText(path.node) || this.#joinsDecodedParts(path, slice);
    if (!isWanted || !this.#readsOnlyTextSources(reads)) return undefined;
    return { path, slice, decoder: undefined, fromTable: false };
  }

  #decoderCalledBy(path: NodePath<t.Expression>, slice: Slice | undefined): Binding | undefined {
    if (slice === undefined || !path.isCallExpression()) return undefined;
    const name = calledName(path.node);
    const binding = name === undefined ? undefined : path.scope.getBinding(name.name);
    return binding !== undefined && isDecoder(binding, slice) ? binding : undefined;
  }

  #readsTable(path: NodePath<t.Expression>, slice: Slice | undefined): boolean {
    if (slice === undefined || !path.isMemberExpression() || path.node.object.type !== 'Identifier')
      return false;
    const binding = path.scope.getBinding(path.node.object.name);
    return binding !== undefined && isStringTable(binding, slice);
  }

  /** `decode(1) + table[2] + 'x'` */
  #joinsDecodedParts(path: NodePath, slice: Slice | undefined): boolean {
    if (slice === undefined || !path.isBinaryExpression({ operator: '+' })) return false;
    return ([path.get('left'), path.get('right')] as NodePath[]).every(
      (side) =>
        side.isStringLiteral() ||
        (side.isExpression() &&
          (this.#decoderCalledBy(side, slice) !== undefined || this.#readsTable(side, slice))) ||
        this.#joinsDecodedParts(side, slice),
    );
  }

  /**
   * A constant that is read must be a text, a number or a table: folding a call of a plain function is not
   * wanted.
   */
  #readsOnlyTextSources(reads: ReadonlySet<Binding>): boolean {
    return [...reads].every((binding) => {
      const slice = this.#slices.of(binding);
      if (slice === undefined) return false;
      const { node } = binding.path;
      const isFunction =
        t.isFunctionDeclaration(node) || (t.isVariableDeclarator(node) && t.isFunction(node.init));
      return !isFunction || isDecoder(binding, slice);
    });
  }

  async #evaluateAll(candidates: readonly Candidate[]): Promise<Map<Candidate, string>> {
    const results = new Map<Candidate, string>();
    for (const group of Map.groupBy(candidates, ({ slice }) => slice?.text ?? '').values()) {
      if (!this.#budget.allows(100)) {
        this.incomplete = true;
        break;
      }
      await this.#evaluateGroup(group, results);
    }
    return results;
  }

  async #evaluateGroup(group: readonly Candidate[], results: Map<Candidate, string>): Promise<void> {
    const setup = group[0]?.slice?.text ?? '';
    const expressions = group.map(({ path }) => this.#textOf(path));
    const values = await evaluate({ setup, expressions }, this.#budget.slice(BATCH_TIMEOUT_MS));
    if (values !== undefined) {
      for (const [i, candidate] of group.entries()) {
        const value = values[i];
        if (value !== undefined) results.set(candidate, value);
      }
      return;
    }
    // One endless expression must not cost the others their result.
    this.incomplete = true;
    if (group.length === 1) return;
    for (const [i, candidate] of group.slice(0, MAX_SINGLE_EVALUATIONS).entries()) {
      if (!this.#budget.allows(SINGLE_TIMEOUT_MS)) return;
      const [value] =
        (await evaluate({ setup, expressions: [expressions[i] ?? ''] }, SINGLE_TIMEOUT_MS)) ?? [];
      if (value !== undefined) results.set(candidate, value);
    }
  }

  #textOf(path: NodePath): string {
    return this.#source.slice(path.node.start ?? 0, path.node.end ?? 0);
  }

  #replace(candidate: Candidate, value: string): void {
    if (candidate.decoder !== undefined || candidate.fromTable) this.decodedStrings++;
    else this.foldedExpressions++;
    if (candidate.slice !== undefined) this.#usedSlices.add(candidate.slice);
    candidate.path.replaceWith(t.stringLiteral(value));
    candidate.path.skip();
  }

  /** Decoders and tables that nobody calls any more are noise; anything still referenced stays. */
  #removeUnusedDefinitions(): void {
    if (this.#usedSlices.size === 0) return;
    const units = unionOf([...this.#usedSlices].map((slice) => slice.units));
    const bindings = unionOf([...this.#usedSlices].map((slice) => slice.bindings));
    traverse(this.#ast, { Program: (path) => path.scope.crawl() });
    const unitNodes = new Set([...units].map((unit) => unit.node));
    const used = [...bindings].filter((binding) => isUsedOutside(binding, unitNodes));
    // What a definition in use depends on is in use as well.
    const keptUnits = unionOf(used.map((binding) => this.#slices.of(binding)?.units ?? new Set<NodePath>()));
    const kept = new Set([...keptUnits].map((unit) => unit.node));
    for (const unit of units) if (!kept.has(unit.node)) unit.remove();
  }
}

function unionOf<T>(sets: readonly ReadonlySet<T>[]): Set<T> {
  const union = new Set<T>();
  for (const set of sets) for (const member of set) union.add(member);
  return union;
}

function isUsedOutside(binding: Binding, units: ReadonlySet<t.Node>): boolean {
  const current = binding.scope.getBinding(binding.identifier.name);
  if (current === undefined) return true;
  return [...current.referencePaths, ...current.constantViolations].some(
    (use) => use.find((path) => units.has(path.node)) === null,
  );
}

/** Positions where a literal means the same as the expression did. */
function isReplaceable(path: NodePath<t.Expression>): boolean {
  const { node, parent } = path;
  if (t.isLiteral(node) && !t.isTemplateLiteral(node)) return false;
  if (t.isFunction(node) || t.isIdentifier(node)) return false;
  switch (parent.type) {
    case 'ExpressionStatement':
    case 'TaggedTemplateExpression':
    case 'UpdateExpression':
    case 'ImportExpression':
      return false;
    case 'CallExpression':
    case 'NewExpression':
    case 'OptionalCallExpression':
      return parent.callee !== node;
    case 'AssignmentExpression':
    case 'ForInStatement':
    case 'ForOfStatement':
      return parent.left !== node;
    case 'UnaryExpression':
      return parent.operator !== 'delete';
    default:
      return true;
  }
}

const EXECUTING_NAMES: ReadonlySet<string> = new Set([
  'eval',
  'Function',
  'setTimeout',
  'setInterval',
  'execScript',
]);

/** The text of code to be run: whatever builds it, the reader wants to see it. */
function isExecuted(path: NodePath): boolean {
  const { parent, node } = path;
  if (parent.type !== 'CallExpression' && parent.type !== 'NewExpression') return false;
  if (!parent.arguments.some((argument) => argument === node)) return false;
  const callee = t.isMemberExpression(parent.callee) ? parent.callee.property : parent.callee;
  return t.isIdentifier(callee) && EXECUTING_NAMES.has(callee.name) && t.isCallExpression(node);
}

function rejectedDecoders(
  candidates: readonly Candidate[],
  results: ReadonlyMap<Candidate, string>,
): ReadonlySet<Binding> {
  const calls = new Map<Binding, DecodedCall[]>();
  for (const candidate of candidates) {
    if (candidate.decoder === undefined) continue;
    const call = { argumentTexts: stringArguments(candidate.path.node), result: results.get(candidate) };
    const known = calls.get(candidate.decoder);
    if (known === undefined) calls.set(candidate.decoder, [call]);
    else known.push(call);
  }
  const rejected = [...calls].filter(([, decoded]) => !isAcceptableDecoder(decoded));
  return new Set(rejected.map(([decoder]) => decoder));
}

function stringArguments(node: t.Node): string[] {
  if (node.type !== 'CallExpression') return [];
  return node.arguments.flatMap((argument) => (argument.type === 'StringLiteral' ? [argument.value] : []));
}

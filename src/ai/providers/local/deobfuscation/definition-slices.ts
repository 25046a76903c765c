/**
 * The part of a program that a variable's value depends on: its definition, the definitions that this one
 * reads, and the statements that prepare them (a string table that is rotated before use). A slice exists
 * only when that part is closed, so that running it alone gives the value that the program would see.
 */
import type { Binding, NodePath } from '@babel/traverse';
import type * as t from '@babel/types';
import type { DependencyMap } from './closed-expressions.js';
import { memberName } from './closed-expressions.js';
import { wordSet } from './word-set.js';

export interface Slice {
  /** Program text in source order, ready to stand in front of an expression. */
  readonly text: string;
  readonly bindings: ReadonlySet<Binding>;
  /** The statements and declarators that make up the slice. */
  readonly units: ReadonlySet<NodePath>;
}

/** Only a bounded number of definitions can belong together; beyond that it is the program itself. */
const MAX_UNITS = 60;

const READING_METHODS: ReadonlySet<string> = wordSet(
  'at charAt charCodeAt codePointAt concat includes indexOf join lastIndexOf map slice split ' +
    'substr substring toString get has replace call apply forEach',
);

export class DefinitionSlices {
  readonly #dependencies: DependencyMap;
  readonly #source: string;
  readonly #byBinding = new Map<Binding, Slice | undefined>();

  constructor(dependencies: DependencyMap, source: string) {
    this.#dependencies = dependencies;
    this.#source = source;
  }

  of(binding: Binding): Slice | undefined {
    if (!this.#byBinding.has(binding)) this.#byBinding.set(binding, this.combined([binding]));
    return this.#byBinding.get(binding);
  }

  /** One slice for several variables together. */
  combined(bindings: Iterable<Binding>): Slice | undefined {
    const units = new Set<NodePath>();
    const members = new Set<Binding>();
    const pending = [...bindings];
    for (let binding = pending.pop(); binding !== undefined; binding = pending.pop()) {
      if (members.has(binding)) continue;
      members.add(binding);
      const found = this.#unitsOf(binding);
      if (found === undefined || units.size + found.length > MAX_UNITS) return undefined;
      for (const unit of found) {
        units.add(unit);
        const { reads, writes } = this.#dependencies.of(unit.node);
        pending.push(...reads, ...writes);
      }
    }
    if (namesClash(members)) return undefined;
    return { text: this.#textOf(units), bindings: members, units };
  }

  /**
   * The definition of a variable and the statements that prepare it; undefined where something is unknown.
   */
  #unitsOf(binding: Binding): NodePath[] | undefined {
    const definition = definitionOf(binding);
    if (definition === undefined || this.#dependencies.of(definition.node).open) return undefined;
    const units = [definition];
    const uses = [...binding.referencePaths, ...binding.constantViolations];
    for (const use of uses) {
      if (isInside(use, definition)) continue;
      const isWrite = binding.constantViolations.includes(use);
      if (!isWrite && onlyReads(use)) continue;
      const unit = this.#preparingUnit(use, definition);
      if (unit === undefined) return undefined;
      if (!units.includes(unit)) units.push(unit);
    }
    return units;
  }

  /** The closed statement or definition around a use that may change the variable. */
  #preparingUnit(use: NodePath, definition: NodePath): NodePath | undefined {
    const block = blockOf(definition);
    const statement = use.find((path) => path.parentPath !== null && path.parentPath.node === block);
    if (statement === null || statement === undefined) return undefined;
    if (statement.isFunctionDeclaration()) {
      return this.#dependencies.of(statement.node).open ? undefined : statement;
    }
    if (statement.isVariableDeclaration()) {
      const declarator = use.findParent(
        (path) => path.isVariableDeclarator() && path.parent === statement.node,
      );
      if (declarator === null || this.#dependencies.of(declarator.node).open) return undefined;
      return definitionShape(declarator) ? declarator : undefined;
    }
    const isPreparation =
      statement.isExpressionStatement() || statement.isLoop() || statement.isTryStatement();
    return isPreparation && !this.#dependencies.of(statement.node).open ? statement : undefined;
  }

  #textOf(units: ReadonlySet<NodePath>): string {
    const ordered = [...units].sort((a, b) => (a.node.start ?? 0) - (b.node.start ?? 0));
    return ordered
      .map((unit) => {
        const text = this.#source.slice(unit.node.start ?? 0, unit.node.end ?? 0);
        // Decoders test their own layout, so the original text is kept.
        return unit.isVariableDeclarator() ? `var ${text};` : `${text};`;
      })
      .join('\n');
  }
}

/**
 * A function declaration, or a declarator with a plain name, that stands directly in a block of statements.
 */
function definitionOf(binding: Binding): NodePath | undefined {
  if (binding.kind === 'param' || binding.kind === 'module') return undefined;
  const { path } = binding;
  if (path.isFunctionDeclaration())
    return path.parentPath.isProgram() || isFunctionBody(path.parentPath) ? path : undefined;
  return path.isVariableDeclarator() && definitionShape(path) ? path : undefined;
}

function definitionShape(declarator: NodePath): boolean {
  if (!declarator.isVariableDeclarator() || declarator.node.id.type !== 'Identifier') return false;
  const holder = declarator.parentPath.parentPath;
  return holder !== null && (holder.isProgram() || isFunctionBody(holder));
}

function isFunctionBody(path: NodePath | null): boolean {
  return path !== null && path.isBlockStatement() && path.parentPath.isFunction();
}

function blockOf(definition: NodePath): t.Node | undefined {
  return definition.isVariableDeclarator() ? definition.parentPath.parent : definition.parent;
}

export function isInside(path: NodePath, ancestor: NodePath): boolean {
  return path.node === ancestor.node || path.findParent((parent) => parent.node === ancestor.node) !== null;
}

/** Uses that cannot change what the variable refers to: a call, an alias, a member that is read. */
function onlyReads(use: NodePath): boolean {
  const { parent, node, parentPath } = use;
  if (parent.type === 'CallExpression' && parent.callee === node) return true;
  if (parent.type === 'VariableDeclarator' && parent.init === node) {
    return parent.id.type === 'Identifier' && use.scope.getBinding(parent.id.name)?.constant === true;
  }
  if (parent.type === 'BinaryExpression' || parent.type === 'UnaryExpression')
    return parent.type === 'BinaryExpression' || parent.operator !== 'delete';
  if (parent.type !== 'MemberExpression' || parent.object !== node || parentPath === null) return false;
  return memberIsOnlyRead(parentPath as NodePath<t.MemberExpression>);
}

function memberIsOnlyRead(member: NodePath<t.MemberExpression>): boolean {
  const { parent, node } = member;
  if (parent.type === 'AssignmentExpression' && parent.left === node) return false;
  if (parent.type === 'UpdateExpression') return false;
  if (parent.type === 'UnaryExpression' && parent.operator === 'delete') return false;
  if ((parent.type === 'ForInStatement' || parent.type === 'ForOfStatement') && parent.left === node)
    return false;
  if (parent.type !== 'CallExpression' || parent.callee !== node) return true;
  const name = memberName(node);
  return name === undefined ? node.computed : READING_METHODS.has(name) || ownsFunction(member, name);
}

/** `tools.decode('...')`: a call of a function that stands in the object's own literal. */
function ownsFunction(member: NodePath<t.MemberExpression>, name: string): boolean {
  const { object } = member.node;
  if (object.type !== 'Identifier') return false;
  const definition = member.scope.getBinding(object.name)?.path.node;
  if (definition?.type !== 'VariableDeclarator' || definition.init?.type !== 'ObjectExpression') return false;
  return definition.init.properties.some(
    (property) =>
      property.type !== 'SpreadElement' &&
      ((property.key.type === 'Identifier' && property.key.name === name) ||
        (property.key.type === 'StringLiteral' && property.key.value === name)),
  );
}

function namesClash(bindings: ReadonlySet<Binding>): boolean {
  const names = [...bindings].map((binding) => binding.identifier.name);
  return new Set(names).size !== names.length;
}

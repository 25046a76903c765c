import { constantText, definition } from './constants.js';
import { written, type NameResolver } from './names.js';
import { isStrictPattern } from './sanitisers.js';
import {
  child,
  children,
  isCall,
  isFunction,
  isMember,
  keyName,
  unwrap,
  type NodePath,
  type t,
} from './syntax.js';
import { DANGERS, type Danger } from './trace.js';

/** What a test proves about an expression, named as it is written. */
interface Fact {
  readonly subject: string;
  readonly harmless: readonly Danger[];
}

/** Names of functions that are asked whether a value is good. */
const TRUSTING_NAME = new RegExp(
  '^(?:is|has|assert|ensure|check|validate|verify)\\w*?' +
    '(?:safe|allow|valid|trust|white|permit|known|int|uuid|alpha|numeric|local|member|origin)\\w*$',
  'i',
);
const MAX_CLIMB = 60;
const MAX_SIBLINGS = 60;
const URL_PART = /\.(?:hostname|host|origin|protocol|href)$/;

function argumentKeys(path: NodePath): string[] {
  // What a variable was made of is as proven as the variable: `const u = new URL(x)`, then a test of `u.host`.
  const made = definition(path);
  return isCall(made) ? children(made, 'arguments').map((each) => written(each)) : [];
}

function factsAbout(path: NodePath | undefined, harmless: readonly Danger[]): Fact[] {
  if (!path) {
    return [];
  }
  const subject = written(path);
  if (subject.includes('?') && !subject.includes('.')) {
    return [];
  }
  const root = URL_PART.test(subject) && isMember(unwrap(path)) ? child(unwrap(path), 'object') : undefined;
  const related = root ? [written(root), ...argumentKeys(root)] : argumentKeys(path);
  return [subject, ...related].map((each) => ({ subject: each, harmless }));
}

function always(path: NodePath | undefined): Fact[] {
  return factsAbout(path, DANGERS);
}

/** True for a statement after which the block goes no further. */
function leaves(node: t.Node | null | undefined): boolean {
  switch (node?.type) {
    case 'ReturnStatement':
    case 'ThrowStatement':
    case 'ContinueStatement':
    case 'BreakStatement':
      return true;
    case 'BlockStatement':
      return leaves(node.body.at(-1));
    case 'IfStatement':
      return leaves(node.consequent) && leaves(node.alternate);
    case 'ExpressionStatement': {
      const call = node.expression;
      return call.type === 'CallExpression' && call.callee.type === 'MemberExpression'
        ? keyName(call.callee.property) === 'exit'
        : false;
    }
    default:
      return false;
  }
}

/** True for a statement that leaves the block under a condition, or calls a check that throws. */
function mayProve(node: t.Node | undefined): boolean {
  if (node?.type === 'IfStatement') {
    return leaves(node.consequent);
  }
  if (node?.type !== 'ExpressionStatement') {
    return false;
  }
  const { expression } = node;
  const call = expression.type === 'AwaitExpression' ? expression.argument : expression;
  if (call.type !== 'CallExpression') {
    return false;
  }
  const name = call.callee.type === 'MemberExpression' ? call.callee.property : call.callee;
  return TRUSTING_NAME.test(keyName(name) ?? '');
}

/** Finds what the surrounding tests prove about a value at the place where it is used. */
export class Guards {
  readonly #names: NameResolver;
  /** What each statement proves for those behind it. */
  readonly #statements = new Map<t.Node, readonly Fact[]>();

  constructor(names: NameResolver) {
    this.#names = names;
  }

  /** What the value cannot harm here. */
  at(path: NodePath): readonly Danger[] {
    const subject = written(path);
    const harmless = new Set<Danger>();
    let current: NodePath = path;
    for (
      let climbed = 0;
      climbed < MAX_CLIMB && current.parentPath && harmless.size < DANGERS.length;
      climbed += 1
    ) {
      const parent: NodePath = current.parentPath;
      for (const fact of this.#proven(parent, current)) {
        if (fact.subject === subject || subject.startsWith(`${fact.subject}.`)) {
          fact.harmless.forEach((danger) => harmless.add(danger));
        }
      }
      if (current.node.type === 'Program') {
        break;
      }
      current = parent;
    }
    return [...harmless];
  }

  #proven(parent: NodePath, current: NodePath): readonly Fact[] {
    const { node } = parent;
    switch (node.type) {
      case 'IfStatement':
      case 'ConditionalExpression':
        if (node.consequent === current.node) {
          return this.#whether(child(parent, 'test'), true);
        }
        return node.alternate === current.node ? this.#whether(child(parent, 'test'), false) : [];
      case 'LogicalExpression':
        if (node.right !== current.node || node.operator === '??') {
          return [];
        }
        return this.#whether(child(parent, 'left'), node.operator === '&&');
      case 'SwitchCase':
        return node.test && node.test !== current.node && parent.parentPath
          ? always(child(parent.parentPath, 'discriminant'))
          : [];
      case 'BlockStatement':
      case 'Program':
        return this.#before(current);
      default:
        return [];
    }
  }

  /** What earlier statements of the block prove by not having left it. */
  #before(current: NodePath): readonly Fact[] {
    const { container, key } = current;
    if (!Array.isArray(container) || typeof key !== 'number') {
      return [];
    }
    const facts: Fact[] = [];
    for (let index = Math.max(0, key - MAX_SIBLINGS); index < key; index += 1) {
      if (mayProve(container[index])) {
        facts.push(...this.#ofStatement(current.getSibling(index)));
      }
    }
    return facts;
  }

  #ofStatement(statement: NodePath): readonly Fact[] {
    const known = this.#statements.get(statement.node);
    if (known) {
      return known;
    }
    const expression = child(statement, 'expression');
    const call = expression?.node.type === 'AwaitExpression' ? child(expression, 'argument') : expression;
    const facts = call
      ? children(call, 'arguments').flatMap(always)
      : this.#whether(child(statement, 'test'), false);
    this.#statements.set(statement.node, facts);
    return facts;
  }

  #whether(test: NodePath | undefined, truth: boolean): readonly Fact[] {
    return test && !isFunction(test) ? this.#factsOf(unwrap(test), truth) : [];
  }

  #factsOf(test: NodePath, truth: boolean): readonly Fact[] {
    const { node } = test;
    if (node.type === 'UnaryExpression' && node.operator === '!') {
      return this.#whether(child(test, 'argument'), !truth);
    }
    if (node.type === 'LogicalExpression') {
      // `a && b` being true proves both, and so does `a || b` being false.
      return (node.operator === '&&') === truth && node.operator !== '??'
        ? [...this.#whether(child(test, 'left'), truth), ...this.#whether(child(test, 'right'), truth)]
        : [];
    }
    if (node.type === 'BinaryExpression') {
      return this.#comparison(test, node, truth);
    }
    if (isCall(test)) {
      return this.#call(test, truth);
    }
    // `TABLE[key]` being there.
    return truth && isMember(test) && 'computed' in node && node.computed
      ? always(child(test, 'property'))
      : [];
  }

  #comparison(test: NodePath, node: t.BinaryExpression, truth: boolean): readonly Fact[] {
    const left = child(test, 'left');
    const right = child(test, 'right');
    if (!left || !right) {
      return [];
    }
    if (node.operator === 'in') {
      return truth ? always(left) : [];
    }
    const equal = node.operator.startsWith('==');
    if (isCall(unwrap(left)) && this.#names.method(unwrap(left)) === 'indexOf') {
      const found =
        node.operator === '>=' || node.operator === '>' || node.operator === '!==' || node.operator === '!=';
      return found === truth ? always(children(unwrap(left), 'arguments')[0]) : [];
    }
    if (equal !== truth || !/^[!=]==?$/.test(node.operator)) {
      return [];
    }
    if (left.node.type === 'UnaryExpression' && left.node.operator === 'typeof') {
      const type = constantText(right);
      const harmless: readonly Danger[] =
        type === 'string' ? ['nosql', 'object'] : type === 'number' ? DANGERS : [];
      return factsAbout(child(left, 'argument'), harmless);
    }
    const text = constantText(right);
    if (text !== undefined || /^[A-Z][A-Z\d_]*(?:\.\w+)?$/.test(written(right))) {
      const isOrigin = left.node.type === 'MemberExpression' && keyName(left.node.property) === 'origin';
      return [...always(left), ...(isOrigin ? always(child(left, 'object')) : [])];
    }
    return [];
  }

  #call(call: NodePath, truth: boolean): readonly Fact[] {
    const method = this.#names.method(call);
    const receiver = this.#names.receiver(call);
    const args = children(call, 'arguments');
    if (/^(?:includes|has|hasOwnProperty|hasOwn|contains)$/.test(method)) {
      const subject = args.at(-1);
      const isParent = /^\.\.|^[/\\]$/.test(constantText(subject) ?? '');
      if (isParent) {
        return truth ? [] : factsAbout(receiver, ['path', 'redirect']);
      }
      return truth ? always(subject) : [];
    }
    if (method === 'test' && receiver) {
      return this.#pattern(receiver, args[0], truth);
    }
    if (method === 'match' && args[0]) {
      return this.#pattern(args[0], receiver, truth);
    }
    if (method === 'startsWith' && truth) {
      const prefix = constantText(args[0]);
      const isHost = prefix === undefined || /^https?:\/\/[^/]+\/|^\/[^/]/.test(prefix);
      return factsAbout(receiver, isHost ? ['path', 'request', 'redirect'] : ['path']);
    }
    return truth && TRUSTING_NAME.test(method) ? args.flatMap(always) : [];
  }

  #pattern(pattern: NodePath, subject: NodePath | undefined, truth: boolean): readonly Fact[] {
    const { node } = definition(pattern);
    if (node.type !== 'RegExpLiteral') {
      return [];
    }
    if (truth) {
      const isHost =
        /^\^https\?:\\\/\\\/\(?[\w\\.-]+/.test(node.pattern) || /^\^\\\/(?:\(\?!|\[\^)/.test(node.pattern);
      return isStrictPattern(node.pattern)
        ? always(subject)
        : factsAbout(subject, isHost ? ['request', 'redirect'] : []);
    }
    // Refused when it contains something outside a small set of characters, or a parent folder.
    if (node.pattern.startsWith('[^')) {
      return always(subject);
    }
    return /\\\.\\\.|\\\//.test(node.pattern) ? factsAbout(subject, ['path']) : [];
  }
}

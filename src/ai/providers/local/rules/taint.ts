import { definition, HOLE, pieces, skeleton } from './constants.js';
import { Guards } from './guards.js';
import { patternPath, written, type Name, type NameResolver } from './names.js';
import { anyName } from './name-pattern.js';
import type { ProgramIndex } from './program-index.js';
import { harmlessAfter, harmlessAfterReplace } from './sanitisers.js';
import { isFormValue, parameterOf, typeName, type Parameter, type Sources } from './sources.js';
import {
  child,
  children,
  isCall,
  isFunction,
  isMember,
  keyName,
  propertyName,
  unwrap,
  type Binding,
  type FunctionNode,
  type NodePath,
  type t,
} from './syntax.js';
import { asUrlParts, CLEAN, composed, join, safeFor, trace, type Taint } from './trace.js';

const MAX_DEPTH = 80;
const MAX_REFERENCES = 200;
const MAX_RETURNS = 20;

/** Functions whose result holds their arguments. */
const CARRIERS = anyName(`
  String Object Array Buffer URL URLSearchParams Map Set Request Blob TextDecoder structuredClone
  decodeURI decodeURIComponent escape unescape atob btoa JSON.{parse,stringify} Buffer.{from,concat}
  Object.{assign,values,entries,fromEntries,keys,freeze,create} Array.{from,of} String.{raw,prototype.*}
  Promise.{resolve,all,allSettled,race,any} path.{*.,}{join,resolve,normalize,format,parse,dirname,relative}
  url.{parse,resolve,format,URL,fileURLToPath} querystring.{parse,stringify,unescape} qs.{parse,stringify}
  util.{format,inspect} lodash.* sprintf sprintf-js.* format cookie.parse $.{trim,extend,parseJSON,parseHTML}
  flatted.parse json5.parse he.decode entities.decode* marked{,.*} markdown-it().render
`);
/** Methods whose result holds their receiver. */
const KEEPERS = anyName(`
  toString valueOf toJSON trim trim{Start,End,Left,Right} slice substring substr split concat replace replaceAll
  to{Lower,Upper}Case to{Locale}{Lower,Upper}Case padStart padEnd repeat charAt at normalize join
  map flatMap filter reverse sort pop shift flat find reduce splice toArray match matchAll exec
  get getAll values entries keys value val next then catch finally decode read text json formData buffer href
`);
const ADDERS = anyName('push unshift splice append add set fill concat');
const BUILDERS =
  /^(?:format|build|make|parse|decode|concat|compose|prepare|interpolate|wrap|normali[sz]e|to[A-Z]|create[A-Z])/;
const ARRAY_CALLBACK = anyName(`
  map forEach filter find findIndex findLast some every flatMap each sort reduce reduceRight then finally tap
`);
const NETWORK_ANSWER =
  /(?:^fetch\(\)|^axios(?:\.\w+)?\(\)|^got(?:\.\w+)?\(\)|^\$\.(?:get|getJSON|ajax)\(\)|\.responseText$)/;
const PRIVATE_FILE =
  /\.ssh\b|id_rsa|\.aws\/credentials|\.npmrc|\.git-credentials|\.netrc|\/etc\/(?:passwd|shadow)|wallet\.dat/;
const URL_PART = /^(?:searchParams|query)$/;
const COUNT = /^(?:length|size|byteLength|byteOffset|index|lastIndex)$/;
const NUMERIC_TYPE = /^(?:number|boolean|bigint|Date|literal|Buffer|Uint8Array|ObjectId)$/;
const ESCAPING_TAG =
  /^(?:sql|html|svg|css|gql|graphql|Prisma\.sql|\$|styled)|\.(?:sql|raw|unsafe|\$queryRaw|\$executeRaw)$/;

/** Evaluates which outside values an expression may hold. */
export class TaintTracker {
  readonly #names: NameResolver;
  readonly #sources: Sources;
  readonly #guards: Guards;
  readonly #index: ProgramIndex;
  readonly #known = new Map<t.Node, Taint>();
  readonly #variables = new Map<Binding, Map<string, Taint>>();
  readonly #onStep: () => void;
  #depth = 0;

  constructor(names: NameResolver, sources: Sources, index: ProgramIndex, onStep: () => void) {
    this.#names = names;
    this.#sources = sources;
    this.#guards = new Guards(names);
    this.#index = index;
    this.#onStep = onStep;
  }

  of(path: NodePath | undefined): Taint {
    if (!path || this.#depth > MAX_DEPTH) {
      return CLEAN;
    }
    const { node } = path;
    const known = this.#known.get(node);
    if (known) {
      return known;
    }
    this.#onStep();
    // Remembered as clean before it is known, so that recursion ends.
    this.#known.set(node, CLEAN);
    this.#depth += 1;
    try {
      const taint = this.#evaluate(unwrap(path));
      this.#known.set(node, taint);
      return taint;
    } finally {
      this.#depth -= 1;
    }
  }

  #evaluate(path: NodePath): Taint {
    const { node } = path;
    switch (node.type) {
      case 'Identifier':
        return safeFor(this.#identifier(path, node), this.#guards.at(path));
      case 'MemberExpression':
      case 'OptionalMemberExpression':
        return safeFor(this.#memberPart(path), this.#guards.at(path));
      case 'CallExpression':
      case 'OptionalCallExpression':
      case 'NewExpression':
        return this.#call(path);
      case 'TemplateLiteral':
        return this.#composition(path);
      case 'BinaryExpression':
        return node.operator === '+' ? this.#composition(path) : CLEAN;
      case 'LogicalExpression':
        return node.operator === '&&'
          ? this.of(child(path, 'right'))
          : join(this.of(child(path, 'left')), this.of(child(path, 'right')));
      case 'ConditionalExpression':
        return join(this.of(child(path, 'consequent')), this.of(child(path, 'alternate')));
      case 'AssignmentExpression':
        return this.of(child(path, 'right'));
      case 'SequenceExpression':
        return this.of(children(path, 'expressions').at(-1));
      case 'AwaitExpression':
      case 'YieldExpression':
      case 'SpreadElement':
        return this.of(child(path, 'argument'));
      case 'TaggedTemplateExpression':
        return this.#taggedTemplate(path);
      case 'ObjectExpression':
        return join(
          ...children(path, 'properties')
            .slice(0, MAX_REFERENCES)
            .map((each) => this.#propertyValue(each)),
        );
      case 'ArrayExpression':
        return join(
          ...children(path, 'elements')
            .slice(0, MAX_REFERENCES)
            .map((each) => this.of(each)),
        );
      default:
        return CLEAN;
    }
  }

  #propertyValue(property: NodePath): Taint {
    return property.node.type === 'SpreadElement' ? this.of(property) : this.of(child(property, 'value'));
  }

  #taggedTemplate(path: NodePath): Taint {
    const tag = child(path, 'tag');
    return tag && ESCAPING_TAG.test(written(tag)) ? CLEAN : this.of(child(path, 'quasi'));
  }

  /** A text made of pieces; behind a fixed host or path, a piece cannot change where a request goes. */
  #composition(path: NodePath): Taint {
    let before = '';
    const taints: Taint[] = [];
    for (const piece of pieces(path) ?? []) {
      const taint = piece.node.type === 'TemplateElement' ? CLEAN : this.of(piece);
      if (taint.length > 0) {
        taints.push(safeFor(taint, fixesTarget(before) ? ['request', 'redirect'] : []));
        before += HOLE.repeat(2);
      } else {
        before += skeleton(piece) || '';
      }
    }
    return composed(join(...taints));
  }

  #identifier(path: NodePath, node: t.Identifier): Taint {
    const name = this.#names.nameOf(path);
    const source = name && this.#sources.ofName(path, name);
    if (source) {
      return source;
    }
    const binding = path.scope.getBinding(node.name);
    return binding ? this.#variable(binding, []) : CLEAN;
  }

  #memberPart(path: NodePath): Taint {
    const taint = this.#member(path);
    return URL_PART.test(propertyName(path) ?? '') ? asUrlParts(taint) : taint;
  }

  #member(path: NodePath): Taint {
    const name = this.#names.nameOf(path);
    const source = name && this.#sources.ofName(path, name);
    if (source) {
      return source;
    }
    const property = propertyName(path);
    if (property !== undefined && COUNT.test(property)) {
      return CLEAN;
    }
    const special = this.#eventPart(path, name, property);
    if (special) {
      return special;
    }
    const object = child(path, 'object');
    const base = object && unwrap(object);
    if (!base) {
      return CLEAN;
    }
    if (base.node.type === 'ThisExpression' && property !== undefined) {
      return this.#field(property);
    }
    if (base.node.type === 'Identifier') {
      const binding = base.scope.getBinding(base.node.name);
      return binding && this.#names.nameOf(base)?.root !== 'module'
        ? join(this.#variable(binding, property === undefined ? [] : [property]), this.#sourceOf(base))
        : CLEAN;
    }
    return this.of(base);
  }

  #sourceOf(path: NodePath): Taint {
    const name = this.#names.nameOf(path);
    return (name && this.#sources.ofName(path, name)) ?? CLEAN;
  }

  /** `event.data`, `entry.path`, `input.value`: what makes them sources is where their object comes from. */
  #eventPart(path: NodePath, name: Name | undefined, property: string | undefined): Taint | undefined {
    const { binding, segments = [] } = name ?? {};
    if (binding && segments[1] === 'data' && this.#sources.isMessageEvent(binding)) {
      return [trace('message', written(path))];
    }
    if (
      binding &&
      /^(?:path|fileName|filename|name)$/.test(property ?? '') &&
      this.#sources.isArchiveEntry(binding)
    ) {
      return [trace('archive', written(path))];
    }
    if (isFormValue(path, name)) {
      return [trace('input', written(path))];
    }
    return /^(?:fetch\(\)\.|.*\.responseText$)/.test(segments.join('.')) && property === 'responseText'
      ? [trace('response', written(path))]
      : undefined;
  }

  #field(property: string): Taint {
    // What a constructor is given is its caller's business; only what certainly comes from outside is followed.
    const values = (this.#index.fields.get(property) ?? []).map((each) => this.of(each));
    return join(...values).filter((each) => each.level === 'remote' || each.level === 'local');
  }

  #variable(binding: Binding, props: readonly string[]): Taint {
    const key = props.join('.');
    const known = this.#variables.get(binding) ?? new Map<string, Taint>();
    this.#variables.set(binding, known);
    const found = known.get(key);
    if (found) {
      return found;
    }
    known.set(key, CLEAN);
    const taint =
      binding.kind === 'param' && isFunction(binding.scope.path)
        ? join(this.#parameter(binding), this.#assigned(binding, props))
        : join(this.#declared(binding, props), this.#assigned(binding, props));
    known.set(key, taint);
    return taint;
  }

  #declared(binding: Binding, props: readonly string[]): Taint {
    const declarator = binding.path;
    if (declarator.node.type !== 'VariableDeclarator') {
      return CLEAN;
    }
    const pattern = patternPath(declarator.node.id, binding.identifier) ?? [];
    const init = child(declarator, 'init');
    if (init) {
      return this.#taken(init, [...pattern, ...props]);
    }
    const loop = declarator.parentPath?.parentPath;
    return loop && /^For(?:Of|In)Statement$/.test(loop.type) ? this.#iterated(loop) : CLEAN;
  }

  #iterated(loop: NodePath): Taint {
    const taint = this.of(child(loop, 'right'));
    // Keys of an object of unknown origin are most often the program's own.
    return loop.type === 'ForInStatement' ? taint.filter((each) => each.level === 'remote') : taint;
  }

  /** What is in the given property of a value; of an object literal only that property. */
  #taken(path: NodePath, props: readonly string[]): Taint {
    const value = unwrap(path);
    const [first, ...rest] = props;
    if (first === undefined) {
      return this.of(value);
    }
    if (COUNT.test(first)) {
      return CLEAN;
    }
    if (value.node.type === 'ObjectExpression') {
      const properties = children(value, 'properties');
      const exact = properties.find((each) => propertyName(each) === first);
      const inner = exact && child(exact, 'value');
      const spread = properties
        .filter((each) => each.node.type === 'SpreadElement')
        .map((each) => this.of(each));
      return inner ? this.#taken(inner, rest) : join(...spread);
    }
    const name = this.#names.nameOf(value);
    const source = name && this.#sources.ofName(value, { ...name, segments: [...name.segments, ...props] });
    if (source) {
      return source;
    }
    if (value.node.type === 'ThisExpression') {
      return this.#field(first);
    }
    return URL_PART.test(first) ? asUrlParts(this.of(value)) : this.of(value);
  }

  #assigned(binding: Binding, props: readonly string[]): Taint {
    const taints: Taint[] = [];
    for (const violation of binding.constantViolations.slice(0, MAX_REFERENCES)) {
      if (violation.node.type === 'AssignmentExpression') {
        const right = child(violation, 'right');
        const pattern = patternPath(violation.node.left, binding.identifier) ?? [];
        const taint = right ? this.#taken(right, [...pattern, ...props]) : CLEAN;
        taints.push(violation.node.operator === '+=' ? composed(taint) : taint);
      } else if (violation.node.type === 'VariableDeclarator') {
        const init = child(violation, 'init');
        const pattern = patternPath(violation.node.id, binding.identifier) ?? [];
        taints.push(init ? this.#taken(init, [...pattern, ...props]) : CLEAN);
      } else if (/^For(?:Of|In)Statement$/.test(violation.type)) {
        taints.push(this.#iterated(violation));
      }
    }
    for (const reference of binding.referencePaths.slice(0, MAX_REFERENCES)) {
      taints.push(this.#mutation(reference, props));
    }
    return join(...taints);
  }

  /** `list.push(x)`, `object.name = x`, `Object.assign(object, x)`. */
  #mutation(reference: NodePath, props: readonly string[]): Taint {
    const member = reference.parentPath;
    const outer = member?.parentPath;
    if (!member || !outer) {
      return CLEAN;
    }
    if (isCall(member) && reference.listKey === 'arguments') {
      const isAssign = /^(?:Object\.assign|lodash\.(?:extend|assign))$/.test(this.#names.callee(member));
      return isAssign && reference.key === 0 ? join(...this.#arguments(member).slice(1)) : CLEAN;
    }
    if (!isMember(member) || reference.key !== 'object') {
      return CLEAN;
    }
    const property = propertyName(member);
    if (outer.node.type === 'AssignmentExpression' && member.key === 'left') {
      const isOther = props[0] !== undefined && property !== undefined && property !== props[0];
      return isOther ? CLEAN : this.of(child(outer, 'right'));
    }
    return isCall(outer) && member.key === 'callee' && ADDERS.test(property ?? '') && !isUrlObject(reference)
      ? join(...this.#arguments(outer))
      : CLEAN;
  }

  #arguments(call: NodePath): Taint[] {
    return children(call, 'arguments').map((each) => this.of(each));
  }

  #parameter(binding: Binding): Taint {
    const source = this.#sources.ofParameter(binding);
    const found = parameterOf(binding);
    if (source || !found) {
      return source ?? CLEAN;
    }
    if (NUMERIC_TYPE.test(typeName(found.pattern.node) ?? '')) {
      return CLEAN;
    }
    const callback = this.#callback(found);
    if (callback) {
      return callback;
    }
    const { calls, isClosed } = this.#callers(found);
    const given = calls.map((call) => {
      const args = children(call, 'arguments');
      const spread = args.findIndex((each) => each.node.type === 'SpreadElement');
      const argument = args[spread >= 0 && spread < found.index ? spread : found.index];
      return argument ? this.#taken(argument, found.props) : CLEAN;
    });
    const isOpen = !isClosed && !hasSimpleDefault(found.pattern.node);
    return join(...given, isOpen ? [trace('parameter', `parameter ${binding.identifier.name}`)] : CLEAN);
  }

  /** Parameters of inline functions: what the caller's list or promise holds; undefined for other functions. */
  #callback({ fn, index }: Parameter): Taint | undefined {
    const call = fn.parentPath;
    if (!call || !isCall(call) || fn.listKey !== 'arguments') {
      return undefined;
    }
    const method = this.#names.method(call);
    const isElement = index === (method.startsWith('reduce') ? 1 : 0) || method === 'sort';
    return ARRAY_CALLBACK.test(method) && isElement ? this.of(this.#names.receiver(call)) : CLEAN;
  }

  /** Calls of a function in this file, and whether there can be no others. */
  #callers({ fn }: Parameter): { calls: NodePath[]; isClosed: boolean } {
    const binding = functionBinding(fn);
    if (!binding) {
      const name = propertyName(fn.parentPath?.isObjectProperty() ? fn.parentPath : fn);
      const calls =
        name === undefined || name === 'constructor' ? [] : (this.#index.methodCalls.get(name) ?? []);
      const isPrivate =
        fn.type === 'ClassPrivateMethod' ||
        ('accessibility' in fn.node && fn.node.accessibility === 'private');
      return { calls: calls.slice(0, MAX_RETURNS), isClosed: isPrivate && calls.length > 0 };
    }
    const calls: NodePath[] = [];
    let isClosed = true;
    for (const reference of binding.referencePaths.slice(0, MAX_REFERENCES)) {
      const parent = reference.parentPath;
      if (parent && isCall(parent) && reference.key === 'callee') {
        calls.push(parent);
      } else if (!(parent && isCall(parent) && ARRAY_CALLBACK.test(this.#names.method(parent)))) {
        isClosed = false;
      }
    }
    const isExported = [binding.path.parent, binding.path.parentPath?.parent].some((each) =>
      each?.type.startsWith('Export'),
    );
    return { calls: calls.slice(0, MAX_REFERENCES), isClosed: isClosed && calls.length > 0 && !isExported };
  }

  #call(path: NodePath): Taint {
    const name = this.#names.nameOf(path);
    const source = name && this.#sources.ofName(path, name);
    if (source) {
      return source;
    }
    const callee = this.#names.callee(path);
    const method = this.#names.method(path);
    const harmless = harmlessAfter(callee, method);
    if (harmless === 'everything') {
      return CLEAN;
    }
    if (isFormValue(path, name)) {
      return [trace('input', written(path))];
    }
    const [file] = children(path, 'arguments');
    if (file && /^fs\.(?:promises\.)?readFile(?:Sync)?$/.test(callee) && PRIVATE_FILE.test(fileText(file))) {
      return [trace('environment', 'a file with credentials', [], path.node.loc?.start.line)];
    }
    if (NETWORK_ANSWER.test(name?.segments.join('.') ?? '') && /^(?:json|text)$/.test(method)) {
      return [trace('response', written(path))];
    }
    return safeFor(this.#result(path, callee, method), harmless);
  }

  #result(path: NodePath, callee: string, method: string): Taint {
    const own = this.#ownFunction(path, method);
    if (own) {
      return this.#returned(own, path);
    }
    if (CARRIERS.test(callee)) {
      const taint = join(...this.#arguments(path));
      if (callee === 'Object.keys' || callee === 'JSON.stringify') {
        return taint.filter((each) => each.level !== 'dynamic');
      }
      // A remote value inside a JSON document is still text of the client's choice, but no longer an object.
      return taint;
    }
    const receiver = this.#names.receiver(path);
    if (receiver && path.type !== 'NewExpression') {
      return KEEPERS.test(method) ? this.#kept(path, receiver, method) : CLEAN;
    }
    const isOwnName =
      path.type !== 'NewExpression' && (BUILDERS.test(method) || harmlessAfter(callee, method).length > 0);
    return isOwnName ? join(...this.#arguments(path)).filter((each) => each.level !== 'dynamic') : CLEAN;
  }

  /** Result of a method of a text, list, map or promise. */
  #kept(path: NodePath, receiver: NodePath, method: string): Taint {
    const args = children(path, 'arguments');
    if (/^(?:map|flatMap|then)$/.test(method) && args[0]) {
      const fn = this.#functionOf(args[0]);
      return fn ? this.#returned(fn, path) : this.of(receiver);
    }
    if (method === 'filter' && args[0] && this.#isAllowList(args[0])) {
      return CLEAN;
    }
    const base = this.of(receiver);
    switch (method) {
      case 'replace':
      case 'replaceAll': {
        const inserted = args[1] && !isFunction(args[1]) ? this.of(args[1]) : CLEAN;
        return join(safeFor(base, harmlessAfterReplace(path)), composed(inserted));
      }
      case 'join':
        return composed(join(base, this.of(args[0])));
      case 'concat':
        return composed(join(base, ...this.#arguments(path)));
      case 'get':
      case 'getAll':
      case 'toString':
      case 'trim':
      case 'substring':
      case 'slice':
        return safeFor(base, method === 'slice' ? [] : ['nosql', 'object']);
      default:
        return base;
    }
  }

  #isAllowList(callback: NodePath): boolean {
    const fn = this.#functionOf(callback);
    const body = fn && child(fn, 'body');
    return Boolean(body && isCall(body) && /^(?:includes|has|test)$/.test(this.#names.method(body)));
  }

  #functionOf(path: NodePath): NodePath<FunctionNode> | undefined {
    const value = unwrap(path);
    if (isFunction(value)) {
      return value;
    }
    if (value.node.type !== 'Identifier') {
      return undefined;
    }
    const binding = value.scope.getBinding(value.node.name);
    const target = binding?.path;
    if (target && isFunction(target)) {
      return target;
    }
    const init =
      target?.node.type === 'VariableDeclarator' && binding?.constant ? child(target, 'init') : undefined;
    return init && isFunction(init) ? init : undefined;
  }

  /** The function of this file that a call runs. */
  #ownFunction(path: NodePath, method: string): NodePath<FunctionNode> | undefined {
    const callee = child(path, 'callee');
    const direct = callee && this.#functionOf(callee);
    if (direct || !callee || !isMember(unwrap(callee)) || KEEPERS.test(method)) {
      return direct;
    }
    const named = this.#index.methods.get(method) ?? [];
    return named.length === 1 ? named[0] : undefined;
  }

  #returned(fn: NodePath<FunctionNode>, call: NodePath): Taint {
    const body = child(fn, 'body');
    if (!body) {
      return CLEAN;
    }
    const results = body.node.type === 'BlockStatement' ? returnedValues(body) : [body];
    const taint = join(...results.map((each) => this.of(each)));
    // Of a function with many callers, parameters of unknown value count only if this call gives one.
    const isGiven = children(call, 'arguments').some((each) => this.of(each).length > 0);
    return isGiven ? taint : taint.filter((each) => each.channel !== 'parameter');
  }
}

/** True when what stands before a piece decides host and scheme; two holes stand for a value from outside. */
function fixesTarget(before: string): boolean {
  const isKnownBase = before.startsWith(HOLE) && !before.startsWith(HOLE.repeat(2));
  const [, host = ''] = /^\w+:\/\/([^/?#]+)/.exec(before) ?? [];
  const isHostFixed =
    host !== '' &&
    !host.includes(HOLE.repeat(2)) &&
    (host.endsWith(HOLE) || before.length > before.indexOf('//') + 2 + host.length);
  return isKnownBase || isHostFixed || /^\/[^/\\]/.test(before) || /^(?:\.{1,2}\/)?[\w-]+[/?#]/.test(before);
}

function isUrlObject(reference: NodePath): boolean {
  return (
    reference.parentPath?.node.type === 'MemberExpression' &&
    keyName(reference.parentPath.node.property) === 'searchParams'
  );
}

function hasSimpleDefault(node: t.Node): boolean {
  return (
    node.type === 'AssignmentPattern' &&
    (node.right.type === 'NumericLiteral' || node.right.type === 'BooleanLiteral')
  );
}

function functionBinding(fn: NodePath<FunctionNode>): Binding | undefined {
  if (fn.node.type === 'FunctionDeclaration') {
    return fn.node.id ? fn.parentPath?.scope.getBinding(fn.node.id.name) : undefined;
  }
  const { parent } = fn;
  return parent.type === 'VariableDeclarator' && parent.id.type === 'Identifier'
    ? fn.parentPath?.scope.getBinding(parent.id.name)
    : undefined;
}

/** What is known of a path, also of one joined from parts. */
function fileText(path: NodePath): string {
  const made = definition(path);
  const parts = isCall(made) ? children(made, 'arguments') : [made];
  return parts.map((part) => skeleton(part)).join('/');
}

/** Arguments of the `return` statements of a function, without those of functions inside it. */
function returnedValues(body: NodePath): NodePath[] {
  const found: NodePath[] = [];
  body.traverse({
    Function(inner) {
      inner.skip();
    },
    ReturnStatement(statement) {
      const argument = child(statement, 'argument');
      if (argument && found.length < MAX_RETURNS) {
        found.push(argument);
      }
    },
  });
  return found;
}

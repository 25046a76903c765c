import { patternPath, written, type Name, type NameResolver } from './names.js';
import {
  child,
  children,
  isCall,
  isFunction,
  keyName,
  unwrap,
  type Binding,
  type FunctionNode,
  type NodePath,
  type t,
} from './syntax.js';
import { functionName } from './surrounding-words.js';
import { CLEAN, trace, type Danger, type Taint } from './trace.js';

const REQUEST_NAME = /^_?(?:req|request|httpReq|httpRequest|expressReq|incoming)$/;
const CONTEXT_NAME = /^(?:ctx|context|c)$/;
const REQUEST_TYPE =
  /^(?:Request|IncomingMessage|FastifyRequest|NextApiRequest|NextRequest|VercelRequest|HttpRequest)$/;
const ROUTE_METHOD = /^(?:get|post|put|patch|delete|del|all|use|options|head|route|param|any)$/;
const NEST_SOURCE =
  /^(?:Body|Query|Param|Headers|Cookies|UploadedFile|UploadedFiles|RawBody|MessageBody|Payload|Args)$/;
const SOCKET = /socket|\bws\b|wss|\bio\b|conn|client|channel|peer/i;

/** Parts of a request that the client chooses, with what they cannot do because they are plain strings. */
const REQUEST_PARTS: Readonly<Record<string, readonly Danger[]>> = {
  query: [],
  body: [],
  rawBody: [],
  payload: [],
  files: [],
  file: [],
  fields: [],
  cookies: [],
  signedCookies: ['nosql', 'object'],
  params: ['nosql', 'object'],
  headers: ['nosql', 'object', 'header'],
  rawHeaders: ['nosql', 'object', 'header'],
  url: ['nosql', 'object', 'redirect', 'header', 'request'],
  originalUrl: ['nosql', 'object', 'redirect', 'header', 'request'],
  path: ['nosql', 'object', 'redirect', 'header', 'request'],
  hostname: ['nosql', 'object', 'redirect', 'header'],
  host: ['nosql', 'object', 'redirect', 'header'],
  querystring: ['nosql', 'object'],
  search: ['nosql', 'object'],
  searchParams: ['nosql', 'object'],
  nextUrl: ['nosql', 'object', 'redirect'],
  'param()': [],
  'get()': ['nosql', 'object', 'header'],
  'header()': ['nosql', 'object', 'header'],
  'query()': ['nosql', 'object'],
  'json()': [],
  'text()': ['nosql', 'object'],
  'formData()': ['nosql'],
  'parseBody()': ['nosql'],
  'input()': [],
  'all()': [],
  'only()': [],
  'qs()': [],
};
const CONTEXT_PARTS = new Set([
  'query',
  'params',
  'querystring',
  'url',
  'path',
  'headers',
  'hostname',
  'host',
  'originalUrl',
  'get()',
]);
const LAMBDA_PARTS =
  /^(?:queryStringParameters|multiValueQueryStringParameters|pathParameters|rawPath|rawQueryString|multiValueHeaders)$/;

const BROWSER_SOURCES: readonly (readonly [RegExp, readonly Danger[]])[] = [
  [/^(?:document\.)?location(?:$|\.(?:hash|search|href|toString\(\)))/, []],
  [/^(?:document\.)?location\.pathname/, ['redirect', 'request']],
  [/^document\.(?:URL|documentURI|baseURI|referrer)/, ['redirect']],
  [/^document\.cookie/, ['redirect', 'request', 'key']],
  [/^history\.state/, []],
  [/(?:^|\.)(?:useSearchParams|useParams|useRoute|useRouter)\(\)\.?(?:query|params|\*|get\(\)|$)/, []],
  [/^(?:this\.)?\$route\.(?:query|params)/, []],
];
const TERMINAL = /^(?:process\.argv|Deno\.args|Bun\.argv|(?:yargs|minimist|commander)\b)/;
const TERMINAL_ANSWER =
  /(?:readline|createInterface|inquirer|prompts|readline-sync).*\.(?:question|prompt|keyInYN)\(\)/;

/** Decides which names and parameters are values from outside. */
export class Sources {
  readonly #names: NameResolver;

  constructor(names: NameResolver) {
    this.#names = names;
  }

  /** Taint of an expression by its name alone; undefined where the name says nothing. */
  ofName(path: NodePath, name: Name): Taint | undefined {
    const text = name.segments.join('.');
    if (text.startsWith('process.env.')) {
      return CLEAN;
    }
    if (name.root === 'global' && /^(?:local|session)Storage$/.test(text)) {
      return [trace('environment', text, [], path.node.loc?.start.line)];
    }
    if (text === 'process.env' || /^os\.(?:userInfo|networkInterfaces)\(\)/.test(text)) {
      return [trace('environment', text, [], path.node.loc?.start.line)];
    }
    if (name.root === 'global' || name.root === 'module') {
      const found = this.#global(path, name, text);
      if (found) {
        return found;
      }
    }
    if (text.endsWith('.entryName')) {
      return [trace('archive', written(path))];
    }
    return this.#requestPart(path, name);
  }

  /** Taint of a destructured or plain parameter, whatever is passed to it; undefined where it is ordinary. */
  ofParameter(binding: Binding): Taint | undefined {
    const found = parameterOf(binding);
    if (!found) {
      return undefined;
    }
    const { fn, index, props } = found;
    const decorated = nestDecorator(found.pattern);
    if (decorated !== undefined) {
      return decorated;
    }
    if (props.length > 0 && this.#isRequest(fn, index, patternName(found.pattern), found.pattern)) {
      const [first = '', ...rest] = props;
      return this.#parts(['', first, ...rest], 1, `{ ${props.join('.')} } of the request`);
    }
    if (props.length > 0 && isContextPattern(found)) {
      const part = this.#contextPart(['', ...props], `{ ${props.join('.')} } of the request`);
      if (part) {
        return part;
      }
    }
    return this.#callback(fn, index, binding, props);
  }

  #global(path: NodePath, name: Name, text: string): Taint | undefined {
    const origin = written(path);
    if (text === 'name' && origin !== 'name') {
      return [trace('browser', origin)];
    }
    for (const [pattern, harmless] of name.root === 'global' || /\.use[A-Z]\w+\(\)/.test(text)
      ? BROWSER_SOURCES
      : []) {
      if (pattern.test(text)) {
        return [trace('browser', origin, harmless)];
      }
    }
    if (TERMINAL.test(text) || TERMINAL_ANSWER.test(text)) {
      return [trace('terminal', origin)];
    }
    if (/^(?:event|evt)\.data\b/.test(text)) {
      return [trace('message', origin)];
    }
    return undefined;
  }

  #requestPart(path: NodePath, name: Name): Taint | undefined {
    const { segments, binding } = name;
    const [first = '', second = ''] = segments;
    const origin = written(path).replace(/^\?$/, segments.join('.'));
    if (name.root === 'this') {
      return REQUEST_NAME.test(second) ? this.#parts(segments, 2, origin) : undefined;
    }
    if (segments.some((segment) => LAMBDA_PARTS.test(segment)) && /^(?:event|evt|e|_event)$/.test(first)) {
      return [trace('request', origin, ['nosql', 'object'])];
    }
    const parameter = name.root === 'parameter' && binding ? parameterOf(binding) : undefined;
    if (parameter && parameter.props.length === 0) {
      const { fn, index, pattern } = parameter;
      if (this.#isRequest(fn, index, first, pattern)) {
        return this.#parts(segments, 1, origin);
      }
      if (CONTEXT_NAME.test(first)) {
        return this.#contextPart(segments, origin);
      }
      return /^(?:event|evt)$/.test(first) && /^(?:body|headers)$/.test(second) && isHandler(fn)
        ? [trace('request', origin, ['nosql', 'object'])]
        : undefined;
    }
    const isGlobalRequest = name.root === 'global' && REQUEST_NAME.test(first);
    if (
      isGlobalRequest ||
      (parameter && REQUEST_NAME.test(parameter.props[0] ?? '') && isContextPattern(parameter))
    ) {
      return this.#parts(segments, 1, origin);
    }
    return name.root === 'global' && first === 'ctx' ? this.#contextPart(segments, origin) : undefined;
  }

  #contextPart(segments: readonly string[], origin: string): Taint | undefined {
    const [, second = ''] = segments;
    if (REQUEST_NAME.test(second)) {
      return this.#parts(segments, 2, origin);
    }
    if (second === 'cookies' && segments[2] === 'get()') {
      return [trace('request', origin, ['nosql', 'object'])];
    }
    return CONTEXT_PARTS.has(second) ? this.#parts(segments, 1, origin) : undefined;
  }

  #parts(segments: readonly string[], from: number, origin: string): Taint | undefined {
    const part = segments[from] ?? '';
    if (!Object.hasOwn(REQUEST_PARTS, part)) {
      return undefined;
    }
    const header = /^(?:referer|referrer)$/i.test(segments.at(-1) ?? '');
    const harmless = [...(REQUEST_PARTS[part] ?? [])];
    return [trace('request', origin, header ? [...harmless, 'redirect'] : harmless)];
  }

  #isRequest(fn: NodePath<FunctionNode>, index: number, name: string, pattern: NodePath): boolean {
    if (REQUEST_NAME.test(name) || hasType(pattern.node, REQUEST_TYPE)) {
      return true;
    }
    const call = fn.parentPath;
    if (!call || !isCall(call) || call.get('callee') === fn) {
      return isRouteProperty(fn) && index === 0;
    }
    const method = this.#names.method(call);
    const params = fn.node.params.length;
    const first = children(call, 'arguments')[0]?.node.type;
    const isRoute =
      ROUTE_METHOD.test(method) &&
      (first === 'StringLiteral' || first === 'TemplateLiteral' || method === 'use');
    return (
      (method === 'createServer' && index === 0) ||
      (isRoute && params >= 2 && params <= 4 && index === (params === 4 ? 1 : 0) && !CONTEXT_NAME.test(name))
    );
  }

  /** Parameters of listeners: messages, standard input, answers, archive entries. */
  #callback(
    fn: NodePath<FunctionNode>,
    index: number,
    binding: Binding,
    props: readonly string[],
  ): Taint | undefined {
    const name = binding.identifier.name;
    const assigned =
      fn.parent.type === 'AssignmentExpression' ? child(fn.parentPath as NodePath, 'left') : undefined;
    if (assigned && /(?:^|\.)onmessage$/.test(written(assigned)) && index === 0) {
      return props[0] === 'data' ? [trace('message', 'message data')] : undefined;
    }
    const call = fn.parentPath;
    if (!call || !isCall(call)) {
      return isResolver(fn) && index === 1 ? [trace('request', `resolver argument ${name}`)] : undefined;
    }
    const method = this.#names.method(call);
    const topic = keyName(children(call, 'arguments')[0]?.node) ?? '';
    const receiver = this.#names.receiverWords(call);
    if (/^(?:question|prompt)$/.test(method) && index === 0) {
      return [trace('terminal', name)];
    }
    if (!/^(?:on|once|handle|addListener|addEventListener)$/.test(method)) {
      return undefined;
    }
    return listener(receiver, topic, index, name, props);
  }

  /** True for the event object of a message listener, whose `data` anyone may have sent. */
  isMessageEvent(binding: Binding): boolean {
    const found = parameterOf(binding);
    const call = found?.fn.parentPath;
    if (!found || !call || found.index !== 0) {
      return false;
    }
    if (isCall(call)) {
      return (
        this.#names.method(call) === 'addEventListener' &&
        keyName(children(call, 'arguments')[0]?.node) === 'message'
      );
    }
    const left = call.node.type === 'AssignmentExpression' ? child(call, 'left') : undefined;
    return Boolean(left && /(?:^|\.)onmessage$/.test(written(left)));
  }

  /** True for the entry that an archive reader hands to its listener. */
  isArchiveEntry(binding: Binding): boolean {
    const found = parameterOf(binding);
    const call = found?.fn.parentPath;
    if (!found || !call || !isCall(call)) {
      return false;
    }
    return found.index === 0 && keyName(children(call, 'arguments')[0]?.node) === 'entry';
  }
}

function listener(
  receiver: string,
  topic: string,
  index: number,
  name: string,
  props: readonly string[],
): Taint | undefined {
  if (/process\.stdin|createInterface|\brl\b|readline/.test(receiver)) {
    return topic === 'data' || topic === 'line' ? [trace('terminal', name)] : undefined;
  }
  if (/ipcMain/.test(receiver)) {
    return index > 0 ? [trace('message', name)] : undefined;
  }
  if (/\breq(?:uest)?\b/.test(receiver) && topic === 'data') {
    return [trace('request', name)];
  }
  if (topic === 'message' && props[0] === 'data') {
    return [trace('message', 'message data')];
  }
  const isSocket = SOCKET.test(receiver) && !/process|worker|parentPort|redis|mqtt/i.test(receiver);
  const isPlain =
    /^(?:connect|connection|open|close|error|end|drain|finish|ready|listening|disconnect)$/.test(topic);
  return isSocket && !isPlain && index === 0 ? [trace('message', name)] : undefined;
}

export interface Parameter {
  readonly fn: NodePath<FunctionNode>;
  readonly index: number;
  readonly pattern: NodePath;
  readonly props: readonly string[];
}

/** Which parameter of which function a binding is. */
export function parameterOf(binding: Binding): Parameter | undefined {
  const fn = binding.scope.path;
  if (!isFunction(fn)) {
    return undefined;
  }
  const params = children(fn, 'params');
  for (const [index, pattern] of params.entries()) {
    const props = patternPath(pattern.node, binding.identifier);
    if (props) {
      return { fn, index, pattern, props };
    }
  }
  return undefined;
}

function patternName(pattern: NodePath): string {
  const { node } = pattern;
  const inner = node.type === 'AssignmentPattern' ? node.left : node;
  return inner.type === 'Identifier' ? inner.name : '';
}

function parameterNode(node: t.Node): t.Node {
  if (node.type === 'TSParameterProperty') {
    return parameterNode(node.parameter);
  }
  return node.type === 'AssignmentPattern' ? node.left : node;
}

/** Name of the type of a parameter: a keyword as `number`, a reference by its name. */
export function typeName(node: t.Node): string | undefined {
  const target = parameterNode(node);
  const annotation = 'typeAnnotation' in target ? target.typeAnnotation : undefined;
  if (!annotation || typeof annotation !== 'object' || annotation.type !== 'TSTypeAnnotation') {
    return undefined;
  }
  const inner = annotation.typeAnnotation;
  if (inner.type === 'TSTypeReference') {
    return inner.typeName.type === 'Identifier' ? inner.typeName.name : undefined;
  }
  const isChoice = inner.type === 'TSUnionType' && inner.types.every((each) => each.type === 'TSLiteralType');
  return isChoice || inner.type === 'TSLiteralType'
    ? 'literal'
    : inner.type.replace(/^TS|Keyword$/g, '').toLowerCase();
}

function hasType(node: t.Node, pattern: RegExp): boolean {
  return pattern.test(typeName(node) ?? '');
}

/** Undefined without a decorator that takes from the request; clean where a pipe or type makes it a number. */
function nestDecorator(pattern: NodePath): Taint | undefined {
  const target = pattern.node;
  const decorators = 'decorators' in target && Array.isArray(target.decorators) ? target.decorators : [];
  for (const decorator of decorators as t.Decorator[]) {
    const call = decorator.expression;
    const name = call.type === 'CallExpression' && call.callee.type === 'Identifier' ? call.callee.name : '';
    if (call.type === 'CallExpression' && NEST_SOURCE.test(name)) {
      const pipes = call.arguments.map((each) => (each.type === 'NewExpression' ? each.callee : each));
      const isParsed = pipes.some((each) => each.type === 'Identifier' && /^Parse|ObjectId/.test(each.name));
      const isValue = /^(?:number|boolean|bigint|Date|literal)$/.test(typeName(target) ?? '');
      const isText = typeName(target) === 'string' || name === 'Param' || name === 'Headers';
      return isParsed || isValue
        ? CLEAN
        : [trace('request', `@${name}()`, isText && name === 'Param' ? ['nosql', 'object'] : [])];
    }
  }
  return undefined;
}

/** `({ request, response, params }) => …`, and the entry points of page frameworks. */
function isContextPattern({ fn, pattern }: Parameter): boolean {
  const { node } = pattern;
  const properties = node.type === 'ObjectPattern' ? node.properties : [];
  const keys = properties.map((each) => (each.type === 'ObjectProperty' ? keyName(each.key) : undefined));
  const isEntry = /^(?:getServerSideProps|loader|action|GET|POST|PUT|PATCH|DELETE)$/.test(functionName(fn));
  return isEntry || keys.some((key) => key !== undefined && /^(?:request|req|response|ctx)$/.test(key));
}

/** `handler: (request, h) => …` of a route table. */
function isRouteProperty(fn: NodePath): boolean {
  const owner = fn.node.type === 'ObjectMethod' ? fn.node : fn.parent;
  return (
    (owner.type === 'ObjectProperty' || owner.type === 'ObjectMethod') && keyName(owner.key) === 'handler'
  );
}

/** `exports.handler = async (event) => …` of a cloud function. */
function isHandler(fn: NodePath): boolean {
  const { parent } = fn;
  if (parent.type === 'AssignmentExpression') {
    return parent.left.type === 'MemberExpression' && keyName(parent.left.property) === 'handler';
  }
  if (parent.type === 'VariableDeclarator') {
    return keyName(parent.id as t.Node) === 'handler';
  }
  return fn.node.type === 'FunctionDeclaration' && fn.node.id?.name === 'handler';
}

/** `(parent, args, context) => …` of a GraphQL resolver. */
function isResolver(fn: NodePath<FunctionNode>): boolean {
  const [first, second] = fn.node.params;
  const isProperty = fn.parent.type === 'ObjectProperty' || fn.node.type === 'ObjectMethod';
  return (
    isProperty &&
    first?.type === 'Identifier' &&
    /^(?:parent|_parent|_|root|_root|obj)$/.test(first.name) &&
    (second?.type === 'ObjectPattern' || (second?.type === 'Identifier' && /^args$/.test(second.name)))
  );
}

/** True for `<input>`-like reads: `document.getElementById(…).value`, `event.target.value`, `$('#x').val()`. */
export function isFormValue(path: NodePath, name: Name | undefined): boolean {
  const text = name?.segments.join('.') ?? '';
  return (
    /(?:getElementById|querySelector)\(\)\.value$|(?:^|\.)target\.value$|^\$\(\)\.val\(\)$/.test(text) ||
    /^\$\('?.*\)\.val\(\)$/.test(written(unwrap(path)))
  );
}

import { constantText, definition, skeleton } from '../constants.js';
import { written } from '../names.js';
import { confidenceIn, provenance, severityFor, type Rule, type RuleContext } from '../rule.js';
import {
  child,
  children,
  enclosingFunction,
  isCall,
  isFunction,
  keyName,
  objectProperty,
  propertyName,
  unwrap,
  type NodePath,
} from '../syntax.js';
import { threat, type Taint, type Trace } from '../trace.js';

const TAG = /<\/?[a-z!][^>]*>?/i;
const RESPONSE = /^(?:_?res|response|resp|reply|httpResponse|ctx\.res|h)\b/;
const NOT_MARKUP = new RegExp(
  [
    /content-type['"]?\s*[,:]\s*['"`](?:text\/(?:plain|csv|css)|application\/|image\/)/,
    /\.(?:type|contentType)\(\s*['"](?:te?xt|json|application\/|image|png|jpe?g|svg|csv|pdf|xml)(?!\/html)/,
  ]
    .map(({ source }) => source)
    .join('|'),
  'i',
);
const IS_MARKUP = /text\/html|\.type\(\s*['"]html/i;
/** Names that suggest that a person wrote the value. */
const WRITTEN_BY_PEOPLE = new RegExp(
  'user|input|comment|message|name|title|content|description|review|post|body|search|query|term|note|caption|' +
    'answer|feedback|param|value|data|\\b(?:msg|bio|text)\\b',
  'i',
);

function surroundings(context: RuleContext, path: NodePath): string {
  const { start, end } = enclosingFunction(path)?.node ?? {};
  return typeof start === 'number' && typeof end === 'number' ? context.source.slice(start, end) : '';
}

/** A value that ends up in a page on the server's side: only what a client sent counts. */
function reflected(taint: Taint): Trace | undefined {
  const found = threat(
    taint.filter((each) => each.channel === 'request' || each.channel === 'message'),
    'markup',
  );
  return found?.level === 'remote' ? found : undefined;
}

/** A value that becomes markup in the browser. */
function rendered(context: RuleContext, value: NodePath): Trace | undefined {
  const found = threat(context.taint.of(value), 'markup');
  if (!found || found.level !== 'dynamic') {
    return found;
  }
  const isMarkup = found.composed && TAG.test(skeleton(value));
  const isPlain = !found.composed && found.channel === 'parameter' && WRITTEN_BY_PEOPLE.test(written(value));
  return isMarkup || isPlain || found.channel === 'response' ? found : undefined;
}

function report(context: RuleContext, where: NodePath, found: Trace): void {
  context.report('crossSiteScripting', where, {
    severity: severityFor('medium', found),
    confidence: confidenceIn(found),
    detail: provenance(found),
  });
}

function checkAssignment(context: RuleContext, path: NodePath): void {
  const left = child(path, 'left');
  const right = child(path, 'right');
  if (left?.node.type !== 'MemberExpression' || !right) {
    return;
  }
  const property = propertyName(left);
  if (property === 'innerHTML' || property === 'outerHTML' || property === 'srcdoc') {
    const found = rendered(context, right);
    if (found) {
      report(context, left.node.loc ? left : path, found);
    }
  } else if (
    property === 'body' &&
    /^(?:ctx|context)(?:\.response)?$/.test(written(left).replace(/\.body$/, ''))
  ) {
    const found = reflected(context.taint.of(right));
    if (found?.composed && TAG.test(skeleton(right))) {
      report(context, path, found);
    }
  } else if (property !== undefined && /^(?:src|href|action|data|formAction)$/.test(property)) {
    const found = threat(context.taint.of(right), 'markup');
    const isFrame = property !== 'href' || !written(left).endsWith('location.href');
    if (
      found?.level === 'remote' &&
      found.channel !== 'request' &&
      !found.safeFor.has('redirect') &&
      isFrame
    ) {
      report(context, path, found);
    }
  }
}

/** Whole request parts are objects, and objects are sent as JSON. */
function isObjectBody(path: NodePath): boolean {
  const value = definition(path);
  return (
    value.node.type === 'ObjectExpression' ||
    /\.(?:body|query|params|headers|cookies|files)$/.test(written(value))
  );
}

function checkResponse(context: RuleContext, call: NodePath): void {
  const method = context.names.method(call);
  const receiver = context.names.receiver(call);
  const isHtmlMethod = method === 'html';
  if (!receiver || !/^(?:send|end|write|html|response|status|sendHTML)$/.test(method)) {
    return;
  }
  const who = written(receiver);
  if (!RESPONSE.test(who) && !(isHtmlMethod && /^(?:c|ctx)$/.test(who))) {
    return;
  }
  const [body] = children(call, 'arguments');
  const found = body && !isObjectBody(body) ? reflected(context.taint.of(body)) : undefined;
  if (!body || !found) {
    return;
  }
  const around = surroundings(context, call);
  const hasTag = TAG.test(skeleton(body));
  const isExpress = method === 'send' && !who.startsWith('reply');
  const isHtml = isHtmlMethod || hasTag || isExpress || IS_MARKUP.test(around);
  if (isHtml && (hasTag || !NOT_MARKUP.test(around))) {
    report(context, call, found);
  }
}

/** Handlers of hapi, Nest and others return the page. */
function checkReturned(context: RuleContext, value: NodePath | undefined, fn: NodePath | undefined): void {
  if (!value || !fn || !isFunction(fn) || !TAG.test(skeleton(value)) || !pagesAreReturned(fn)) {
    return;
  }
  const found = reflected(context.taint.of(value));
  if (found?.composed) {
    report(context, value, found);
  }
}

function pagesAreReturned(fn: NodePath): boolean {
  const decorators = 'decorators' in fn.node && Array.isArray(fn.node.decorators) ? fn.node.decorators : [];
  const owner = fn.node.type === 'ObjectMethod' ? fn.node : fn.parent;
  const key = 'key' in owner ? keyName(owner.key as Parameters<typeof keyName>[0]) : undefined;
  return decorators.length > 0 || key === 'handler';
}

function checkJsx(context: RuleContext, path: NodePath): void {
  const name = child(path, 'name');
  const container = child(path, 'value');
  const value = container && child(container, 'expression');
  if (name?.node.type !== 'JSXIdentifier' || !value) {
    return;
  }
  if (name.node.name === 'dangerouslySetInnerHTML') {
    const html = objectProperty(definition(value), '__html');
    const found = threat(context.taint.of(html ?? value), 'markup');
    if (found) {
      report(context, html ?? path, found);
    }
  } else if (/^(?:href|src|srcDoc|action)$/.test(name.node.name)) {
    const found = threat(context.taint.of(value), 'markup');
    if (found?.level === 'remote' && !found.composed && !found.safeFor.has('redirect')) {
      report(context, path, found);
    }
  }
}

/** Options that switch the escaping of a template engine off. */
function checkEscaping(context: RuleContext, property: NodePath): void {
  const name = propertyName(property);
  const value = child(property, 'value')?.node;
  const isOff = value?.type === 'BooleanLiteral' && value.value === (name === 'noEscape');
  const call = property.parentPath?.parentPath;
  if (isOff && /^(?:noEscape|autoescape|escapeMarkup|autoEscape)$/.test(name ?? '') && call && isCall(call)) {
    context.report('crossSiteScripting', property, {
      severity: 'medium',
      confidence: 'medium',
      detail: `\`${name}\` switches escaping off for the whole template`,
    });
  }
}

/** Values that become markup: in the page, in an answer, in React. */
export const markup: Rule = (context) => ({
  AssignmentExpression: (path) => checkAssignment(context, path),
  CallExpression(path) {
    checkResponse(context, path);
    const [first, second] = children(path, 'arguments');
    if (
      context.names.method(path) === 'setAttribute' &&
      /^(?:on\w+|srcdoc)$/.test(constantText(first) ?? '') &&
      second
    ) {
      const found = rendered(context, second);
      if (found) {
        report(context, path, found);
      }
    }
  },
  JSXAttribute: (path) => checkJsx(context, path),
  ObjectProperty: (path) => checkEscaping(context, path),
  ReturnStatement: (path) => checkReturned(context, child(path, 'argument'), enclosingFunction(path)),
  ArrowFunctionExpression(path) {
    const body = child(path, 'body');
    if (body && body.node.type !== 'BlockStatement') {
      checkReturned(context, unwrap(body), path);
    }
  },
});

import { constantText, definition } from '../constants.js';
import { written } from '../names.js';
import { provenance, severityFor, type Rule, type RuleContext } from '../rule.js';
import { child, children, objectProperty, propertyName, type NodePath } from '../syntax.js';
import { threat } from '../trace.js';

const RESPONSE = /^(?:_?res|response|resp|reply|ctx|h|c|this)\b/;
const SETTER = /^(?:setHeader|header|set|append|writeHead|addHeader|appendHeader)$/;

function checkHeader(context: RuleContext, where: NodePath, name: string, value: NodePath | undefined): void {
  const taint = context.taint.of(value);
  const found = threat(taint, 'header');
  if (/^location$/i.test(name)) {
    const target = threat(taint, 'redirect');
    if (target?.level === 'remote') {
      context.report('openRedirect', where, {
        severity: severityFor('low', target),
        detail: provenance(target),
      });
    }
    return;
  }
  if (/^access-control-allow-origin$/i.test(name)) {
    const origin = taint.find((each) => each.level === 'remote');
    const isAny = constantText(value) === '*';
    if (origin || isAny) {
      const detail = origin
        ? `every origin is allowed because ${provenance(origin)}`
        : 'every origin is allowed';
      context.report('permissiveCors', where, { severity: origin ? 'medium' : 'low', detail });
    }
    return;
  }
  if (found?.level === 'remote') {
    // Node refuses line breaks in header values, which leaves little to win.
    context.report('headerInjection', where, {
      severity: 'low',
      confidence: 'medium',
      detail: provenance(found),
    });
  }
}

function checkSetter(context: RuleContext, call: NodePath): void {
  const method = context.names.method(call);
  const receiver = context.names.receiver(call);
  if (!receiver || !SETTER.test(method) || !RESPONSE.test(written(receiver))) {
    return;
  }
  const args = children(call, 'arguments');
  const options = args.map((each) => definition(each)).find((each) => each.node.type === 'ObjectExpression');
  if (options) {
    for (const property of children(options, 'properties')) {
      checkHeader(context, property, propertyName(property) ?? '', child(property, 'value'));
    }
  } else if (args.length >= 2) {
    checkHeader(context, call, constantText(args[0]) ?? '', args[1]);
  }
}

function checkNavigation(context: RuleContext, assignment: NodePath): void {
  const left = child(assignment, 'left');
  if (!left || !/(?:^|\.)location(?:\.href)?$/.test(context.names.text(left) || written(left))) {
    return;
  }
  const found = threat(context.taint.of(child(assignment, 'right')), 'redirect');
  if (found?.level === 'remote') {
    context.report('openRedirect', assignment, {
      severity: severityFor('low', found),
      detail: provenance(found),
    });
  }
}

function checkCors(context: RuleContext, call: NodePath): void {
  if (
    !/^(?:@fastify\/)?cors$/.test(context.names.callee(call)) &&
    context.names.method(call) !== 'enableCors'
  ) {
    return;
  }
  const [first] = children(call, 'arguments');
  const options = first && definition(first);
  const origin = objectProperty(options, 'origin');
  const credentials = objectProperty(options, 'credentials');
  const value = origin && definition(origin).node;
  const isAny = value?.type === 'BooleanLiteral' ? value.value : constantText(origin) === '*';
  if (origin && isAny) {
    const withCredentials = credentials?.node.type === 'BooleanLiteral' && credentials.node.value;
    context.report('permissiveCors', origin, {
      severity: withCredentials ? 'medium' : 'low',
      detail: withCredentials ? 'every origin is allowed, with credentials' : 'every origin is allowed',
    });
  }
}

/** Headers, redirects by header and navigation, and who may read the answers. */
export const responseHeaders: Rule = (context) => ({
  CallExpression(path) {
    checkSetter(context, path);
    checkCors(context, path);
  },
  AssignmentExpression: (path) => checkNavigation(context, path),
});

import { constantBoolean, constantText, definition } from '../constants.js';
import { written } from '../names.js';
import { provenance, type Rule, type RuleContext } from '../rule.js';
import { children, enclosingFunction, objectProperty, propertyName, type NodePath } from '../syntax.js';
import { threat } from '../trace.js';

const JWT = /^(?:jsonwebtoken|jwt|jwt-simple|jose|njwt|jws|fast-jwt|express-jwt|@nestjs\/jwt)\b/i;

function optionsOf(call: NodePath): NodePath | undefined {
  return children(call, 'arguments')
    .map((each) => definition(each))
    .findLast((each) => each.node.type === 'ObjectExpression');
}

function allowsNone(options: NodePath | undefined): NodePath | undefined {
  const list = objectProperty(options, 'algorithms');
  const single = objectProperty(options, 'algorithm') ?? objectProperty(options, 'alg');
  const value = list && definition(list);
  const elements = value?.node.type === 'ArrayExpression' ? children(value, 'elements') : [];
  return [...elements, single].find((each) => /^none$/i.test(constantText(each) ?? ''));
}

function isEmptyKey(key: NodePath | undefined): boolean {
  const node = key && definition(key).node;
  return (
    node?.type === 'NullLiteral' ||
    constantText(key) === '' ||
    (node?.type === 'BooleanLiteral' && !node.value)
  );
}

const VERIFICATION =
  /\w*(?:jwt|jose|token)\w*\s*\.\s*verify(?:Async)?\s*\(|\b(?:jwtVerify|verify(?:Jwt|Token|IdToken))\s*\(/i;

/** Looking into a token before it is verified is usual, to choose the key. */
function isVerifiedBeside(context: RuleContext, call: NodePath): boolean {
  const { start, end } = enclosingFunction(call)?.node ?? {};
  return VERIFICATION.test(context.source.slice(start ?? 0, end ?? undefined));
}

function checkDecode(context: RuleContext, call: NodePath, callee: string): void {
  const args = children(call, 'arguments');
  if (callee.startsWith('jwt-simple')) {
    if (args[2] && constantBoolean(args[2])) {
      context.report('unverifiedToken', call, { severity: 'high', detail: '`decode` is told not to verify' });
    }
    return;
  }
  if (isVerifiedBeside(context, call)) {
    return;
  }
  const found = threat(context.taint.of(args[0]), 'code');
  const detail = '`decode` does not check the signature';
  context.report('unverifiedToken', call, {
    severity: found?.level === 'remote' ? 'high' : 'medium',
    confidence: 'medium',
    detail: found?.level === 'remote' ? `${detail}, and ${provenance(found)}` : detail,
  });
}

/** Tokens that are read or made without a valid signature. */
export const tokens: Rule = (context) => ({
  CallExpression(path) {
    const receiver = context.names.receiver(path);
    const callee = context.names.callee(path) || context.names.method(path);
    const isJwt =
      JWT.test(callee) ||
      /jwt/i.test(receiver ? written(receiver) : '') ||
      /^(?:jwtVerify|expressjwt)$/i.test(callee);
    if (!isJwt) {
      return;
    }
    const method = context.names.method(path);
    const options = optionsOf(path);
    const none = allowsNone(options);
    if (none) {
      context.report('unverifiedToken', path, {
        severity: 'high',
        detail: 'the algorithm "none" is allowed',
      });
    } else if (/^(?:verify|verifyAsync|jwtVerify)$/.test(method)) {
      const ignored =
        objectProperty(options, 'ignoreExpiration') ?? objectProperty(options, 'ignoreNotBefore');
      if (ignored && constantBoolean(ignored)) {
        context.report('unverifiedToken', ignored, {
          severity: 'medium',
          detail: `\`${propertyName(ignored.parentPath ?? ignored) ?? 'ignoreExpiration'}\` accepts old tokens`,
        });
      } else if (isEmptyKey(children(path, 'arguments')[1])) {
        context.report('unverifiedToken', path, { severity: 'high', detail: 'the key is empty' });
      }
    } else if (method === 'decode') {
      checkDecode(context, path, callee);
    }
  },
});

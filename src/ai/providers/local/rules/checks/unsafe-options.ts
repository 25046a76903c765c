import type { Severity } from '../../../../analysis.js';
import { constantBoolean, constantNumber, constantText } from '../constants.js';
import type { FlawName } from '../flaws.js';
import { anyName } from '../name-pattern.js';
import { written } from '../names.js';
import type { Rule, RuleContext } from '../rule.js';
import { child, isFunction, propertyName, unwrap, type NodePath } from '../syntax.js';

interface Option {
  readonly key: RegExp;
  /** True for the dangerous value. */
  readonly is: (value: NodePath) => boolean;
  /** What the object is, where the key alone is not enough: names of calls or properties around it. */
  readonly within?: RegExp;
  readonly flaw: FlawName;
  readonly severity: Severity;
}

const isTrue = (value: NodePath): boolean => constantBoolean(value) === true;
const isFalse = (value: NodePath): boolean => constantBoolean(value) === false;
const COOKIE = /cookie|session/i;

/** Options that are dangerous by themselves. */
const OPTIONS: readonly Option[] = [
  {
    key: /^(?:rejectUnauthorized|strictSSL|verifyCertificate|verifySSL|sslVerify)$/,
    is: isFalse,
    flaw: 'certificateCheck',
    severity: 'high',
  },
  {
    key: anyName(`
      insecureSkipVerify trustServerCertificate ignoreHTTPSErrors acceptInvalidCerts allowInsecure
      tlsInsecure tlsAllowInvalid{Certificates,Hostnames}
    `),
    is: isTrue,
    flaw: 'certificateCheck',
    severity: 'medium',
  },
  { key: /^checkServerIdentity$/, is: doesNothing, flaw: 'certificateCheck', severity: 'high' },
  {
    key: /^(?:secureProtocol|minVersion|maxVersion|minTLSVersion|sslProtocol)$/,
    is: isOldProtocol,
    flaw: 'oldTls',
    severity: 'medium',
  },
  {
    key: /^(?:noent|replaceEntities|resolveExternalEntities|externalEntities|dtdload|expandEntities|resolveExternals)$/,
    is: isTrue,
    flaw: 'externalEntities',
    severity: 'high',
  },
  { key: /^httpOnly$/, is: isFalse, within: COOKIE, flaw: 'cookieWithoutHttpOnly', severity: 'medium' },
  { key: /^secure$/, is: isFalse, within: COOKIE, flaw: 'cookieWithoutSecure', severity: 'medium' },
  {
    key: /^(?:nodeIntegration|nodeIntegrationInWorker|allowRunningInsecureContent|experimentalFeatures)$/,
    is: isTrue,
    within: /webPreferences|BrowserWindow/,
    flaw: 'insecureElectron',
    severity: 'medium',
  },
  {
    key: /^(?:contextIsolation|webSecurity|sandbox)$/,
    is: isFalse,
    within: /webPreferences|BrowserWindow/,
    flaw: 'insecureElectron',
    severity: 'medium',
  },
  {
    key: /^modulusLength$/,
    is: (value) => (constantNumber(value) ?? 4096) < 2048,
    flaw: 'shortKey',
    severity: 'medium',
  },
];

function doesNothing(value: NodePath): boolean {
  const fn = unwrap(value);
  const body = isFunction(fn) ? child(fn, 'body') : undefined;
  if (!body) {
    return false;
  }
  const { node } = body;
  if (node.type !== 'BlockStatement') {
    return (
      written(body) === 'undefined' ||
      node.type === 'NullLiteral' ||
      node.type === 'UnaryExpression' ||
      node.type === 'BooleanLiteral'
    );
  }
  const [first] = node.body;
  return (
    !first ||
    (first.type === 'ReturnStatement' &&
      /^(?:undefined|Identifier|NullLiteral|BooleanLiteral)$/.test(first.argument?.type ?? 'undefined'))
  );
}

function isOldProtocol(value: NodePath): boolean {
  return /^(?:SSLv\d\w*|SSLv23_\w+|TLSv1(?:\.1|_method|_1_method|_client_method|_server_method)?)$/.test(
    constantText(value) ?? '',
  );
}

/** Names of the calls and properties that an object literal stands in. */
function surroundingNames(context: RuleContext, property: NodePath): string {
  const found: string[] = [];
  let current = property.parentPath?.parentPath;
  for (let climbed = 0; current && climbed < 4; climbed += 1) {
    if (current.type === 'ObjectProperty') {
      found.push(propertyName(current) ?? '');
    } else if (/(?:Call|New)Expression$/.test(current.type)) {
      found.push(written(current), context.names.callee(current));
    } else if (current.node.type === 'VariableDeclarator') {
      found.push(written(child(current, 'id') ?? current));
    }
    current = current.parentPath;
  }
  return found.join(' ');
}

function shown(value: NodePath): string {
  const text = constantText(value);
  return text === undefined
    ? String(constantBoolean(value) ?? constantNumber(value) ?? 'a function that accepts all')
    : `'${text}'`;
}

function checkOption(
  context: RuleContext,
  where: NodePath,
  name: string,
  value: NodePath,
  around: () => string,
): void {
  for (const option of OPTIONS) {
    if (option.key.test(name) && option.is(value) && (!option.within || option.within.test(around()))) {
      context.report(option.flaw, where, {
        severity: option.severity,
        detail: `\`${name}\` is ${shown(value)}`,
      });
    }
  }
}

/** Switches that turn a protection off. */
export const unsafeOptions: Rule = (context) => ({
  ObjectProperty(path) {
    const name = propertyName(path);
    const value = child(path, 'value');
    if (name !== undefined && value) {
      checkOption(context, path, name, value, () => surroundingNames(context, path));
    }
  },
  ObjectMethod(path) {
    if (propertyName(path) === 'checkServerIdentity') {
      checkOption(context, path, 'checkServerIdentity', path, () => '');
    }
  },
  AssignmentExpression(path) {
    const left = child(path, 'left');
    const right = child(path, 'right');
    if (left?.node.type !== 'MemberExpression' || !right) {
      return;
    }
    const name = propertyName(left) ?? '';
    if (name === 'NODE_TLS_REJECT_UNAUTHORIZED' && /^(?:0|false)?$/.test(constantText(right) ?? '1')) {
      context.report('certificateCheck', path, {
        severity: 'high',
        detail: '`NODE_TLS_REJECT_UNAUTHORIZED` is switched off for the whole process',
      });
    } else {
      checkOption(context, path, name, right, () => written(left));
    }
  },
});

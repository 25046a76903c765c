import { constantText, definition } from '../constants.js';
import { anyName } from '../name-pattern.js';
import { written } from '../names.js';
import type { Rule, RuleContext } from '../rule.js';
import { isSecretName, knownFormat, looksSecret, masked, passwordInUrl } from '../secret-text.js';
import { child, children, keyName, objectProperty, propertyName, unwrap, type NodePath } from '../syntax.js';

/** Files of tests, translations and examples are full of words that only look like secrets. */
const TEST_CODE = /\b(?:describe|it|test)\s*\(\s*['"`]|\bjest\.|\bvi\.mock|\bexpect\s*\(|cy\.(?:visit|get)\(/;

function literalText(path: NodePath | undefined): string | undefined {
  const node = path && unwrap(path).node;
  if (node?.type === 'StringLiteral') {
    return node.value;
  }
  return node?.type === 'TemplateLiteral' ? constantText(path) : undefined;
}

function report(context: RuleContext, where: NodePath, name: string, secret: string): void {
  context.report('hardcodedSecret', where, {
    severity: 'high',
    confidence: 'medium',
    detail: `${name} has the value ${masked(secret)}`,
  });
}

/** A literal under a telling name. */
function checkNamed(
  context: RuleContext,
  where: NodePath,
  name: string | undefined,
  value: NodePath | undefined,
): void {
  if (name === undefined || !value || isTestCode(context)) {
    return;
  }
  const inner = unwrap(value);
  const fallback = inner.node.type === 'LogicalExpression' ? child(inner, 'right') : undefined;
  const text = literalText(fallback ?? inner);
  if (text !== undefined && isSecretName(name) && looksSecret(text, name) && !isMessageTable(where)) {
    report(context, where, `\`${name}\``, text);
  }
}

/** Tables of messages have keys such as `passwordTooShort`, and sentences as values. */
function isMessageTable(property: NodePath): boolean {
  const object = property.parentPath;
  if (property.type !== 'ObjectProperty' || !object) {
    return false;
  }
  const texts = children(object, 'properties').map((each) => literalText(child(each, 'value')));
  const sentences = texts.filter((text) => text !== undefined && /\w\s+\w/.test(text)).length;
  return texts.length >= 4 && sentences >= 2;
}

const testCode = new WeakMap<RuleContext, boolean>();

function isTestCode(context: RuleContext): boolean {
  const known = testCode.get(context) ?? TEST_CODE.test(context.source);
  testCode.set(context, known);
  return known;
}

/** Calls and options that take a secret, whatever it is called. */
const SECRET_ARGUMENT: readonly (readonly [RegExp, number])[] = [
  [/^(?:jsonwebtoken|jwt)\.(?:sign|verify)$/, 1],
  [/^jwt-simple\.(?:encode|decode)$/, 1],
  [/^(?:crypto\.)?create(?:Hmac|Cipheriv|Decipheriv|Cipher|Decipher)$/, 1],
  [/^crypto-js\.\w+\.(?:encrypt|decrypt)$/, 1],
  [/^crypto-js\.Hmac\w+$/, 1],
  [/^(?:cookie-parser|cookieParser)$/, 0],
];
const SECRET_OPTION: readonly (readonly [RegExp, readonly string[]])[] = [
  [
    anyName(`
      {express-,cookie-,koa-,iron-,}session expressSession @fastify/{session,secure-session,jwt}
    `),
    ['secret', 'keys'],
  ],
  [
    anyName('express-jwt{,.*} express{Jwt,jwt}{,.*} JwtModule.register .*Strategy{,.*} .*JwtService'),
    ['secret', 'secretOrKey', 'clientSecret', 'consumerSecret', 'consumerKey'],
  ],
];

function checkSecretCall(context: RuleContext, call: NodePath): void {
  const callee = context.names.callee(call) || context.names.method(call);
  const args = children(call, 'arguments');
  for (const [pattern, index] of SECRET_ARGUMENT) {
    const value = pattern.test(callee) ? args[index] : undefined;
    const inner = value && unwrapBuffer(context, value);
    const text = constantText(inner);
    if (
      value &&
      text &&
      text.length >= 4 &&
      !/BEGIN (?:RSA )?PUBLIC|\$\{/.test(text) &&
      !isTestCode(context)
    ) {
      report(context, call, `the key given to \`${callee}\``, text);
    }
  }
  // `config.set('apiKey', '…')`
  const [name, value] = args.map((each) => literalText(each));
  if (name && value && args.length === 2 && /\d/.test(value) && /^[\w-]{4,40}$/.test(name)) {
    checkNamed(context, call, name, args[1]);
  }
  for (const [pattern, keys] of SECRET_OPTION) {
    const options = pattern.test(callee) ? args.map((each) => definition(each)) : [];
    for (const key of keys) {
      const value = options.map((each) => objectProperty(each, key)).find((each) => each !== undefined);
      const list =
        value && definition(value).node.type === 'ArrayExpression'
          ? children(definition(value), 'elements')[0]
          : value;
      const text = constantText(list);
      if (value?.parentPath && text && text.length >= 3 && !isTestCode(context)) {
        report(context, value.parentPath, `\`${key}\` of \`${callee}\``, text);
      }
    }
  }
}

function unwrapBuffer(context: RuleContext, path: NodePath): NodePath | undefined {
  const value = definition(path);
  return context.names.callee(value) === 'Buffer.from' ? children(value, 'arguments')[0] : value;
}

/** `if (password === 'literal')` is a back door. */
function checkComparison(context: RuleContext, path: NodePath): void {
  const { node } = path;
  if (node.type !== 'BinaryExpression' || !/^===?$/.test(node.operator)) {
    return;
  }
  const left = child(path, 'left');
  const right = child(path, 'right');
  const literal = literalText(right) === undefined ? left : right;
  const other = literal === right ? left : right;
  const name = other ? written(other).split('.').at(-1) : undefined;
  const text = literalText(literal);
  if (
    name &&
    text &&
    /passw|passphrase|secret|api[-_]?key/i.test(name) &&
    isSecretName(name) &&
    looksSecret(text, name) &&
    !isTestCode(context)
  ) {
    report(context, path, `what \`${name}\` is compared with`, text);
  }
}

function checkFormat(context: RuleContext, path: NodePath, text: string): void {
  if (text.length < 12) {
    return;
  }
  const format = knownFormat(text);
  if (format) {
    report(context, path, `a ${format}`, text);
    return;
  }
  const password = passwordInUrl(text);
  if (password) {
    report(context, path, 'the password in a connection address', password);
  }
}

/** Credentials in the source: by format, by name, and by what they are given to. */
export const hardcodedSecrets: Rule = (context) => {
  const property = (path: NodePath): void =>
    checkNamed(context, path, propertyName(path), child(path, 'value'));
  const call = (path: NodePath): void => checkSecretCall(context, path);
  return {
    StringLiteral: (path) =>
      checkFormat(context, path, path.node.type === 'StringLiteral' ? path.node.value : ''),
    TemplateElement: (path) =>
      checkFormat(context, path, path.node.type === 'TemplateElement' ? path.node.value.raw : ''),
    VariableDeclarator(path) {
      const id = path.node.type === 'VariableDeclarator' ? keyName(path.node.id) : undefined;
      checkNamed(context, path, id, child(path, 'init'));
    },
    AssignmentExpression(path) {
      const left = child(path, 'left');
      checkNamed(context, path, left ? written(left).split('.').at(-1) : undefined, child(path, 'right'));
    },
    AssignmentPattern: (path) =>
      checkNamed(context, path, keyName(child(path, 'left')?.node), child(path, 'right')),
    ObjectProperty: property,
    ClassProperty: property,
    ClassPrivateProperty: property,
    CallExpression: call,
    NewExpression: call,
    BinaryExpression: (path) => checkComparison(context, path),
  };
};

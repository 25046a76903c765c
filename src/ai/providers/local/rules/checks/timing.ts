import { definition } from '../constants.js';
import { written } from '../names.js';
import type { Rule, RuleContext } from '../rule.js';
import { child, isCall, wordsOf, type NodePath } from '../syntax.js';

const SECRET_WORDS = new Set([
  'signature',
  'hmac',
  'digest',
  'mac',
  'secret',
  'token',
  'apikey',
  'password',
  'hash',
  'csrf',
  'otp',
]);

/** What was computed with a key, or is a secret of the environment. */
function isSecretValue(context: RuleContext, path: NodePath): boolean {
  const value = definition(path);
  const name = isCall(value) ? context.names.text(value) : written(value);
  if (/createHmac\(\)(?:\.\w+\(\))*\.digest\(\)$|(?:pbkdf2|scrypt)Sync\(\)(?:\.toString\(\))?$/.test(name)) {
    return true;
  }
  return /^process\.env\.\w*(?:SECRET|TOKEN|KEY|PASSWORD)/i.test(written(value));
}

function isSecretName(path: NodePath): boolean {
  return wordsOf(written(path).split('.').at(-1) ?? '').some((word) => SECRET_WORDS.has(word));
}

/** `===` between a secret and what a client sent. */
export const timing: Rule = (context) => ({
  BinaryExpression(path) {
    const { node } = path;
    const left = child(path, 'left');
    const right = child(path, 'right');
    if (node.type !== 'BinaryExpression' || !/^[!=]==?$/.test(node.operator) || !left || !right) {
      return;
    }
    const sides = [left, right];
    const sent = sides.find((side) =>
      context.taint.of(side).some((each) => each.level === 'remote' && !each.composed),
    );
    const other = sides.find((side) => side !== sent);
    if (
      !other ||
      !/^(?:Identifier|MemberExpression|CallExpression|OptionalMemberExpression)$/.test(other.type)
    ) {
      return;
    }
    const isSecret =
      isSecretValue(context, other) ||
      (sent && isSecretName(other) && !context.taint.of(other).some((each) => each.level === 'remote'));
    if (isSecret && (sent || isSecretName(sides.find((side) => side !== other) ?? other))) {
      context.report('timing', path, {
        severity: 'low',
        confidence: 'medium',
        detail: `\`${written(other)}\` is compared with \`${node.operator}\``,
      });
    }
  },
});

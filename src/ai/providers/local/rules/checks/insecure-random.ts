import type { Rule } from '../rule.js';
import { hasAny, namesAround, wordsAround } from '../surrounding-words.js';
import type { NodePath } from '../syntax.js';

const SECRET = new Set([
  'token',
  'tokens',
  'secret',
  'secrets',
  'password',
  'passwords',
  'passwd',
  'pwd',
  'pass',
  'passphrase',
  'passcode',
  'otp',
  'pin',
  'nonce',
  'salt',
  'session',
  'sessionid',
  'sid',
  'csrf',
  'xsrf',
  'apikey',
  'auth',
  'captcha',
  'voucher',
  'coupon',
  'invite',
  'invitation',
  'credential',
  'credentials',
  'iv',
  'signature',
  'challenge',
  'activation',
  'verification',
  'jwt',
  'cookie',
  'licence',
  'license',
  'seed',
  'cryptokey',
  'encryption',
  'totp',
  'jti',
]);
const PAIRS = new RegExp(
  '(?:api|access|auth|secret|private|encryption|signing|session|license|master)[-_]?key|' +
    '(?:reset|verification|confirm(?:ation)?|access|security|auth|login|recovery)[-_]?code',
  'i',
);
/** Words that show a time, place or look in spite of a secret-looking word. */
const HARMLESS = new Set([
  'delay',
  'timeout',
  'ms',
  'interval',
  'duration',
  'expiry',
  'ttl',
  'position',
  'color',
  'colour',
  'count',
  'demo',
  'mock',
  'fake',
  'faker',
  'sample',
  'example',
  'jitter',
  'backoff',
  'retry',
  'animation',
  'style',
  'speed',
  'design',
  'map',
  'world',
  'noise',
  'terrain',
  'game',
]);
const IDENTIFIER = new Set(['uuid', 'guid', 'uid']);

/** `Math.random` for something that must not be guessed. */
export const insecureRandom: Rule = (context) => {
  const check = (call: NodePath): void => {
    const callee = context.names.callee(call);
    if (callee === 'crypto.pseudoRandomBytes') {
      context.report('insecureRandom', call, { severity: 'low', detail: '`pseudoRandomBytes` is used' });
    }
    if (callee !== 'Math.random') {
      return;
    }
    const names = namesAround(call);
    const words = wordsAround(call);
    if (hasAny(words, HARMLESS)) {
      return;
    }
    if (hasAny(words, SECRET) || names.some((name) => PAIRS.test(name))) {
      const name = names.find((each) => !/^(?:Math|String|Number|parseInt)/.test(each)) ?? 'a secret';
      context.report('insecureRandom', call, {
        severity: 'medium',
        detail: `\`Math.random\` makes \`${name}\``,
      });
    } else if (hasAny(words, IDENTIFIER)) {
      context.report('insecureRandom', call, {
        severity: 'low',
        confidence: 'low',
        detail: '`Math.random` makes an identifier',
      });
    }
  };
  return { CallExpression: check };
};

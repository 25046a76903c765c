import { anyName } from '../name-pattern.js';
import { constantNumber, constantText, definition } from '../constants.js';
import { written } from '../names.js';
import type { Rule, RuleContext } from '../rule.js';
import { hasAny, wordsAround, wordsInside } from '../surrounding-words.js';
import {
  child,
  children,
  isCall,
  isMember,
  keyName,
  objectProperty,
  unwrap,
  type NodePath,
} from '../syntax.js';

const BROKEN_HASH = /^(?:rsa-)?(?:md[245]|sha-?1|ripemd(?:-?160)?|sha)(?:withrsa\w*)?$/i;
const HASH_PACKAGE = anyName(`
  md5 blueimp-md5 js-md5{,.*} md5-hex ts-md5{,.Md5.hashStr} spark-md5.hash sha1 js-sha1 hash.sha1
  crypto-js.{MD5,SHA1,RIPEMD160} forge.md.{md5,sha1}.create
`);
const BROKEN_CIPHER = /^(?:des|rc[24]|bf|blowfish|cast|idea|seed|arcfour)|ecb/i;
const PASSWORD = new Set([
  'password',
  'passwd',
  'pass',
  'pwd',
  'passphrase',
  'passcode',
  'pin',
  'plaintext',
  'pw',
]);
const SENSITIVE = new Set([
  ...PASSWORD,
  'token',
  'secret',
  'signature',
  'sign',
  'signed',
  'hmac',
  'auth',
  'credential',
  'credentials',
  'verify',
  'session',
  'otp',
  'nonce',
  'certificate',
  'license',
]);
const HARMLESS = new Set([
  'etag',
  'cache',
  'checksum',
  'fingerprint',
  'key',
  'hash',
  'file',
  'content',
  'gravatar',
  'avatar',
  'dedupe',
  'bucket',
  'shard',
  'revision',
  'version',
  'chunk',
  'digest',
  'integrity',
  'id',
  'color',
  'colour',
  'filename',
  'body',
  'buffer',
  'asset',
  'etags',
  'websocket',
  'accept',
  'url',
]);

/** `createHash(a).update(b).digest(c)`: the outermost call of the chain, and what is hashed. */
function chain(call: NodePath): { outer: NodePath; words: Set<string> } {
  const words = wordsInside(call);
  let outer = call;
  for (let climbed = 0; climbed < 8; climbed += 1) {
    const member = outer.parentPath;
    const next = member?.parentPath;
    if (!member || !next || !isMember(member) || !isCall(next) || member.key !== 'callee') {
      break;
    }
    outer = next;
    wordsInside(outer).forEach((word) => words.add(word));
  }
  return { outer, words };
}

function reportHash(context: RuleContext, call: NodePath, algorithm: string, isKeyed: boolean): void {
  const { outer, words } = chain(call);
  const all = new Set([...words, ...wordsAround(outer)]);
  const detail = `\`${algorithm}\` is used`;
  if (hasAny(all, SENSITIVE) || (isKeyed && /md/i.test(algorithm))) {
    context.report('weakHash', call, {
      severity: 'medium',
      detail: `${detail} for something that needs a strong hash`,
    });
  } else if (!hasAny(all, HARMLESS) && !isKeyed) {
    context.report('weakHash', call, {
      severity: 'low',
      confidence: 'low',
      detail: `${detail}; harmless for checksums only`,
    });
  }
}

function checkHash(context: RuleContext, call: NodePath, callee: string): void {
  const [first, second] = children(call, 'arguments');
  const algorithm = constantText(first) ?? '';
  if (/^(?:crypto\.)?create(?:Hash|Hmac)$/.test(callee)) {
    if (BROKEN_HASH.test(algorithm)) {
      reportHash(context, call, algorithm, callee.endsWith('Hmac'));
    } else if (/^sha-?(?:2|3|5)/i.test(algorithm) && callee.endsWith('Hash')) {
      checkFastHash(context, call, algorithm);
    }
  } else if (/^(?:crypto\.)?create(?:Sign|Verify)$/.test(callee) && BROKEN_HASH.test(algorithm)) {
    context.report('weakHash', call, {
      severity: 'medium',
      detail: `\`${algorithm}\` is used for signatures`,
    });
  } else if (/^crypto\.(?:webcrypto\.)?subtle\.digest$/.test(callee) && BROKEN_HASH.test(algorithm)) {
    reportHash(context, call, algorithm, false);
  } else if (HASH_PACKAGE.test(callee)) {
    reportHash(context, call, callee, false);
  } else if (/(?:^|\.)pbkdf2(?:Sync)?$/i.test(callee)) {
    const digest = constantText(children(call, 'arguments')[4]) ?? '';
    const rounds = constantNumber(children(call, 'arguments')[2]);
    if ((rounds !== undefined && rounds < 10_000) || /^md/i.test(digest)) {
      context.report('fastPasswordHash', call, {
        severity: 'medium',
        detail: `PBKDF2 with ${rounds ?? '?'} rounds of ${digest || 'SHA-1'}`,
      });
    }
  } else if (/^bcrypt(?:js)?\.(?:hash|hashSync|genSalt|genSaltSync)$/.test(callee)) {
    const rounds = constantNumber(/Salt/.test(callee) ? first : second);
    if (rounds !== undefined && rounds < 10) {
      context.report('fastPasswordHash', call, {
        severity: 'low',
        detail: `bcrypt with a cost of ${rounds}`,
      });
    }
  }
}

function checkFastHash(context: RuleContext, call: NodePath, algorithm: string): void {
  const { words, outer } = chain(call);
  const named = wordsAround(outer);
  if (hasAny(words, PASSWORD) && !hasAny(named, new Set(['pwned', 'breach', 'leak', 'key', 'derive']))) {
    context.report('fastPasswordHash', call, {
      severity: 'medium',
      confidence: 'medium',
      detail: `a password is hashed once with ${algorithm}`,
    });
  }
}

/** A text or buffer that is the same in every run. */
function isFixedBytes(context: RuleContext, path: NodePath | undefined): boolean {
  if (!path) {
    return false;
  }
  const value = definition(path);
  if ((constantText(value) ?? '') !== '') {
    return true;
  }
  if (!isCall(value)) {
    return false;
  }
  const callee = context.names.callee(value);
  const first = children(value, 'arguments')[0];
  return callee === 'Buffer.alloc' || (callee === 'Buffer.from' && (constantText(first) ?? '') !== '');
}

function checkCipher(context: RuleContext, call: NodePath, callee: string): void {
  const args = children(call, 'arguments');
  const algorithm = constantText(args[0]) ?? '';
  if (/^(?:crypto\.)?create(?:C|Dec)ipher$/.test(callee)) {
    context.report('weakCipher', call, {
      severity: 'medium',
      detail: '`createCipher` derives the key without salt',
    });
  } else if (/^(?:crypto\.)?create(?:C|Dec)ipheriv$/.test(callee)) {
    if (BROKEN_CIPHER.test(algorithm.replace(/^id-/, '')) || /-ecb$/i.test(algorithm)) {
      context.report('weakCipher', call, { severity: 'medium', detail: `the cipher is \`${algorithm}\`` });
    }
    if (isFixedBytes(context, args[2]) && callee.includes('Cipheriv')) {
      context.report('fixedNonce', call, {
        severity: 'medium',
        detail: 'the initialisation vector is a constant',
      });
    }
  } else if (
    /^crypto-js\.(?:DES|TripleDES|RC4|RC4Drop|Rabbit|RabbitLegacy|Blowfish)\.(?:en|de)crypt$/.test(callee)
  ) {
    context.report('weakCipher', call, {
      severity: 'medium',
      detail: `\`${callee.split('.')[1] ?? ''}\` is used`,
    });
  } else if (/^crypto-js\.AES\.(?:en|de)crypt$/.test(callee)) {
    const mode = objectProperty(args[2] && definition(args[2]), 'mode');
    if (mode && written(mode).endsWith('.ECB')) {
      context.report('weakCipher', call, { severity: 'medium', detail: 'the mode is ECB' });
    }
  } else if (
    /^(?:crypto\.)?generateKeyPair(?:Sync)?$/.test(callee) === false &&
    /node-rsa|NodeRSA/.test(callee)
  ) {
    const bits = constantNumber(objectProperty(args[0] && definition(args[0]), 'b'));
    if (bits !== undefined && bits < 2048) {
      context.report('shortKey', call, { severity: 'medium', detail: `the key has ${bits} bits` });
    }
  }
}

/** Broken hash functions and ciphers, and strong ones used weakly. */
export const weakCrypto: Rule = (context) => {
  const check = (call: NodePath): void => {
    const callee = context.names.callee(call);
    if (callee !== '') {
      checkHash(context, call, callee);
      checkCipher(context, call, callee);
    }
  };
  return {
    CallExpression: check,
    NewExpression: check,
    MemberExpression(path) {
      const { node } = path;
      const isEcb = node.type === 'MemberExpression' && keyName(node.property, node.computed) === 'ECB';
      const object = isEcb ? child(path, 'object') : undefined;
      if (
        object &&
        /mode$/i.test(written(unwrap(object))) &&
        /encrypt|cipher/i.test([...wordsAround(path)].join(' '))
      ) {
        context.report('weakCipher', path, { severity: 'medium', detail: 'the mode is ECB' });
      }
    },
  };
};

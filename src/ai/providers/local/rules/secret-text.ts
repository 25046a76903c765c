import { wordsOf } from './syntax.js';

/** Credentials that their format gives away. */
const FORMATS: readonly (readonly [string, RegExp])[] = [
  ['AWS access key', /^(?:AKIA|ASIA)[A-Z0-9]{16}$/],
  ['GitHub token', /^(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{40,})$/],
  ['GitLab token', /^glpat-[\w-]{20,}$/],
  ['Slack token', /^xox[abeprs]-[\w-]{10,}$/],
  ['Slack webhook', /^https:\/\/hooks\.slack\.com\/services\/T\w+\/B\w+\/\w+/],
  ['Discord webhook', /^https:\/\/(?:\w+\.)?discord(?:app)?\.com\/api\/webhooks\/\d+\/[\w-]+/],
  ['Stripe key', /^(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}$/],
  ['Google API key', /^AIza[\w-]{35}$/],
  ['Google OAuth secret', /^GOCSPX-[\w-]{20,}$/],
  ['OpenAI key', /^sk-(?:proj-|ant-)?[\w-]{20,}$/],
  ['SendGrid key', /^SG\.[\w-]{16,}\.[\w-]{16,}$/],
  ['Twilio key', /^SK[0-9a-f]{32}$/],
  ['npm token', /^npm_[A-Za-z0-9]{36}$/],
  ['Mailgun key', /^key-[0-9a-f]{32}$/],
  ['Telegram bot token', /^\d{8,10}:AA[\w-]{33}$/],
  ['Azure storage key', /AccountKey=[A-Za-z0-9+/=]{40,}/],
  ['private key', /-----BEGIN (?:RSA |EC |DSA |OPENSSH |PGP |ENCRYPTED )?PRIVATE KEY/],
  ['JSON web token', /^eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{16,}$/],
  ['authorisation header', /^(?:Basic|Bearer) (?=\S*\d)[A-Za-z0-9+/=_.-]{16,}$/],
];
const URL_WITH_PASSWORD = /^[a-z][a-z\d+.-]*:\/\/[^\s:/@]*:([^\s@/]+)@/i;
/** Whole texts that stand for a value. */
const PLACEHOLDER_FORM = /^(?:x+|\*+|\.+|-+|<.*>|\{\{?.*\}?\}|\$\{.*\}|%.*%|\[.*\])$/;
const PLACEHOLDER_WORD =
  /^(?:null|none|undefined|true|false|required|optional|string|hidden|redacted|n\/a|tbd|todo)$/i;
const PLACEHOLDER_PART =
  /change[-_ ]?me|your[-_ ]|replace|placeholder|example|dummy|fake|mock|sample|lorem|<|\.\.\.|xxxx|\*\*\*|1234567890abcdef/i;
const WEAK_WORD =
  /^(?:password|passwd|secret|token|foo|bar|baz|abc|username|user|pass|default|(?:test|wrong|invalid|bad)\w*)$/i;

function isPlaceholder(text: string): boolean {
  return [PLACEHOLDER_FORM, PLACEHOLDER_WORD, PLACEHOLDER_PART].some((pattern) => pattern.test(text));
}

const SECRET_WORDS = new Set([
  'password',
  'passwd',
  'pwd',
  'passphrase',
  'passcode',
  'secret',
  'token',
  'apikey',
  'credential',
  'credentials',
  'pass',
  'authkey',
  'privatekey',
  'secretkey',
  'accesskey',
]);
const KEY_PREFIX = new Set([
  'api',
  'access',
  'secret',
  'private',
  'auth',
  'encryption',
  'signing',
  'session',
  'master',
  'account',
  'admin',
  'license',
  'jwt',
  'crypto',
  'aes',
  'hmac',
  'cipher',
  'service',
]);
/** Words after which a name is about a secret, and does not hold one. */
const ABOUT = new Set([
  'header',
  'headers',
  'field',
  'input',
  'label',
  'hint',
  'placeholder',
  'title',
  'text',
  'message',
  'error',
  'errors',
  'url',
  'uri',
  'path',
  'route',
  'endpoint',
  'name',
  'type',
  'policy',
  'length',
  'regex',
  'pattern',
  'rule',
  'rules',
  'file',
  'storage',
  'prefix',
  'suffix',
  'action',
  'event',
  'selector',
  'element',
  'id',
  'class',
  'page',
  'form',
  'format',
  'expiry',
  'expires',
  'expiration',
  'ttl',
  'min',
  'max',
  'reset',
  'forgot',
  'forgotten',
  'change',
  'set',
  'clear',
  'show',
  'hide',
  'toggle',
  'update',
  'delete',
  'remove',
  'add',
  'strength',
  'confirm',
  'confirmation',
  'question',
  'description',
  'key_name',
  'env',
  'variable',
  'param',
  'parameter',
  'query',
  'column',
  'attribute',
  'validation',
  'validator',
  'algorithm',
  'provider',
  'count',
  'limit',
  'kind',
  'scope',
  'issuer',
  'audience',
  'public',
  'symbol',
  'separator',
  'link',
  'button',
  'icon',
  'help',
  'info',
  'too',
  'short',
  'is',
  'has',
  'invalid',
  'missing',
  'required',
  'mismatch',
  'cookie',
  'permission',
  'csrf',
  'design',
  'color',
  'syntax',
  'usage',
  'encoding',
  'version',
  'status',
  'code',
  'manager',
  'service',
  'module',
  'store',
  'template',
  'tooltip',
  'success',
  'failed',
  'failure',
  'test',
  'old',
  'cancel',
  'submit',
  'desc',
  'mode',
  'hash',
  'example',
  'sample',
  'mock',
  'fake',
  'dummy',
  'types',
  'i18n',
  'translation',
  'command',
  'option',
  'category',
  'autocomplete',
  'address',
  'method',
  'locale',
  'lang',
  'constant',
  'config_key',
  'injection',
  'inject',
]);

export function isSecretName(name: string): boolean {
  const words = wordsOf(name);
  const [last = '', previous = ''] = words.toReversed();
  if (words.some((word) => ABOUT.has(word)) || words.length === 0) {
    return false;
  }
  const isKey = last === 'key' && (KEY_PREFIX.has(previous) || words.some((word) => SECRET_WORDS.has(word)));
  return (
    isKey || words.some((word) => SECRET_WORDS.has(word)) || /apikey|secretkey|accesskey/.test(words.join(''))
  );
}

export function entropy(text: string): number {
  const counts = new Map<string, number>();
  for (const character of text) {
    counts.set(character, (counts.get(character) ?? 0) + 1);
  }
  return [...counts.values()].reduce(
    (sum, count) => sum - (count / text.length) * Math.log2(count / text.length),
    0,
  );
}

/** What kind of credential a text is by its format alone; undefined for ordinary text. */
export function knownFormat(text: string): string | undefined {
  if (text.length < 16 || isPlaceholder(text.slice(0, 200))) {
    return undefined;
  }
  const format = FORMATS.find(([, pattern]) => pattern.test(text.slice(0, 400)));
  return format?.[0];
}

/** The password in `protocol://user:password@host`, unless it stands for one. */
export function passwordInUrl(text: string): string | undefined {
  const password = URL_WITH_PASSWORD.exec(text.slice(0, 2_000))?.[1];
  return password &&
    !/[[\]{}<>$]/.test(password) &&
    !isPlaceholder(password) &&
    !WEAK_WORD.test(password) &&
    !/localhost|127\.0\.0\.1|example\./.test(text)
    ? password
    : undefined;
}

/** True for a text that would do as the value of something called a password or key. */
export function looksSecret(text: string, name: string): boolean {
  const shortest = /passw|pwd/i.test(name) && /\d/.test(text) ? 4 : 6;
  if (text.length < shortest || text.length > 500 || isPlaceholder(text) || WEAK_WORD.test(text)) {
    return false;
  }
  // Prose, paths, markup, identifiers with dots or colons and constants in capitals are names of things.
  if (
    /\s/.test(text.trim()) ||
    /^(?:\/|\.{1,2}\/|https?:|#|\.|--|@)/.test(text) ||
    /^[A-Z][A-Z_]+$/.test(text)
  ) {
    return false;
  }
  if (/^[a-z]+(?:[./:_-][a-z]+)*$/i.test(text) && !/\d/.test(text)) {
    // Only words: a passphrase perhaps, when the name leaves no doubt.
    return /secret|passw/i.test(name) && /[-_ ]/.test(text) && text.length >= 12 && !/[./:]/.test(text);
  }
  if (shortest === 4) {
    return true;
  }
  const hasMix = /\d/.test(text) && /[a-z]/i.test(text);
  return hasMix || /[^\w]/.test(text) || entropy(text) >= 3;
}

/** Enough of a secret to find it in the source, and no more. */
export function masked(secret: string): string {
  const shown = secret.length >= 16 ? 4 : secret.length >= 8 ? 2 : 0;
  return `${secret.slice(0, shown).replace(/\s/g, ' ')}${'*'.repeat(6)} (${secret.length} characters)`;
}

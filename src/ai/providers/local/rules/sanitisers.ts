import { constantText } from './constants.js';
import { children, type NodePath } from './syntax.js';
import type { Danger } from './trace.js';

type Harmless = readonly Danger[] | 'everything';

/** Functions by resolved name or, where they start with a dot, by method; the first match counts. */
const BY_NAME: readonly (readonly [RegExp, Harmless])[] = [
  [/^(?:parseInt|parseFloat|Number|BigInt|Boolean|Date|Symbol|isNaN|isFinite)(?:\.\w+)?$/, 'everything'],
  [/^(?:Math|Number|Date|performance)\./, 'everything'],
  [/^crypto\.(?:randomUUID|randomBytes|createHash|createHmac|scryptSync|pbkdf2Sync)/, 'everything'],
  [/(?:^|\.)(?:digest|hexdigest)$|^(?:bcrypt|bcryptjs|argon2)\.\w+$/, 'everything'],
  [/^(?:String)$/, ['nosql', 'object']],
  [/^encodeURIComponent$/, ['markup', 'redirect', 'request', 'path', 'header', 'ldap', 'nosql', 'object']],
  [/^encodeURI$/, ['markup', 'header', 'nosql', 'object']],
  [/^path\.(?:posix\.|win32\.)?basename$/, ['path', 'nosql', 'object']],
  [/^path\.(?:posix\.|win32\.)?(?:extname)$/, ['path', 'nosql', 'object']],
  [/(?:^|[._])(?:DOMPurify|dompurify|isomorphic-dompurify|purify|createDOMPurify\(\))(?:\.\w+)?\.?sanitize$/, ['markup']],
  [/^(?:sanitize-html|xss|he|html-entities|escape-html|entities|striptags|insane|marked-safe)(?:\.\w+)*$/, ['markup']],
  [/^(?:validator|lodash|Handlebars|handlebars|mustache|Mustache|_)\.(?:escape|escapeExpression|Utils\.escapeExpression)$/, ['markup']],
  [/(?:^|\.)(?:escapeHTML|escapeHtml|escape_html|htmlEscape|encodeHTML|encodeHtml|htmlEncode|htmlspecialchars|escapeXml|escapeMarkup|stripTags|sanitizeHTML|sanitizeHtml|sanitiseHtml|encodeForHTML|esc|escHtml|escapeText)$/, ['markup']],
  [/(?:^|\.)(?:escapeRegExp|escapeRegex|escapeStringRegexp|escape-string-regexp|regexEscape|quoteRegex)$|^escape-string-regexp$/, ['regex']],
  [/^(?:mysql2?|sqlstring|pg-format|pg|connection|pool|db|conn|client|sequelize)(?:\.\w+\(\))*\.(?:escape|escapeId|format|escapeLiteral|escapeIdentifier)$/, ['sql']],
  [/(?:^|\.)(?:escapeLiteral|escapeIdentifier|escapeId|sqlEscape|escapeSql|quoteIdentifier|quoteLiteral|mysql_real_escape_string)$|^pg-format$/, ['sql']],
  [/^(?:shell-quote\.quote|shell-escape|shellescape|shellEscape|puka\.sh)$|(?:^|\.)(?:shellQuote|shellEscape|escapeShell|escapeShellArg|quoteShell)$/, ['command']],
  [/^(?:express-mongo-sanitize|mongo-sanitize)(?:\.\w+)?$|(?:^|\.)ObjectId(?:\.\w+)?$|(?:^|\.)ObjectID$/, ['nosql', 'object']],
  [/(?:^|\.)(?:ldapEscape|escapeLdap|escapeFilter|escapeDN)$|^ldap-escape\./, ['ldap']],
  [/(?:^|\.)(?:escapeXpath|xpathEscape)$/, ['xpath']],
  [/^(?:sanitize-filename|sanitizeFilename|filenamify|slugify|slug)$|(?:^|\.)(?:sanitizeFilename|sanitizeFileName|sanitizePath|safeJoin|secureJoin|safePath|slugify)$/, ['path', 'command', 'markup']],
  // A function whose name promises to clean is believed: what it does is in a file that is not here.
  [/(?:^|\.)(?:sanitize|sanitise|purify|cleanInput|escapeInput|safe|whitelist|allowlist)(?:[A-Z]\w*)?$/, 'everything'],
  [/(?:^|\.)(?:assertValid|validate|ensureAllowed|pickAllowed|assertSafe|resolveSafe|toSafe)(?:[A-Z]\w*)?$/, 'everything'],
];

/** What a call's result cannot harm any more, by the name of what is called. */
export function harmlessAfter(resolved: string, method: string): Harmless {
  for (const [pattern, harmless] of BY_NAME) {
    if (pattern.test(resolved) || (method !== '' && resolved === '' && pattern.test(method))) {
      return harmless;
    }
  }
  return [];
}

/** What a text cannot harm once the matches of a pattern have been taken out of it. */
export function harmlessAfterReplace(call: NodePath): Harmless {
  const [what, by] = children(call, 'arguments');
  if (what?.node.type !== 'RegExpLiteral') {
    return [];
  }
  const { pattern, flags } = what.node;
  const replacement = constantText(by);
  if (/^\[\^[^\]]*\][+*]?$/.test(pattern) && flags.includes('g') && !/[\\][SDW]|<|\$|`/.test(pattern)) {
    return /\.|\/|\\s| /.test(pattern.replace('\\w', '')) ? ['markup', 'sql', 'code', 'nosql', 'object'] : 'everything';
  }
  if (/^\^\(?.*\\\.\\\./.test(pattern) || (/^\\\.\\\.$|^\\\.\{2,\}$|^\[\\?\/.*\]$/.test(pattern) && flags.includes('g'))) {
    return ['path'];
  }
  if (/</.test(pattern) && (flags.includes('g') || replacement === undefined)) {
    return ['markup'];
  }
  if (/\$\{?&|\\\\\$&/.test(replacement ?? '') && /\*.*\+|\+.*\*/.test(pattern)) {
    return ['regex'];
  }
  return /^'$|\['/.test(pattern) && flags.includes('g') ? ['sql', 'xpath'] : [];
}

/** Whether a pattern that a text must match leaves nothing harmful in it. */
export function isStrictPattern(pattern: string): boolean {
  return pattern.startsWith('^') && pattern.endsWith('$') && !/\.[*+]|\[\^|\\[SDW]/.test(pattern);
}

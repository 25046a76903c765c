import { constantText } from './constants.js';
import { anyName } from './name-pattern.js';
import { children, type NodePath } from './syntax.js';
import type { Danger } from './trace.js';

type Harmless = readonly Danger[] | 'everything';

const TEXT_ONLY: readonly Danger[] = ['nosql', 'object'];

/** Functions by their names; the first match counts. */
const BY_NAME: readonly (readonly [RegExp, Harmless])[] = [
  [anyName('{parseInt,parseFloat,BigInt,Boolean,Symbol,isNaN,isFinite}{,.*}'), 'everything'],
  [anyName('{Math,performance}.* {Number,Date}{,.**}'), 'everything'],
  [anyName('crypto.{randomUUID,randomBytes,createHash,createHmac,scryptSync,pbkdf2Sync}**'), 'everything'],
  [anyName('.digest .hexdigest {bcrypt,bcryptjs,argon2}.*'), 'everything'],
  [anyName('String'), TEXT_ONLY],
  [anyName('encodeURIComponent'), ['markup', 'redirect', 'request', 'path', 'header', 'ldap', ...TEXT_ONLY]],
  [anyName('encodeURI'), ['markup', 'header', ...TEXT_ONLY]],
  [anyName('path.{posix.,win32.,}{basename,extname}'), ['path', ...TEXT_ONLY]],
  [anyName('.{DOMPurify,dompurify,isomorphic-dompurify,purify,createDOMPurify()}.{*.,}sanitize'), ['markup']],
  [anyName('{sanitize-html,xss,he,html-entities,escape-html,entities,striptags,insane}{,.**}'), ['markup']],
  [
    anyName('{validator,lodash,mustache,Mustache}.escape {h,H}andlebars.{Utils.,}escapeExpression'),
    ['markup'],
  ],
  [
    anyName(`
      .{escape,encode,sanitize,sanitise}{HTML,Html} .escape_html .{html,HTML}{Escape,Encode} .htmlspecialchars
      .escapeXml .escapeMarkup .stripTags .encodeForHTML .esc .escHtml .escapeText
    `),
    ['markup'],
  ],
  [anyName('.escapeRegExp .escapeRegex .escapeStringRegexp .escape-string-regexp .quoteRegex'), ['regex']],
  [
    anyName(`
      {mysql,mysql2,sqlstring,pg,connection,pool,db,conn,client,sequelize}{.*(),}.{escape,escapeId,format}
      {mysql,mysql2}.*().{escape,escapeId,format} pg-format .escape{Literal,Identifier,Id,Sql} .sqlEscape
      .quote{Identifier,Literal} .mysql_real_escape_string
    `),
    ['sql'],
  ],
  [
    anyName(
      'shell-quote.quote shell-escape puka.sh .{shell{Escape,Quote,escape},escapeShell{,Arg},quoteShell}',
    ),
    ['command'],
  ],
  [anyName('{express-,}mongo-sanitize{,.*} .ObjectId{,.*} .ObjectID'), TEXT_ONLY],
  [anyName('.{ldapEscape,escapeLdap,escapeFilter,escapeDN} ldap-escape.*'), ['ldap']],
  [anyName('.escapeXpath .xpathEscape'), ['xpath']],
  [
    anyName(
      'sanitize-filename filenamify slug .slugify .sanitize{Filename,FileName,Path} .{safe,secure}Join .safePath',
    ),
    ['path', 'command', 'markup'],
  ],
  // A function whose name promises to clean is believed: what it does is in a file that is not here.
  [/(?:^|\.)(?:sanitize|sanitise|purify|cleanInput|escapeInput|safe|allowlist)(?:[A-Z]\w*)?$/, 'everything'],
  [
    /(?:^|\.)(?:assertValid|validate|ensureAllowed|pickAllowed|assertSafe|resolveSafe|toSafe)(?:[A-Z]\w*)?$/,
    'everything',
  ],
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
    return /\.|\/|\\s| /.test(pattern.replace('\\w', ''))
      ? ['markup', 'sql', 'code', 'nosql', 'object']
      : 'everything';
  }
  if (
    /^\^\(?.*\\\.\\\./.test(pattern) ||
    (/^\\\.\\\.$|^\\\.\{2,\}$|^\[\\?\/.*\]$/.test(pattern) && flags.includes('g'))
  ) {
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

import type { Severity } from '../../../analysis.js';
import type { FlawName } from './flaws.js';
import type { Channel, Danger, Level } from './trace.js';

/**
 * Calls that must not be given a value from outside. A call is recognised by its resolved name, or by its method
 * together with what its receiver is called.
 */
export interface Sink {
  readonly flaw: FlawName;
  readonly danger: Danger;
  readonly callee?: RegExp;
  readonly method?: RegExp;
  readonly receiver?: RegExp;
  /** Positions that are dangerous; of an object there, only `keys`. */
  readonly args: readonly number[];
  readonly keys?: readonly string[];
  /** Severity for a value that is merely not constant; a remote one is a step higher. */
  readonly base: Severity;
  /** The weakest level that counts, and the one that counts only in a text put together. */
  readonly least: Level;
  readonly leastComposed?: Level;
  /** Channels that do no harm here. */
  readonly exceptChannels?: readonly Channel[];
}

const BROWSER_ONLY: readonly Channel[] = ['browser', 'input'];
const URL_KEYS = ['url', 'uri', 'href', 'host', 'hostname', 'baseURL', 'baseUrl', 'origin'];
const DATABASE =
  /\bdb\b|database|pool|conn|client|knex|sequel|sql|\bpg\b|postgres|prisma|session|manager|repositor|dataSource|entityManager|queryRunner|\btx\b|\btrx\b|transaction|models?\b|em\b|orm/i;

const FILE_METHODS =
  '(?:readFile|readFileSync|writeFile|writeFileSync|appendFile|appendFileSync|createReadStream|createWriteStream|open|openSync|unlink|unlinkSync|rm|rmSync|rmdir|rmdirSync|readdir|readdirSync|mkdir|mkdirSync|stat|statSync|lstat|lstatSync|access|accessSync|exists|existsSync|truncate|chmod|chmodSync|opendir|readJson|readJsonSync|writeJson|outputFile|ensureDir|remove|removeSync|emptyDir|move|rename|renameSync|copyFile|copyFileSync|copy|link|symlink|symlinkSync|cp|cpSync)';

export const SINKS: readonly Sink[] = [
  {
    flaw: 'commandInjection',
    danger: 'command',
    callee: /^(?:child_process\.)?exec(?:Sync)?$|^shelljs\.exec$|^shell\.exec$|^(?:node-cmd|cmd)\.(?:get|run|runSync)$|^execa\.(?:command|execaCommand|commandSync|execaCommandSync|shell|shellSync)$|^Deno\.run$/,
    args: [0],
    base: 'high',
    least: 'dynamic',
  },
  {
    flaw: 'commandInjection',
    danger: 'command',
    callee: /^child_process\.(?:spawn|spawnSync|execFile|execFileSync|fork)$|^cross-spawn(?:\.\w+)?$|^execa(?:\.execa|\.sync)?$|^spawn$|^execFile$/,
    args: [0],
    base: 'high',
    least: 'remote',
  },
  {
    flaw: 'commandInjection',
    danger: 'command',
    method: /^exec(?:Command)?$/,
    receiver: /ssh|\bconn/i,
    args: [0],
    base: 'high',
    least: 'local',
    leastComposed: 'dynamic',
  },
  { flaw: 'evalInjection', danger: 'code', callee: /^(?:eval|execScript|safe-eval|notevil|static-eval)$/, args: [0], base: 'high', least: 'dynamic' },
  { flaw: 'evalInjection', danger: 'code', callee: /^(?:Function|AsyncFunction|GeneratorFunction|Function\(\)\.constructor)$/, args: [0, 1, 2, 3, 4, 5], base: 'high', least: 'dynamic' },
  { flaw: 'evalInjection', danger: 'code', callee: /^(?:setTimeout|setInterval|setImmediate)$/, args: [0], base: 'high', least: 'local', leastComposed: 'dynamic' },
  {
    flaw: 'codeInjection',
    danger: 'code',
    callee: /^vm\.(?:runInNewContext|runInThisContext|runInContext|Script|compileFunction|SourceTextModule|createScript)$|^vm2\.VMScript$|^vm2\.(?:VM|NodeVM)\(\)\.run$|^sandbox(?:js)?(?:\.\w+)?\(\)\.run$|^isolated-vm\..*\.(?:eval|compileScript)$/i,
    args: [0],
    base: 'high',
    least: 'dynamic',
  },
  { flaw: 'codeInjection', danger: 'code', callee: /^require(?:\.resolve)?$/, args: [0], base: 'medium', least: 'remote' },
  { flaw: 'codeInjection', danger: 'code', method: /^(?:evaluate|evaluateOnNewDocument|executeJavaScript|executeScript|insertCSS)$/, receiver: /page|frame|webContents|webview|driver|browser|tab/i, args: [0], base: 'high', least: 'remote', leastComposed: 'local' },
  { flaw: 'pathTraversal', danger: 'path', callee: new RegExp(`^fs\\.(?:promises\\.)?${FILE_METHODS}$`), args: [0], base: 'medium', least: 'remote', exceptChannels: BROWSER_ONLY },
  { flaw: 'pathTraversal', danger: 'path', callee: new RegExp(`^${FILE_METHODS}(?:Sync)$|^(?:Deno|Bun)\\.(?:readFile|readTextFile|writeFile|file|open|remove)$`), args: [0], base: 'medium', least: 'remote', exceptChannels: BROWSER_ONLY },
  { flaw: 'pathTraversal', danger: 'path', callee: /^fs\.(?:promises\.)?(?:rename|renameSync|copyFile|copyFileSync|copy|cp|cpSync|move|link|symlink|symlinkSync)$/, args: [1], base: 'medium', least: 'remote', exceptChannels: BROWSER_ONLY },
  { flaw: 'pathTraversal', danger: 'path', method: /^(?:sendFile|sendfile|download|mv|extractAllTo)$/, args: [0], base: 'medium', least: 'remote', exceptChannels: BROWSER_ONLY },
  { flaw: 'pathTraversal', danger: 'path', method: /^render$/, receiver: /^(?:res|response|reply)\b/, args: [0], base: 'medium', least: 'remote', exceptChannels: BROWSER_ONLY },
  {
    flaw: 'requestForgery',
    danger: 'request',
    callee: /^(?:fetch|axios|got|request|request-promise(?:-native)?|needle|superagent|ky|phin|bent|undici|urllib|node-libcurl|cross-fetch|rp|unirest)(?:\.(?:get|post|put|patch|delete|del|head|options|request|fetch|stream|curl|default|getUri|extend|create\(\)))*(?:\.(?:get|post|put|patch|delete|head|request|options))?$/,
    args: [0],
    keys: URL_KEYS,
    base: 'medium',
    least: 'remote',
    exceptChannels: BROWSER_ONLY,
  },
  { flaw: 'requestForgery', danger: 'request', callee: /^needle$/, args: [1], base: 'medium', least: 'remote', exceptChannels: BROWSER_ONLY },
  { flaw: 'requestForgery', danger: 'request', callee: /^(?:https?|http2|follow-redirects\.https?)\.(?:get|request|connect)$|^net\.(?:connect|createConnection)$|^(?:ws|WebSocket)$|^(?:wkhtmltopdf|wkhtmltoimage\.generate|dns\.(?:promises\.)?(?:lookup|resolve))$/, args: [0], keys: [...URL_KEYS, 'path'], base: 'medium', least: 'remote', exceptChannels: BROWSER_ONLY },
  { flaw: 'requestForgery', danger: 'request', method: /^(?:goto|loadURL|setContent|openUrl)$/, args: [0], base: 'medium', least: 'remote', exceptChannels: BROWSER_ONLY },
  { flaw: 'requestForgery', danger: 'request', method: /^(?:get|post|put|patch|delete|head|request|axiosRef)$/, receiver: /http(?:Service|Client)?\b|axios|fetcher|\bgot\b/i, args: [0], keys: URL_KEYS, base: 'medium', least: 'remote', exceptChannels: BROWSER_ONLY },
  { flaw: 'openRedirect', danger: 'redirect', method: /^redirect$/, args: [0, 1], base: 'low', least: 'remote', exceptChannels: BROWSER_ONLY },
  { flaw: 'openRedirect', danger: 'redirect', method: /^location$/, receiver: /^(?:res|response|reply)\b/, args: [0], base: 'low', least: 'remote' },
  { flaw: 'openRedirect', danger: 'redirect', callee: /^(?:document\.)?location\.(?:assign|replace)$|^open$|^NextResponse\.redirect$|^redirect$/, args: [0], base: 'low', least: 'remote' },
  { flaw: 'openRedirect', danger: 'redirect', callee: /^(?:electron\.)?shell\.openExternal$/, args: [0], base: 'medium', least: 'remote' },
  { flaw: 'regexInjection', danger: 'regex', callee: /^RegExp$/, args: [0], base: 'low', least: 'remote' },
  { flaw: 'templateInjection', danger: 'template', callee: /^(?:pug|jade)\.(?:render|compile|compileClient)$|^ejs\.(?:render|compile)$|^(?:[Hh]andlebars|hbs|Hogan|hogan\.js)\.(?:compile|precompile)$|^nunjucks\.(?:renderString|compile|Template)$|^nunjucks\..*\.renderString$|^lodash\.template$|^(?:mustache|Mustache)\.(?:render|to_html)$|^(?:dot|doT|dust|eta|art-template|twig|swig|velocityjs|liquidjs|ECT|squirrelly)\.(?:template|compile|render|renderString|twig|renderFile)$|^(?:liquidjs\.Liquid|eta\.Eta)\(\)\.\w+$/, args: [0], base: 'high', least: 'remote' },
  { flaw: 'ldapInjection', danger: 'ldap', method: /^search(?:Async)?$/, receiver: /ldap|client|\bad\b/i, args: [0, 1], keys: ['filter'], base: 'medium', least: 'local', leastComposed: 'dynamic' },
  { flaw: 'xpathInjection', danger: 'xpath', callee: /^xpath\.(?:select1?|evaluate|parse|useNamespaces\(\))$/, args: [0], base: 'medium', least: 'local', leastComposed: 'dynamic' },
  { flaw: 'xpathInjection', danger: 'xpath', method: /^(?:evaluate|find|get|selectNodes)$/, receiver: /xpath|^doc(?:ument)?\b|xml/i, args: [0], base: 'medium', least: 'remote' },
  { flaw: 'deserialisation', danger: 'code', callee: /(?:^|\.)(?:unserialize|deepDeserialize)$|^(?:node-serialize|serialize|funcster|serialize-to-js|cryo|serialijse)\.(?:unserialize|deserialize|deepDeserialize|parse)$/, args: [0], base: 'high', least: 'dynamic' },
  { flaw: 'deserialisation', danger: 'code', callee: /^v8\.deserialize$|^js-yaml\.(?:load|loadAll)$|^yaml\.(?:load|loadAll)$|^(?:msgpack|bson)\.deserialize$/, args: [0], base: 'medium', least: 'remote' },
  { flaw: 'deserialisation', danger: 'code', callee: /(?:^|\.)unsafeLoad(?:All)?$/, args: [0], base: 'medium', least: 'dynamic' },
  { flaw: 'externalEntities', danger: 'code', callee: /^(?:node-expat|expat)\.Parser\(\)\.(?:parse|write)$/, args: [0], base: 'medium', least: 'remote' },
  { flaw: 'crossSiteScripting', danger: 'markup', callee: /^document\.(?:write|writeln)$/, args: [0, 1], base: 'medium', least: 'local', leastComposed: 'dynamic' },
  { flaw: 'crossSiteScripting', danger: 'markup', method: /^insertAdjacentHTML$/, args: [1], base: 'medium', least: 'local', leastComposed: 'dynamic' },
  { flaw: 'crossSiteScripting', danger: 'markup', method: /^(?:createContextualFragment|setHTMLUnsafe|parseHTMLUnsafe)$/, args: [0], base: 'medium', least: 'local', leastComposed: 'dynamic' },
  { flaw: 'crossSiteScripting', danger: 'markup', method: /^bypassSecurityTrust(?:Html|Script|Url|ResourceUrl|Style)$/, args: [0], base: 'medium', least: 'dynamic' },
  { flaw: 'crossSiteScripting', danger: 'markup', method: /^(?:html|append|prepend|after|before|replaceWith|wrap|wrapAll|appendTo|prependTo)$/, receiver: /^\$|\$\(\)|jquery|^\w*\.\$/i, args: [0], base: 'medium', least: 'local', leastComposed: 'dynamic' },
  { flaw: 'crossSiteScripting', danger: 'markup', callee: /^\$$/, args: [0], base: 'medium', least: 'remote' },
];

export const SQL_METHODS =
  /^(?:query|execute|exec|raw|run|all|get|each|prepare|unsafe|queryArray|queryObject|\$queryRawUnsafe|\$executeRawUnsafe|queryRawUnsafe|whereRaw|orWhereRaw|orderByRaw|havingRaw|selectRaw|joinRaw|fromRaw|groupByRaw|literal|queryAsync|executeSql|many|one|none|any|oneOrNone|manyOrNone|multi|result|batch|where|andWhere|orWhere|executeQuery|multiQuery|request)$/;
/** Methods that only ever take SQL. */
export const SURE_SQL_METHODS = /^(?:query|execute|raw|unsafe|\$queryRawUnsafe|\$executeRawUnsafe|whereRaw|orWhereRaw|orderByRaw|havingRaw|selectRaw|joinRaw|literal|executeSql|queryAsync)$/;
export const SQL_RECEIVER = DATABASE;

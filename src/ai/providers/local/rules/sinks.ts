import type { Severity } from '../../../analysis.js';
import type { FlawName } from './flaws.js';
import { anyName } from './name-pattern.js';
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

const FIRST = [0];
const PAGE: readonly Channel[] = ['browser', 'input'];
const RESPONSE = /^(?:res|response|reply)\b/;
const URL_KEYS = ['url', 'uri', 'href', 'host', 'hostname', 'baseURL', 'baseUrl', 'origin'];

/** What happens on a server only, and only when a client chooses the value. */
const FROM_CLIENT = { base: 'medium', least: 'remote', exceptChannels: PAGE } as const;
/** What is bad enough with any value that is not constant. */
const ANY_VALUE = { base: 'high', least: 'dynamic' } as const;
/** What is usual with a whole value from the caller, and suspicious with one put into a text. */
const PUT_TOGETHER = { base: 'medium', least: 'local', leastComposed: 'dynamic' } as const;

const COMMAND = { flaw: 'commandInjection', danger: 'command' } as const;
const EVAL = { flaw: 'evalInjection', danger: 'code' } as const;
const CODE = { flaw: 'codeInjection', danger: 'code' } as const;
const PATH = { flaw: 'pathTraversal', danger: 'path' } as const;
const REQUEST = { flaw: 'requestForgery', danger: 'request' } as const;
const REDIRECT = { flaw: 'openRedirect', danger: 'redirect' } as const;
const TEMPLATE = { flaw: 'templateInjection', danger: 'template' } as const;
const OBJECTS = { flaw: 'deserialisation', danger: 'code' } as const;
const MARKUP = { flaw: 'crossSiteScripting', danger: 'markup' } as const;

const SHELL_CALL = anyName(`
  {child_process.,}exec{,Sync}  shelljs.exec  shell.exec  {node-cmd,cmd}.{get,run,runSync}  Deno.run
  execa.{command,commandSync,execaCommand,execaCommandSync,shell,shellSync}
`);
const PROCESS_CALL = anyName(`
  child_process.{spawn,execFile}{,Sync}  child_process.fork  cross-spawn{,.*}  execa{,.execa,.sync}
  spawn  execFile
`);
const VM_CALL = anyName(`
  vm.{runInNewContext,runInThisContext,runInContext,Script,compileFunction,SourceTextModule,createScript}
  vm2.VMScript  vm2.{VM,NodeVM}().run  sandbox{,js}{,.*}().run  {s,S}andbox().run
  isolated-vm.**.{eval,compileScript}
`);
const FILE_CALL = anyName(`
  fs.{promises.,}{readFile,writeFile,appendFile,open,unlink,rm,rmdir,readdir,mkdir,stat,lstat,access,exists}{,Sync}
  fs.{promises.,}{truncate,chmod,rename,copyFile,link,symlink,cp,opendir,remove,move,copy,emptyDir}{,Sync}
  fs.{createReadStream,createWriteStream,readJson,readJsonSync,writeJson,outputFile,ensureDir}
  {readFile,writeFile,appendFile,unlink,readdir,rm,copyFile,rename}Sync
  {Deno,Bun}.{readFile,readTextFile,writeFile,file,open,remove}
`);
const HTTP_CALL = anyName(`
  {fetch,axios,got,request,needle,superagent,ky,phin,bent,undici,urllib,rp,unirest}
  {fetch,axios,got,request,needle,superagent,ky,undici,urllib,unirest,request-promise,request-promise-native}.*
  {axios,got,ky}.{create,extend,instance}(){,.*}  request-promise  request-promise-native  node-libcurl.curl.get
`);
const SOCKET_CALL = anyName(`
  {http,https,http2}.{get,request,connect}  follow-redirects.{http,https}.{get,request}
  net.{connect,createConnection}  ws  WebSocket  wkhtmltopdf  wkhtmltoimage.generate
  dns.{promises.,}{lookup,resolve}
`);
const TEMPLATE_CALL = anyName(`
  {pug,jade}.{render,compile,compileClient}  ejs.{render,compile}  {handlebars,Handlebars,hbs}.{compile,precompile}
  {Hogan,hogan.js}.compile  nunjucks.{renderString,compile,Template}  nunjucks.**.renderString  lodash.template
  {mustache,Mustache}.{render,to_html}  {dot,doT}.{template,compile}  {twig,swig,velocityjs,squirrelly,eta}.render
  {twig.twig,swig.compile,dust.compile,dust.renderSource,art-template.compile,art-template.render}
  {liquidjs.Liquid,eta.Eta}().*
`);

export const SINKS: readonly Sink[] = [
  { ...COMMAND, ...ANY_VALUE, callee: SHELL_CALL, args: FIRST },
  { ...COMMAND, base: 'high', least: 'remote', callee: PROCESS_CALL, args: FIRST },
  {
    ...COMMAND,
    ...PUT_TOGETHER,
    base: 'high',
    method: /^exec(?:Command)?$/,
    receiver: /ssh|\bconn/i,
    args: FIRST,
  },
  { ...EVAL, ...ANY_VALUE, callee: anyName('eval execScript safe-eval notevil static-eval'), args: FIRST },
  {
    ...EVAL,
    ...ANY_VALUE,
    callee: anyName('{,Async,Generator}Function Function().constructor'),
    args: [0, 1, 2, 3, 4, 5],
  },
  {
    ...EVAL,
    ...PUT_TOGETHER,
    base: 'high',
    callee: anyName('setTimeout setInterval setImmediate'),
    args: FIRST,
  },
  { ...CODE, ...ANY_VALUE, callee: VM_CALL, args: FIRST },
  { ...CODE, base: 'medium', least: 'remote', callee: anyName('require{,.resolve}'), args: FIRST },
  {
    ...CODE,
    base: 'high',
    least: 'remote',
    leastComposed: 'local',
    method: anyName('evaluate evaluateOnNewDocument executeJavaScript executeScript insertCSS'),
    receiver: /page|frame|webContents|webview|driver|browser|tab/i,
    args: FIRST,
  },

  { ...PATH, ...FROM_CLIENT, callee: FILE_CALL, args: FIRST },
  {
    ...PATH,
    ...FROM_CLIENT,
    callee: anyName('fs.{promises.,}{rename,copyFile,copy,cp,move,link,symlink}{,Sync}'),
    args: [1],
  },
  { ...PATH, ...FROM_CLIENT, method: anyName('sendFile sendfile download mv extractAllTo'), args: FIRST },
  { ...PATH, ...FROM_CLIENT, method: /^render$/, receiver: RESPONSE, args: FIRST },

  { ...REQUEST, ...FROM_CLIENT, callee: HTTP_CALL, args: FIRST, keys: URL_KEYS },
  { ...REQUEST, ...FROM_CLIENT, callee: /^needle$/, args: [1] },
  { ...REQUEST, ...FROM_CLIENT, callee: SOCKET_CALL, args: FIRST, keys: [...URL_KEYS, 'path'] },
  { ...REQUEST, ...FROM_CLIENT, method: anyName('goto loadURL setContent openUrl'), args: FIRST },
  {
    ...REQUEST,
    ...FROM_CLIENT,
    method: anyName('get post put patch delete head request'),
    receiver: /http(?:Service|Client)?\b|axios|fetcher|\bgot\b/i,
    args: FIRST,
    keys: URL_KEYS,
  },

  { ...REDIRECT, ...FROM_CLIENT, base: 'low', method: /^redirect$/, args: [0, 1] },
  { ...REDIRECT, ...FROM_CLIENT, base: 'low', method: /^location$/, receiver: RESPONSE, args: FIRST },
  {
    ...REDIRECT,
    base: 'low',
    least: 'remote',
    callee: anyName('{document.,}location.{assign,replace} open redirect NextResponse.redirect'),
    args: FIRST,
  },
  {
    ...REDIRECT,
    base: 'medium',
    least: 'remote',
    callee: anyName('{electron.,}shell.openExternal'),
    args: FIRST,
  },

  { flaw: 'regexInjection', danger: 'regex', base: 'low', least: 'remote', callee: /^RegExp$/, args: FIRST },
  { ...TEMPLATE, base: 'high', least: 'remote', callee: TEMPLATE_CALL, args: FIRST },
  {
    flaw: 'ldapInjection',
    danger: 'ldap',
    ...PUT_TOGETHER,
    method: anyName('search{,Async}'),
    receiver: /ldap|client|\bad\b/i,
    args: [0, 1],
    keys: ['filter'],
  },
  {
    flaw: 'xpathInjection',
    danger: 'xpath',
    ...PUT_TOGETHER,
    callee: anyName('xpath.{select,select1,evaluate,parse}'),
    args: FIRST,
  },
  {
    flaw: 'xpathInjection',
    danger: 'xpath',
    base: 'medium',
    least: 'remote',
    method: anyName('evaluate find get selectNodes'),
    receiver: /xpath|^doc(?:ument)?\b|xml/i,
    args: FIRST,
  },

  { ...OBJECTS, ...ANY_VALUE, callee: anyName('.unserialize .deepDeserialize'), args: FIRST },
  {
    ...OBJECTS,
    ...ANY_VALUE,
    callee: anyName('{node-serialize,serialize,serialize-to-js,serialijse}.deserialize cryo.parse'),
    args: FIRST,
  },
  {
    ...OBJECTS,
    base: 'medium',
    least: 'remote',
    callee: anyName('v8.deserialize {js-yaml,yaml}.{load,loadAll} {msgpack,bson}.deserialize'),
    args: FIRST,
  },
  { ...OBJECTS, base: 'medium', least: 'dynamic', callee: anyName('.unsafeLoad{,All}'), args: FIRST },
  {
    flaw: 'externalEntities',
    danger: 'code',
    base: 'medium',
    least: 'remote',
    callee: anyName('{node-expat,expat}.Parser().{parse,write}'),
    args: FIRST,
  },

  { ...MARKUP, ...PUT_TOGETHER, callee: anyName('document.{write,writeln}'), args: [0, 1] },
  { ...MARKUP, ...PUT_TOGETHER, method: /^insertAdjacentHTML$/, args: [1] },
  {
    ...MARKUP,
    ...PUT_TOGETHER,
    method: anyName('createContextualFragment setHTMLUnsafe parseHTMLUnsafe'),
    args: FIRST,
  },
  {
    ...MARKUP,
    base: 'medium',
    least: 'dynamic',
    method: anyName('bypassSecurityTrust{Html,Script,Url,ResourceUrl,Style}'),
    args: FIRST,
  },
  {
    ...MARKUP,
    ...PUT_TOGETHER,
    method: anyName('html append prepend after before replaceWith wrap wrapAll appendTo prependTo'),
    receiver: /^\$|\$\(\)|jquery|^\w*\.\$/i,
    args: FIRST,
  },
  { ...MARKUP, base: 'medium', least: 'remote', callee: /^\$$/, args: FIRST },
];

/** Methods that take SQL among other things: the text decides. */
export const SQL_METHODS = anyName(`
  query execute exec raw run all get each prepare unsafe literal queryAsync executeSql executeQuery multiQuery
  queryArray queryObject {$,}queryRawUnsafe $executeRawUnsafe {,or}{w,W}hereRaw {orderBy,having,select}Raw
  {join,from,groupBy}Raw many one none any oneOrNone manyOrNone multi result batch where andWhere orWhere request
`);
/** Methods that only ever take SQL. */
export const SURE_SQL_METHODS = anyName(`
  query execute raw unsafe literal queryAsync executeSql $queryRawUnsafe $executeRawUnsafe {,or}{w,W}hereRaw
  {orderBy,having,select,join}Raw
`);
const DATABASE_WORDS = ['database', 'pool', 'conn', 'client', 'knex', 'sequel', 'sql', 'postgres', 'prisma'];
const DATABASE_OBJECTS = [
  'session',
  'manager',
  'repositor',
  'dataSource',
  'queryRunner',
  'transaction',
  'orm',
];
export const SQL_RECEIVER = new RegExp(
  `\\b(?:db|pg|tx|trx|em|models?)\\b|${[...DATABASE_WORDS, ...DATABASE_OBJECTS].join('|')}`,
  'i',
);

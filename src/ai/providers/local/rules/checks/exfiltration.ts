import { anyName } from '../name-pattern.js';
import { constantText, skeleton } from '../constants.js';
import { written } from '../names.js';
import type { Rule, RuleContext } from '../rule.js';
import { child, children, type NodePath } from '../syntax.js';
import type { Trace } from '../trace.js';

const SENDER = anyName(`
  {fetch,axios,got,needle,superagent,request,ky,undici}{,.post,.put,.patch,.request,.get,.fetch}
  $.{post,ajax,get} navigator.sendBeacon {http,https,net,tls,dgram,ws,follow-redirects.https}.**{write,end,send}
  {http,https,net,tls,follow-redirects.https}.{get,request} {ws,WebSocket,XMLHttpRequest}().send
  dns.{lookup,resolve*}
`);
const FOREIGN = /^(?:https?:|wss?:)?\/\/[^/\s]+/i;
const BROWSER_SECRET = /^(?:document\.cookie|localStorage|sessionStorage)\b/;

function privateIn(context: RuleContext, path: NodePath | undefined): Trace | undefined {
  return context.taint.of(path).find((each) => each.level === 'private' || BROWSER_SECRET.test(each.origin));
}

/** Where the data is collected says more than where it is sent, often some lines later. */
function report(context: RuleContext, where: NodePath, found: Trace): void {
  context.report('exfiltration', found.line > 0 ? found.line : where, {
    severity: 'high',
    confidence: 'medium',
    detail: `\`${found.origin}\` is sent over the network`,
  });
}

function checkSending(context: RuleContext, call: NodePath): void {
  const { names } = context;
  const name =
    names.callee(call) ||
    `${names.receiver(call) ? names.text(names.receiver(call)) : ''}.${names.method(call)}`;
  if (!SENDER.test(name)) {
    return;
  }
  const args = children(call, 'arguments');
  const found = args.map((each) => privateIn(context, each)).find((each) => each !== undefined);
  if (!found) {
    return;
  }
  // A page may send its own cookies home: only a full address counts.
  const isForeign = args.some(
    (each) => FOREIGN.test(skeleton(each)) || FOREIGN.test(constantText(each) ?? ''),
  );
  if (!BROWSER_SECRET.test(found.origin) || isForeign) {
    report(context, call, found);
  }
}

function checkBeacon(context: RuleContext, assignment: NodePath): void {
  const left = child(assignment, 'left');
  const right = child(assignment, 'right');
  if (
    !left ||
    !right ||
    !/\.(?:src|href)$|(?:^|\.)location$/.test(written(left)) ||
    !FOREIGN.test(skeleton(right))
  ) {
    return;
  }
  const found = privateIn(context, right);
  if (found) {
    report(context, assignment, found);
  }
}

const NET_MODULE =
  /\bnet\s*\.\s*(?:Socket|connect|createConnection)|(?:require\(\s*|from\s+)['"](?:node:)?net['"]/;

/** A shell with its input and output on a socket. */
function checkShell(context: RuleContext, call: NodePath): void {
  const callee = context.names.callee(call);
  const [program] = children(call, 'arguments');
  const isShell = /^(?:\/(?:usr\/)?bin\/)?(?:sh|bash|zsh)$|^(?:cmd|powershell)(?:\.exe)?$/i.test(
    constantText(program) ?? skeleton(program ?? call),
  );
  if (!/^child_process\.spawn$/.test(callee) || !isShell) {
    return;
  }
  const connects = NET_MODULE.test(context.source);
  const pipes = /\.(?:stdin|stdout)\b|\.pipe\(/.test(context.source);
  if (connects && pipes) {
    context.report('reverseShell', call, {
      severity: 'critical',
      confidence: 'medium',
      detail: 'a shell is started and piped to a socket',
    });
  }
}

/** Private data sent away, and shells for someone else. */
export const exfiltration: Rule = (context) => ({
  CallExpression(path) {
    checkSending(context, path);
    checkShell(context, path);
  },
  AssignmentExpression: (path) => checkBeacon(context, path),
});

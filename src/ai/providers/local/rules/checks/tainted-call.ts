import { definition } from '../constants.js';
import { confidenceIn, provenance, severityFor, type Rule, type RuleContext } from '../rule.js';
import { SINKS, type Sink } from '../sinks.js';
import { child, children, isFunction, objectProperty, type NodePath } from '../syntax.js';
import { threat, type Trace } from '../trace.js';

const RANK = { remote: 3, local: 2, dynamic: 1, private: 0 } as const;

/** The outside value in an argument that this sink must not be given. */
function dangerIn(context: RuleContext, sink: Sink, argument: NodePath): Trace | undefined {
  const value = definition(argument);
  if (isFunction(value)) {
    return undefined;
  }
  const parts =
    sink.keys && value.node.type === 'ObjectExpression'
      ? sink.keys.map((key) => objectProperty(value, key)).filter((each) => each !== undefined)
      : [argument];
  const traces = parts
    .map((part) => {
      const taint = context.taint.of(part).filter((each) => !sink.exceptChannels?.includes(each.channel));
      return threat(taint, sink.danger);
    })
    .filter((each) => each !== undefined);
  return traces.find((each) => {
    const least = each.composed ? (sink.leastComposed ?? sink.least) : sink.least;
    return RANK[each.level] >= RANK[least];
  });
}

function matches(sink: Sink, callee: string, method: string, receiver: () => string): boolean {
  if (sink.callee) {
    return sink.callee.test(callee);
  }
  return Boolean(sink.method?.test(method)) && (!sink.receiver || sink.receiver.test(receiver()));
}

/** `sendFile(name, { root })` refuses to leave the root by itself. */
function hasRoot(call: NodePath, method: string): boolean {
  return (
    /^(?:sendFile|sendfile|download)$/.test(method) &&
    children(call, 'arguments').some((each) => objectProperty(definition(each), 'root'))
  );
}

/** A bare value given to a shell is the caller's whole command line: less certain than a part of one. */
function baseFor(sink: Sink, trace: Trace): Sink['base'] {
  return sink.flaw === 'commandInjection' && trace.level === 'dynamic' && !trace.composed
    ? 'medium'
    : sink.base;
}

export const taintedCall: Rule = (context) => {
  const { names } = context;
  const check = (call: NodePath): void => {
    const callee = names.callee(call);
    const method = names.method(call);
    if (callee === '' && method === '') {
      return;
    }
    const args = children(call, 'arguments');
    for (const sink of SINKS) {
      if (!matches(sink, callee, method, () => names.receiverWords(call)) || hasRoot(call, method)) {
        continue;
      }
      const found = sink.args
        .map((index) => args[index])
        .map((argument) => argument && dangerIn(context, sink, argument))
        .find((each) => each !== undefined);
      if (found) {
        context.report(sink.flaw, call, {
          severity: severityFor(baseFor(sink, found), found),
          confidence: confidenceIn(found),
          detail: provenance(found),
        });
        return;
      }
    }
  };
  const imports = (path: NodePath): void => {
    const found = threat(context.taint.of(child(path, 'source')), 'code');
    if (found?.level === 'remote') {
      context.report('codeInjection', path, { severity: 'high', detail: provenance(found) });
    }
  };
  return {
    CallExpression: check,
    OptionalCallExpression: check,
    NewExpression: check,
    ImportExpression: imports,
  };
};

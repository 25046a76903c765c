import { anyName } from '../name-pattern.js';
import { provenance, severityFor, type Rule, type RuleContext } from '../rule.js';
import { written } from '../names.js';
import {
  child,
  children,
  enclosingFunction,
  isCall,
  isMember,
  unwrap,
  type FunctionNode,
  type NodePath,
  type t,
} from '../syntax.js';
import { threat } from '../trace.js';

const DEEP_MERGE = anyName(`
  lodash.{merge,mergeWith,defaultsDeep,defaultsdeep,set,setWith,update,zipObjectDeep} $.extend extend deepmerge{,.all}
  merge-deep deep-extend defaults-deep mixin-deep merge.recursive {@hapi/,}hoek.{merge,applyToDefaults}
  dot-prop.set{,Property} object-path.set dot-object.set set-value nconf.set
`);
const REFUSAL = new RegExp(
  [
    /__proto__|['"]constructor['"]|\.prototype\b.*(?:===|continue|throw)/,
    /Object\.create\(\s*null\s*\)|new Map\(|isPrototypePolluted|isSafeKey|FORBIDDEN_KEYS/,
  ]
    .map(({ source }) => source)
    .join('|'),
);

/** Longer functions are judged by their beginning. */
const MAX_BODY = 20_000;

function computedKey(path: NodePath | undefined): NodePath | undefined {
  const { node } = path ?? {};
  const isComputed = node?.type === 'MemberExpression' && node.computed;
  const key = path && isComputed ? child(path, 'property') : undefined;
  return key && !key.type.endsWith('Literal') ? key : undefined;
}

function sourceOf(context: RuleContext, { node }: NodePath): string {
  return context.source.slice(node.start ?? 0, node.end ?? 0);
}

/** The function a recursive merge would call again: the nearest one with a name. */
function namedFunction(path: NodePath): { fn: NodePath<FunctionNode>; name: string } | undefined {
  for (let fn = enclosingFunction(path); fn; fn = enclosingFunction(fn)) {
    const { node, parent } = fn;
    if (node.type === 'FunctionDeclaration' && node.id) {
      return { fn, name: node.id.name };
    }
    if (parent.type === 'VariableDeclarator' && parent.id.type === 'Identifier') {
      return { fn, name: parent.id.name };
    }
    if (node.type === 'FunctionExpression' && node.id) {
      return { fn, name: node.id.name };
    }
    const key = 'key' in node ? node.key : parent.type === 'ObjectProperty' ? parent.key : undefined;
    const left =
      parent.type === 'AssignmentExpression' && parent.left.type === 'MemberExpression'
        ? parent.left.property
        : key;
    if (left?.type === 'Identifier') {
      return { fn, name: left.name };
    }
  }
  return undefined;
}

function escaped(name: string): string {
  return name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

/** True for a key that runs over the keys of an object, in a loop or callback. */
function runsOverKeys(key: NodePath): boolean {
  if (key.node.type !== 'Identifier') {
    return false;
  }
  const binding = key.scope.getBinding(key.node.name);
  const declared = binding?.path;
  if (!declared) {
    return false;
  }
  const loop = declared.parentPath?.parentPath;
  if (declared.node.type === 'VariableDeclarator' && loop) {
    const right = child(loop, 'right');
    return (
      loop.type === 'ForInStatement' ||
      (loop.type === 'ForOfStatement' &&
        Boolean(right && /(?:keys|entries|getOwnPropertyNames|ownKeys)\(\)$/.test(written(right))))
    );
  }
  const call = binding.kind === 'param' ? binding.scope.path.parentPath : undefined;
  const callee = call && isCall(call) ? child(call, 'callee') : undefined;
  return Boolean(
    callee && /(?:keys|entries|getOwnPropertyNames)\(\)\.(?:forEach|map|reduce)$/.test(written(callee)),
  );
}

/** `target[key] = source[key]` in a function that also calls itself for nested objects. */
function isRecursiveMerge(context: RuleContext, assignment: NodePath, key: NodePath): boolean {
  const value = child(assignment, 'right') ?? child(assignment, 'value');
  if (!value || !isMember(unwrap(value)) || !runsOverKeys(key)) {
    return false;
  }
  const named = namedFunction(assignment);
  if (!named) {
    return false;
  }
  const block = child(named.fn, 'body');
  const body = block ? sourceOf(context, block).slice(0, MAX_BODY) : '';
  // With a key of both objects, `merge(target[key], source[key])`: a deep copy has one, and is harmless.
  const again = new RegExp(`\\b${escaped(named.name)}\\s*\\([^;\\n]*\\[[^;\\n]*\\[`);
  return again.test(body) && !REFUSAL.test(body);
}

/** `current = current[key]` in a loop, then `current[last] = value`: a path from outside is walked and set. */
function isPathWalk(context: RuleContext, assignment: NodePath): boolean {
  const left = child(assignment, 'left');
  const object = left && child(left, 'object');
  const fn = enclosingFunction(assignment);
  if (object?.node.type !== 'Identifier' || !fn) {
    return false;
  }
  const binding = object.scope.getBinding(object.node.name);
  const init = binding && child(binding.path, 'init');
  const isReduced = Boolean(
    init && written(init).endsWith('.reduce()') && /\[/.test(sourceOf(context, init)),
  );
  const walks =
    isReduced ||
    (binding?.constantViolations ?? []).some((violation) => {
      const right = violation.node.type === 'AssignmentExpression' ? child(violation, 'right') : undefined;
      return Boolean(right && new RegExp(`^${escaped(written(object))}\\[`).test(sourceOf(context, right)));
    });
  const body = walks ? sourceOf(context, fn).slice(0, MAX_BODY) : '';
  return walks && /\.split\(|\b(?:path|keys|segments|props|parts)\b/i.test(body) && !REFUSAL.test(body);
}

function reportAt(context: RuleContext, where: NodePath, detail: string): void {
  context.report('prototypePollution', where, { severity: 'high', confidence: 'medium', detail });
}

function checkAssignment(context: RuleContext, path: NodePath): void {
  const left = child(path, 'left');
  const key = computedKey(left);
  const object = left && child(left, 'object');
  if (!left || !object) {
    return;
  }
  if (written(object).endsWith('.__proto__')) {
    reportAt(context, path, 'a property of `__proto__` is assigned');
    return;
  }
  if (!key) {
    return;
  }
  const outer = computedKey(unwrap(object));
  const found = outer && threat(context.taint.of(outer), 'key');
  if (found?.level === 'remote') {
    context.report('prototypePollution', path, {
      severity: severityFor('medium', found),
      detail: provenance(found),
    });
  } else if (isRecursiveMerge(context, path, key)) {
    reportAt(context, path, 'a recursive merge copies every key, including `__proto__`');
  } else if (isPathWalk(context, path) && !isEmptyObject(path.node)) {
    reportAt(context, path, 'a path of keys is followed and set, including `__proto__`');
  }
}

function isEmptyObject(node: t.Node): boolean {
  return (
    node.type === 'AssignmentExpression' &&
    node.right.type === 'ObjectExpression' &&
    node.right.properties.length === 0
  );
}

/** Keys from outside that reach nested objects. */
export const prototypePollution: Rule = (context) => ({
  AssignmentExpression: (path) => checkAssignment(context, path),
  ObjectProperty(path) {
    // `Object.assign(target, { [key]: source[key] })` is an assignment, too.
    const key = path.node.type === 'ObjectProperty' && path.node.computed ? child(path, 'key') : undefined;
    const call = path.parentPath?.parentPath;
    if (
      key &&
      call &&
      context.names.callee(call) === 'Object.assign' &&
      isRecursiveMerge(context, path, key)
    ) {
      reportAt(context, path, 'a recursive merge copies every key, including `__proto__`');
    }
  },
  CallExpression(path) {
    const callee = context.names.callee(path);
    const args = children(path, 'arguments');
    const isDeep =
      !/^(?:\$\.extend|extend)$/.test(callee) ||
      (args[0]?.node.type === 'BooleanLiteral' && args[0].node.value);
    if (!DEEP_MERGE.test(callee) || !isDeep) {
      return;
    }
    const keys = /\.(?:set|setWith|update)/.test(callee) ? args.slice(1, 2) : args;
    const danger = keys.length < args.length ? 'key' : 'object';
    const found = keys
      .map((each) => threat(context.taint.of(each), danger))
      .find((each) => each?.level === 'remote');
    if (found) {
      context.report('prototypePollution', path, {
        severity: severityFor('medium', found),
        detail: provenance(found),
      });
    }
  },
});

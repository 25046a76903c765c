import { child, isCall, isMember, keyName, unwrap, type Binding, type NodePath, type t } from './syntax.js';

/**
 * What an expression is called after aliases, imports, `require` and destructuring have been followed:
 * `run` becomes `child_process.exec`, `pool` becomes `mysql.createPool()`.
 */
export interface Name {
  readonly segments: readonly string[];
  readonly root: 'module' | 'global' | 'parameter' | 'local' | 'this';
  /** Of the root, unless it is a module or global. */
  readonly binding?: Binding;
}

const MODULE_ALIASES: Readonly<Record<string, string>> = {
  'fs-extra': 'fs',
  'graceful-fs': 'fs',
  'mz/fs': 'fs',
  'mz/child_process': 'child_process',
  'crypto-js/md5': 'crypto-js.MD5',
  'crypto-js/sha1': 'crypto-js.SHA1',
  'lodash-es': 'lodash',
  underscore: 'lodash',
  'node-fetch': 'fetch',
  'cross-fetch': 'fetch',
  'isomorphic-fetch': 'fetch',
  jquery: '$',
};
const GLOBAL_ALIASES: Readonly<Record<string, string>> = { jQuery: '$', CryptoJS: 'crypto-js', _: 'lodash' };
const GLOBAL_OBJECTS = new Set(['window', 'globalThis', 'self', 'global', 'top', 'parent']);
/** Calls that return a function or value that behaves as their argument. */
const TRANSPARENT = new Set([
  'util.promisify',
  'promisify',
  'Promise.resolve',
  'Object.freeze',
  'util.callbackify',
]);
const MAX_DEPTH = 12;

function moduleName(specifier: string): string[] {
  const bare = specifier.replace(/^node:/, '');
  return (MODULE_ALIASES[bare] ?? bare.replace('/promises', '.promises')).split('.');
}

function isLocalModule(specifier: string): boolean {
  return /^[./~#]|^@\//.test(specifier);
}

function joined(name: Name, ...more: string[]): Name {
  // `x.default` is what a CommonJS module looks like through an ES import.
  const tail = more.filter((segment) => segment !== 'default');
  return { ...name, segments: [...name.segments, ...tail].slice(0, 24) };
}

function called(name: Name): Name {
  const last = name.segments.at(-1) ?? '';
  return { ...name, segments: [...name.segments.slice(0, -1), `${last}()`] };
}

/** Property names from a destructuring pattern down to the identifier; `*` for a rest or array element. */
export function patternPath(pattern: t.Node, identifier: t.Identifier): string[] | undefined {
  switch (pattern.type) {
    case 'Identifier':
      return pattern.name === identifier.name ? [] : undefined;
    case 'AssignmentPattern':
      return patternPath(pattern.left, identifier);
    case 'RestElement':
      return patternPath(pattern.argument, identifier);
    case 'TSParameterProperty':
      return patternPath(pattern.parameter, identifier);
    case 'ArrayPattern':
      for (const element of pattern.elements) {
        const found = element && patternPath(element, identifier);
        if (found) {
          return element.type === 'RestElement' ? found : ['*', ...found];
        }
      }
      return undefined;
    case 'ObjectPattern':
      for (const property of pattern.properties) {
        const inner = property.type === 'RestElement' ? property.argument : property.value;
        const found = patternPath(inner, identifier);
        if (found) {
          return property.type === 'RestElement'
            ? found
            : [keyName(property.key, property.computed) ?? '*', ...found];
        }
      }
      return undefined;
    default:
      return undefined;
  }
}

function importedName(binding: Binding): Name | undefined {
  const declaration = binding.path.parent;
  if (declaration.type !== 'ImportDeclaration' || isLocalModule(declaration.source.value)) {
    return undefined;
  }
  const base: Name = { segments: moduleName(declaration.source.value), root: 'module' };
  const specifier = binding.path.node;
  return specifier.type === 'ImportSpecifier' ? joined(base, keyName(specifier.imported) ?? '*') : base;
}

/** Resolves names; one per analysed file, because it remembers. */
export class NameResolver {
  readonly #names = new Map<t.Node, Name | undefined>();

  nameOf(path: NodePath, depth = 0): Name | undefined {
    if (depth > MAX_DEPTH) {
      return undefined;
    }
    const { node } = path;
    if (this.#names.has(node)) {
      return this.#names.get(node);
    }
    // Remembered before it is known, so that `a = b; b = a` ends.
    this.#names.set(node, undefined);
    const name = this.#resolve(unwrap(path), depth + 1);
    this.#names.set(node, name);
    return name;
  }

  /** Dotted name without leading global object; empty where there is none. */
  text(path: NodePath | undefined): string {
    return (path && this.nameOf(path)?.segments.join('.')) ?? '';
  }

  /** Dotted name of what a call calls, e.g. `child_process.exec`. */
  callee(path: NodePath): string {
    const callee = child(path, 'callee');
    const name = callee && this.nameOf(callee);
    // A function of the file's own is not the global or module function of the same name.
    return !name || (name.root === 'local' && name.segments.length === 1) ? '' : name.segments.join('.');
  }

  /** Name of the method or function as it is written. */
  method(path: NodePath): string {
    const callee = child(path, 'callee');
    if (!callee) {
      return '';
    }
    const { node } = unwrap(callee);
    return (
      (node.type === 'Identifier' ? node.name : undefined) ??
      (node.type === 'MemberExpression' || node.type === 'OptionalMemberExpression'
        ? keyName(node.property, node.computed)
        : undefined) ??
      ''
    );
  }

  receiver(path: NodePath): NodePath | undefined {
    const callee = child(path, 'callee');
    const member = callee && unwrap(callee);
    return member && isMember(member) ? child(member, 'object') : undefined;
  }

  /** How the receiver is called, in the source and after resolution: for guesses about what it is. */
  receiverWords(path: NodePath): string {
    const receiver = this.receiver(path);
    return receiver ? `${written(receiver)} ${this.text(receiver)}` : '';
  }

  #resolve(path: NodePath, depth: number): Name | undefined {
    const { node } = path;
    switch (node.type) {
      case 'Identifier':
        return this.#identifier(path, node, depth);
      case 'ThisExpression':
        return { segments: ['this'], root: 'this' };
      case 'MetaProperty':
        return { segments: ['import', 'meta'], root: 'global' };
      case 'AwaitExpression':
        return this.#of(path, 'argument', depth);
      case 'MemberExpression':
      case 'OptionalMemberExpression': {
        const object = this.#of(path, 'object', depth);
        const key = keyName(node.property, node.computed) ?? '[]';
        if (
          object?.root === 'global' &&
          object.segments.length === 1 &&
          GLOBAL_OBJECTS.has(object.segments[0] ?? '')
        ) {
          return { segments: [GLOBAL_ALIASES[key] ?? key], root: 'global' };
        }
        return object && joined(object, key);
      }
      case 'CallExpression':
      case 'OptionalCallExpression':
      case 'NewExpression':
        return this.#call(path, depth);
      default:
        return undefined;
    }
  }

  #of(path: NodePath, key: string, depth: number): Name | undefined {
    const inner = child(path, key);
    return inner && this.nameOf(inner, depth);
  }

  #identifier(path: NodePath, node: t.Identifier, depth: number): Name | undefined {
    const binding = path.scope.getBinding(node.name);
    if (!binding) {
      return { segments: [GLOBAL_ALIASES[node.name] ?? node.name], root: 'global' };
    }
    if (binding.kind === 'module') {
      return importedName(binding) ?? { segments: [node.name], root: 'local', binding };
    }
    if (binding.kind === 'param') {
      return { segments: [node.name], root: 'parameter', binding };
    }
    return this.#variable(binding, depth) ?? { segments: [node.name], root: 'local', binding };
  }

  #variable(binding: Binding, depth: number): Name | undefined {
    const declarator = binding.path;
    // A snippet that was pasted twice declares its names twice, to the same end.
    const changes = binding.constantViolations.filter((each) => each.type !== 'VariableDeclarator');
    if (declarator.node.type !== 'VariableDeclarator' || changes.length > 1) {
      return undefined;
    }
    const props = patternPath(declarator.node.id, binding.identifier);
    const init = child(declarator, 'init') ?? assignedOnce(binding);
    const base = init && props && this.nameOf(init, depth);
    return base && props ? joined(base, ...props) : undefined;
  }

  #call(path: NodePath, depth: number): Name | undefined {
    const callee = this.#of(path, 'callee', depth);
    const [argument] = isCall(path) ? (path.get('arguments') as NodePath[]) : [];
    const { node } = path;
    const isImport = node.type === 'CallExpression' && node.callee.type === 'Import';
    if (isImport || (callee?.root === 'global' && callee.segments.join('.') === 'require')) {
      return argument?.node.type === 'StringLiteral' && !isLocalModule(argument.node.value)
        ? { segments: moduleName(argument.node.value), root: 'module' }
        : undefined;
    }
    if (!callee) {
      return undefined;
    }
    const text = callee.segments.join('.');
    if (argument && TRANSPARENT.has(text)) {
      return this.nameOf(argument, depth) ?? called(callee);
    }
    if (text.endsWith('.bind')) {
      return { ...callee, segments: callee.segments.slice(0, -1) };
    }
    return called(callee);
  }
}

function assignedOnce(binding: Binding): NodePath | undefined {
  const [violation] = binding.constantViolations;
  return violation?.node.type === 'AssignmentExpression' && violation.node.operator === '='
    ? child(violation, 'right')
    : undefined;
}

/** The expression as written, without arguments: `pool.promise().query`; `?` for what has no name. */
export function written(path: NodePath, depth = 0): string {
  const { node } = unwrap(path);
  const inner = (key: string): string => {
    const next = child(unwrap(path), key);
    return next && depth < MAX_DEPTH ? written(next, depth + 1) : '?';
  };
  switch (node.type) {
    case 'Identifier':
      return node.name;
    case 'ThisExpression':
      return 'this';
    case 'MemberExpression':
    case 'OptionalMemberExpression':
      return `${inner('object')}.${keyName(node.property, node.computed) ?? `[${inner('property')}]`}`;
    case 'CallExpression':
    case 'OptionalCallExpression':
    case 'NewExpression':
      return `${inner('callee')}()`;
    case 'AwaitExpression':
      return inner('argument');
    default:
      return '?';
  }
}

import {
  child,
  isCall,
  isFunction,
  isMember,
  keyName,
  propertyName,
  traverse,
  unwrap,
  type FunctionNode,
  type NodePath,
  type t,
} from './syntax.js';

/** What has to be known about the whole file before any value can be followed. */
export interface ProgramIndex {
  /** Calls `x.name(…)` by name. */
  readonly methodCalls: ReadonlyMap<string, readonly NodePath[]>;
  /** Methods of classes and object literals by name. */
  readonly methods: ReadonlyMap<string, readonly NodePath<FunctionNode>[]>;
  /** Values assigned to `this.name`, by name. */
  readonly fields: ReadonlyMap<string, readonly NodePath[]>;
}

const MAX_PER_NAME = 40;

function add<T>(map: Map<string, T[]>, name: string | undefined, value: T): void {
  if (name === undefined) {
    return;
  }
  const list = map.get(name) ?? [];
  if (list.length < MAX_PER_NAME) {
    list.push(value);
    map.set(name, list);
  }
}

function functionValue(path: NodePath): NodePath<FunctionNode> | undefined {
  if (isFunction(path)) {
    return path;
  }
  const value = child(path, 'value');
  return value && isFunction(value) ? value : undefined;
}

export function indexProgram(file: t.File, onNode: () => void): ProgramIndex {
  const methodCalls = new Map<string, NodePath[]>();
  const methods = new Map<string, NodePath<FunctionNode>[]>();
  const fields = new Map<string, NodePath[]>();
  traverse(file, {
    enter(path: NodePath) {
      onNode();
      if (isCall(path)) {
        const callee = child(path, 'callee');
        const member = callee && unwrap(callee);
        add(methodCalls, member && isMember(member) ? propertyName(member) : undefined, path);
        return;
      }
      switch (path.node.type) {
        case 'ClassMethod':
        case 'ClassPrivateMethod':
        case 'ObjectMethod':
        case 'ObjectProperty':
        case 'ClassProperty':
        case 'ClassPrivateProperty': {
          const fn = functionValue(path);
          const value = child(path, 'value');
          if (fn) {
            add(methods, propertyName(path), fn);
          } else if (value && path.node.type.startsWith('Class')) {
            add(fields, propertyName(path), value);
          }
          return;
        }
        case 'AssignmentExpression': {
          const left = child(path, 'left');
          const right = child(path, 'right');
          if (left?.node.type === 'MemberExpression' && right) {
            const isThis = left.node.object.type === 'ThisExpression';
            const name = keyName(left.node.property, left.node.computed);
            if (isFunction(right)) {
              add(methods, name, right);
            } else if (isThis) {
              add(fields, name, right);
            }
          }
          return;
        }
        default:
      }
    },
  });
  return { methodCalls, methods, fields };
}

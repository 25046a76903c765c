import { createHash } from 'node:crypto';
import { types } from 'node:util';
import { ArgumentsNotSerializableError } from './cache.errors.js';

/** Longer arguments stand in a key by their hash; in UTF-16 units. */
const MAX_READABLE = 200;
/** Levels of nesting. */
const MAX_DEPTH = 100;

/**
 * The key of a method's call, e.g. `Reports.find("a",{"limit":10})`. Different arguments have different keys: types,
 * order and number count (`1` is not `"1"`, and undefined is not nothing), the order of an object's fields does not.
 * @throws ArgumentsNotSerializableError naming the method and the path of what has no text
 */
export function keyOfCall(method: string, args: readonly unknown[]): string {
  const text = new ArgumentsWriter(method).write(args);
  if (text.length <= MAX_READABLE) return `${method}(${text})`;
  return `${method}(sha256:${createHash('sha256').update(text, 'utf8').digest('hex')})`;
}

class ArgumentsWriter {
  /** The objects around the one that is written now. */
  private readonly around: object[] = [];

  constructor(private readonly method: string) {}

  write(args: readonly unknown[]): string {
    return args.map((arg, index) => this.text(arg, `argument ${index + 1}`)).join(',');
  }

  private text(value: unknown, path: string): string {
    switch (typeof value) {
      case 'string':
        return JSON.stringify(value);
      case 'number':
        return Object.is(value, -0) ? '-0' : String(value);
      case 'bigint':
        return `${value}n`;
      case 'boolean':
      case 'undefined':
        return String(value);
      case 'object':
        return value === null ? 'null' : this.nested(value, path);
      default:
        return this.refuse(path, `is a ${typeof value}`);
    }
  }

  private nested(value: object, path: string): string {
    if (this.around.includes(value)) this.refuse(path, 'refers to itself');
    if (this.around.length >= MAX_DEPTH) this.refuse(path, `is nested more than ${MAX_DEPTH} levels deep`);
    this.around.push(value);
    const text = this.object(value, path);
    this.around.pop();
    return text;
  }

  private object(value: object, path: string): string {
    if (Array.isArray(value)) return `[${this.list(value, path)}]`;
    if (types.isDate(value)) return `Date(${value.getTime()})`;
    if (types.isRegExp(value)) return `RegExp(${JSON.stringify(value.source)},${value.flags})`;
    if (types.isMap(value)) return `Map(${this.list([...value].flat(1), path)})`;
    if (types.isSet(value)) return `Set(${this.list([...value], path)})`;
    if (types.isAnyArrayBuffer(value)) return `ArrayBuffer(${base64(new Uint8Array(value))})`;
    if (ArrayBuffer.isView(value)) return `${value.constructor.name}(${base64(value)})`;
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
      return this.refuse(path, `is a ${value.constructor.name}`);
    }
    return `{${this.fields(value, path)}}`;
  }

  private list(values: readonly unknown[], path: string): string {
    // `Array.from` makes a hole of an array undefined: both read the same.
    return Array.from(values, (value, index) => this.text(value, `${path}[${index}]`)).join(',');
  }

  private fields(value: object, path: string): string {
    if (Object.getOwnPropertySymbols(value).length > 0) this.refuse(path, 'has a field named by a symbol');
    const fields = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1));
    return fields
      .map(([name, field]) => `${JSON.stringify(name)}:${this.text(field, `${path}.${name}`)}`)
      .join(',');
  }

  private refuse(path: string, reason: string): never {
    throw new ArgumentsNotSerializableError(this.method, `${path} ${reason}`);
  }
}

function base64({ buffer, byteOffset, byteLength }: ArrayBufferView): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('base64');
}

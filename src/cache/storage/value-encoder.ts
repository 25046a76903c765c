import { types } from 'node:util';
import { ValueNotSerializableError } from '../cache.errors.js';
import { MAX_DEPTH, NATIVE_ERRORS, Tag, VIEWS } from './value-format.js';

/** Thrown when the bytes exceed the limit; `bytes` is how many were needed when that was noticed. */
export class ValueTooLargeError extends Error {
  constructor(readonly bytes: number) {
    super(`more than ${bytes} bytes`);
  }
}

const INITIAL_BYTES = 16 * 1024;
const KEPT_BYTES = 1024 * 1024;
const SHORT_TEXT = 32;
const PATH_CHARACTERS = 200;
const VIEW_ORDINALS = new Map<string, number>(VIEWS.map((view, ordinal) => [view.name, ordinal]));
const ERROR_ORDINALS = new Map<string, number>(NATIVE_ERRORS.map((error, ordinal) => [error.name, ordinal]));
const PLAIN_NAME = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u;

/** A way into a value: an index, a name, or the side of a map's entry. */
type Step = number | string | typeof MAP_KEY | typeof MAP_VALUE;
const MAP_KEY = Symbol('<map key>');
const MAP_VALUE = Symbol('<map value>');

const prototypeOf = (value: object): object | null => Object.getPrototypeOf(value) as object | null;

/** 1 for a plain object, 2 for a direct instance of a built-in class, whatever realm it comes from. */
function prototypeDepth(value: object): number {
  let depth = 0;
  for (let proto = prototypeOf(value); proto !== null && depth < 5; proto = prototypeOf(proto)) depth += 1;
  return depth;
}

function className(value: object): string {
  const { constructor } = (prototypeOf(value) ?? {}) as { constructor?: unknown };
  return typeof constructor === 'function' && constructor.name !== '' ? constructor.name : 'an unnamed class';
}

/** Writes one value at a time into a buffer that it keeps; see `value-format.ts`. Not re-entrant. */
export class ValueEncoder {
  private buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  private position = 0;
  private limit = 0;
  private depth = 0;
  private readonly ancestors: (object | undefined)[] = [];
  private readonly path: Step[] = [];
  private readonly names = new Map<string, number>();

  /** @throws ValueNotSerializableError, ValueTooLargeError */
  encode(value: unknown, maxBytes: number): Buffer {
    this.limit = maxBytes;
    try {
      this.value(value);
      if (this.position > maxBytes) throw new ValueTooLargeError(this.position);
      return Buffer.copyBytesFrom(this.buffer, 0, this.position);
    } catch (error) {
      if (error instanceof ValueNotSerializableError || error instanceof ValueTooLargeError) throw error;
      return this.refuse('cannot be read', error);
    } finally {
      this.reset();
    }
  }

  private reset(): void {
    this.position = 0;
    this.depth = 0;
    this.ancestors.length = 0;
    this.names.clear();
    if (this.buffer.length > KEPT_BYTES) this.buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  }

  private value(value: unknown): void {
    switch (typeof value) {
      case 'string':
        this.byte(Tag.text);
        return this.text(value);
      case 'number':
        return this.number(value);
      case 'boolean':
        return this.byte(value ? Tag.true : Tag.false);
      case 'undefined':
        return this.byte(Tag.undefined);
      case 'bigint':
        return this.bigInt(value);
      case 'object':
        return value === null ? this.byte(Tag.null) : this.object(value);
      case 'function':
        return this.refuse('is a function');
      case 'symbol':
        return this.refuse('is a symbol');
    }
  }

  private object(value: object): void {
    if (this.depth >= MAX_DEPTH) this.refuse(`is nested more than ${MAX_DEPTH} deep`);
    if (this.ancestors.includes(value)) this.refuse('is a cycle');
    const proto = prototypeOf(value);
    if (proto === Object.prototype) this.fields(Tag.object, value);
    else if (proto === null) this.fields(Tag.bareObject, value);
    else if (Array.isArray(value) && prototypeDepth(value) === 2) this.array(value);
    else this.builtIn(value, prototypeDepth(value));
  }

  private builtIn(value: object, depth: number): void {
    if (depth === 1 && Object.hasOwn(prototypeOf(value) ?? {}, 'isPrototypeOf')) {
      return this.fields(Tag.object, value);
    }
    if (types.isNativeError(value)) return this.error(value, depth);
    if (ArrayBuffer.isView(value)) return this.view(value, depth);
    if (depth === 2) {
      if (types.isDate(value)) return this.float(Tag.date, value.getTime());
      if (types.isMap(value)) return this.map(value);
      if (types.isSet(value)) return this.set(value);
      if (types.isArrayBuffer(value)) {
        this.byte(Tag.arrayBuffer);
        return this.bytes(new Uint8Array(value));
      }
      if (types.isRegExp(value)) {
        this.byte(Tag.regExp);
        this.text(value.source);
        this.text(value.flags);
        return this.float(undefined, value.lastIndex);
      }
    }
    return this.refuse(`is an instance of ${className(value)}`);
  }

  private enter(container: object, tag: number): void {
    this.byte(tag);
    this.ancestors.push(container);
    this.depth += 1;
  }

  private leave(): void {
    this.ancestors.pop();
    this.depth -= 1;
  }

  private array(array: readonly unknown[]): void {
    // Each element takes a byte at least: an array of nothing but holes can't run on past the limit.
    const { length } = array;
    this.reserve(length);
    this.enter(array, Tag.array);
    this.varint(length);
    for (let index = 0; index < length; index += 1) {
      const element = array[index];
      this.path[this.depth] = index;
      if (element === undefined && !(index in array)) this.byte(Tag.hole);
      else this.value(element);
    }
    this.leave();
  }

  private fields(tag: number, object: object): void {
    if (Object.getOwnPropertySymbols(object).length > 0) this.refuse('has a symbol as a name');
    this.enter(object, tag);
    this.named(object, Object.keys(object));
    this.leave();
  }

  private named(object: object, names: readonly string[]): void {
    this.varint(names.length);
    for (const name of names) {
      this.path[this.depth] = name;
      this.name(name);
      this.value((object as Record<string, unknown>)[name]);
    }
  }

  private map(map: ReadonlyMap<unknown, unknown>): void {
    this.enter(map, Tag.map);
    this.varint(map.size);
    for (const [key, value] of map) {
      this.path[this.depth] = MAP_KEY;
      this.value(key);
      this.path[this.depth] = MAP_VALUE;
      this.value(value);
    }
    this.leave();
  }

  private set(set: ReadonlySet<unknown>): void {
    this.enter(set, Tag.set);
    this.varint(set.size);
    let index = 0;
    for (const member of set) {
      this.path[this.depth] = index;
      index += 1;
      this.value(member);
    }
    this.leave();
  }

  private error(error: Error, depth: number): void {
    const ordinal = ERROR_ORDINALS.get(className(error));
    if (ordinal === undefined || depth !== (ordinal === 0 ? 2 : 3)) {
      return this.refuse(`is an instance of ${className(error)}`);
    }
    this.enter(error, Tag.error);
    this.byte(ordinal);
    this.named(error, Object.getOwnPropertyNames(error));
    this.leave();
  }

  private view(view: ArrayBufferView, depth: number): void {
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    if (Buffer.isBuffer(view) && depth === 4) {
      this.byte(Tag.buffer);
      return this.bytes(bytes);
    }
    const ordinal =
      depth === (types.isDataView(view) ? 2 : 3) ? VIEW_ORDINALS.get(className(view)) : undefined;
    if (ordinal === undefined) return this.refuse(`is an instance of ${className(view)}`);
    this.byte(Tag.view);
    this.byte(ordinal);
    return this.bytes(bytes);
  }

  private number(value: number): void {
    if ((value | 0) !== value || Object.is(value, -0)) return this.float(Tag.float, value);
    this.byte(Tag.integer);
    this.varint(((value << 1) ^ (value >> 31)) >>> 0);
  }

  private float(tag: number | undefined, value: number): void {
    if (tag !== undefined) this.byte(tag);
    this.reserve(8);
    this.position = this.buffer.writeDoubleLE(value, this.position);
  }

  private bigInt(value: bigint): void {
    const negative = value < 0n;
    const digits = (negative ? -value : value).toString(16);
    const magnitude = Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, 'hex');
    this.byte(Tag.bigInt);
    this.varint(magnitude.length * 2 + (negative ? 1 : 0));
    this.raw(magnitude);
  }

  private name(name: string): void {
    const ordinal = this.names.get(name);
    if (ordinal !== undefined) return this.varint(ordinal);
    this.names.set(name, this.names.size + 1);
    this.byte(0);
    this.text(name);
  }

  private text(text: string): void {
    if (text.length < SHORT_TEXT && this.shortAscii(text)) return;
    const encoding = text.isWellFormed() ? 'utf8' : 'utf16le';
    const length = Buffer.byteLength(text, encoding);
    this.varint(length * 2 + (encoding === 'utf8' ? 0 : 1));
    this.reserve(length);
    this.position += this.buffer.write(text, this.position, length, encoding);
  }

  /** A native call costs more than a few dozen characters do. */
  private shortAscii(text: string): boolean {
    this.reserve(SHORT_TEXT);
    let end = this.position + 1;
    for (let index = 0; index < text.length; index += 1) {
      const code = text.charCodeAt(index);
      if (code > 0x7f) return false;
      this.buffer[end] = code;
      end += 1;
    }
    this.buffer[this.position] = text.length * 2;
    this.position = end;
    return true;
  }

  private bytes(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.raw(bytes);
  }

  private raw(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.position);
    this.position += bytes.length;
  }

  private byte(byte: number): void {
    this.reserve(1);
    this.buffer[this.position] = byte;
    this.position += 1;
  }

  private varint(value: number): void {
    let rest = value;
    while (rest > 0x7f) {
      this.byte((rest % 0x80) + 0x80);
      rest = Math.floor(rest / 0x80);
    }
    this.byte(rest);
  }

  /** Room for `count` more bytes. The limit is exact at the end only: `shortAscii` asks for more than it needs. */
  private reserve(count: number): void {
    const end = this.position + count;
    if (end <= this.buffer.length) return;
    if (end > this.limit + SHORT_TEXT) throw new ValueTooLargeError(end);
    const grown = Buffer.allocUnsafeSlow(Math.max(end, this.buffer.length * 2));
    this.buffer.copy(grown, 0, 0, this.position);
    this.buffer = grown;
  }

  private refuse(reason: string, cause?: unknown): never {
    let path = '$';
    for (const step of this.path.slice(1, this.depth + 1)) {
      if (typeof step === 'number') path += `[${step}]`;
      else if (typeof step === 'symbol') path += step.description;
      else path += PLAIN_NAME.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`;
      if (path.length > PATH_CHARACTERS) {
        path = `${path.slice(0, PATH_CHARACTERS)}…`;
        break;
      }
    }
    throw new ValueNotSerializableError(`${path} ${reason}`, { cause });
  }
}

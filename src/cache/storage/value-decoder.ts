import { MAX_DEPTH, NATIVE_ERRORS, Tag, VIEWS } from './value-format.js';

/** The bytes are no value. Private to the codec: `decodeValue` answers with the reason. */
export class MalformedValueError extends Error {}

const HIDDEN_IN_ERRORS: ReadonlySet<string> = new Set(['message', 'stack', 'cause']);
/** A varint of 53 bits has at most 8 bytes. */
const VARINT_SCALE_LIMIT = 2 ** 49;

/** Bytes in V8 without pointer compression, as Node is built. */
const HEAP = { slot: 8, number: 16, text: 24, array: 48, object: 48 } as const;

/**
 * Reads one value, see `value-format.ts`. Nothing of the result is backed by the bytes, and its size is at most a
 * fixed multiple of theirs (about 60: an empty object for two bytes). Used once.
 */
export class ValueDecoder {
  /** False once there was something in the value that can't be frozen. */
  frozen = true;
  /** What the objects, arrays, texts and numbers take on the heap; an estimate, measured to be right to a fifth. */
  heapBytes = 0;
  private position = 0;
  private depth = 0;
  private readonly names: string[] = [];

  /** @param freeze freezes each object and array; see `frozen` for whether that was all there is. */
  constructor(
    private readonly bytes: Buffer,
    private readonly freeze: boolean,
  ) {}

  /** @throws MalformedValueError, or any error of a constructor that was given nonsense (a RegExp's) */
  decode(): unknown {
    const value = this.value();
    if (this.position !== this.bytes.length) throw new MalformedValueError('trailing bytes');
    return value;
  }

  private value(): unknown {
    const tag = this.byte();
    switch (tag) {
      case Tag.undefined:
        return undefined;
      case Tag.null:
        return null;
      case Tag.true:
        return true;
      case Tag.false:
        return false;
      case Tag.integer:
        return this.integer();
      case Tag.float:
        return this.float();
      case Tag.bigInt:
        return this.bigInt();
      case Tag.text:
        return this.text();
      default:
        return this.object(tag);
    }
  }

  private object(tag: number): unknown {
    if (this.depth >= MAX_DEPTH) throw new MalformedValueError('nested too deep');
    this.depth += 1;
    const object = this.container(tag);
    this.depth -= 1;
    return object;
  }

  private container(tag: number): unknown {
    switch (tag) {
      case Tag.array:
        return this.array();
      case Tag.object:
        return this.fields({});
      case Tag.bareObject:
        return this.fields(Object.create(null) as Record<string, unknown>);
      default:
        this.frozen = false;
        return this.builtIn(tag);
    }
  }

  private builtIn(tag: number): unknown {
    switch (tag) {
      case Tag.map:
        return this.map();
      case Tag.set:
        return this.set();
      case Tag.date:
        return new Date(this.float());
      case Tag.regExp:
        return this.regExp();
      case Tag.error:
        return this.error();
      case Tag.buffer:
        return Buffer.from(this.arrayBuffer());
      case Tag.arrayBuffer:
        return this.arrayBuffer();
      case Tag.view:
        return this.view();
      default:
        throw new MalformedValueError(`unknown tag ${tag}`);
    }
  }

  private array(): unknown[] {
    const array: unknown[] = [];
    const length = this.count();
    this.heapBytes += HEAP.array + length * HEAP.slot;
    for (let index = 0; index < length; index += 1) {
      if (this.bytes[this.position] === Tag.hole) {
        this.position += 1;
        array.length = index + 1;
      } else {
        array.push(this.value());
      }
    }
    return this.freeze ? (Object.freeze(array) as unknown[]) : array;
  }

  private fields(object: Record<string, unknown>): object {
    const count = this.count();
    this.heapBytes += HEAP.object + count * HEAP.slot;
    for (let left = count; left > 0; left -= 1) {
      const name = this.name();
      const value = this.value();
      // Assigning to this one name would set the prototype.
      if (name === '__proto__') define(object, name, value, true);
      else object[name] = value;
    }
    return this.freeze ? Object.freeze(object) : object;
  }

  private map(): Map<unknown, unknown> {
    const map = new Map<unknown, unknown>();
    for (let left = this.count(); left > 0; left -= 1) {
      const key = this.value();
      map.set(key, this.value());
    }
    return map;
  }

  private set(): Set<unknown> {
    const set = new Set<unknown>();
    for (let left = this.count(); left > 0; left -= 1) set.add(this.value());
    return set;
  }

  private regExp(): RegExp {
    const source = this.text();
    const pattern = new RegExp(source, this.text());
    pattern.lastIndex = this.float();
    return pattern;
  }

  private error(): Error {
    const NativeError = NATIVE_ERRORS[this.byte()];
    if (NativeError === undefined) throw new MalformedValueError('unknown error class');
    const error = new NativeError();
    for (let left = this.count(); left > 0; left -= 1) {
      const name = this.name();
      define(error, name, this.value(), !HIDDEN_IN_ERRORS.has(name));
    }
    return error;
  }

  private view(): ArrayBufferView {
    const View = VIEWS[this.byte()];
    if (View === undefined) throw new MalformedValueError('unknown view');
    return new View(this.arrayBuffer());
  }

  private arrayBuffer(): ArrayBuffer {
    const start = this.take(this.varint());
    const copy = new ArrayBuffer(this.position - start);
    new Uint8Array(copy).set(this.bytes.subarray(start, this.position));
    return copy;
  }

  private integer(): number {
    const zigzag = this.varint();
    if (zigzag > 0xffff_ffff) throw new MalformedValueError('integer out of range');
    return (zigzag >>> 1) ^ -(zigzag & 1);
  }

  private float(): number {
    const start = this.take(8);
    this.heapBytes += HEAP.number;
    return this.bytes.readDoubleLE(start);
  }

  private bigInt(): bigint {
    const header = this.varint();
    const length = Math.floor(header / 2);
    const start = this.take(length);
    this.heapBytes += HEAP.number + length;
    const magnitude = BigInt(`0x0${this.bytes.toString('hex', start, this.position)}`);
    return header % 2 === 0 ? magnitude : -magnitude;
  }

  private name(): string {
    const ordinal = this.varint();
    if (ordinal === 0) {
      const name = this.text();
      this.names.push(name);
      return name;
    }
    const name = this.names[ordinal - 1];
    if (name === undefined) throw new MalformedValueError('unknown name');
    return name;
  }

  private text(): string {
    const header = this.varint();
    const length = Math.floor(header / 2);
    const start = this.take(length);
    const text = this.bytes.toString(header % 2 === 0 ? 'utf8' : 'utf16le', start, this.position);
    // V8 has one byte for a character of ASCII, and two for all of a text that has any other (but Latin-1).
    this.heapBytes += HEAP.text + text.length * (text.length === length ? 1 : 2);
    return text;
  }

  /** How many values follow: each takes a byte at least. */
  private count(): number {
    const count = this.varint();
    if (count > this.bytes.length - this.position) throw new MalformedValueError('truncated');
    return count;
  }

  private varint(): number {
    let value = 0;
    for (let scale = 1; scale <= VARINT_SCALE_LIMIT; scale *= 0x80) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw new MalformedValueError('varint too long');
  }

  private byte(): number {
    const byte = this.bytes[this.position];
    if (byte === undefined) throw new MalformedValueError('truncated');
    this.position += 1;
    return byte;
  }

  /** Moves past `count` bytes and returns where they begin. */
  private take(count: number): number {
    const start = this.position;
    if (count > this.bytes.length - start) throw new MalformedValueError('truncated');
    this.position = start + count;
    return start;
  }
}

function define(object: object, name: string, value: unknown, enumerable: boolean): void {
  Object.defineProperty(object, name, { value, enumerable, writable: true, configurable: true });
}

import { types } from 'node:util';
import { addExtension, Packr } from 'msgpackr';
import { ValueNotSerializableError } from '../cache.errors.js';

/**
 * The one way in which values become bytes, so that every storage gives back the same types: JSON's, and undefined,
 * NaN, infinities, -0, BigInt, Date, RegExp, Map, Set, Buffer, ArrayBuffer and typed arrays. MessagePack carries most
 * of them; what it would change on the way travels as an extension. Everything else is refused with the path at which
 * it was found: a value that can't come back as it went in is the caller's to know about.
 */

/** Levels of nesting. */
export const MAX_DEPTH = 500;

export type DecodedValue =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'malformed'; readonly reason: string };

/**
 * A value that nobody can change: frozen, and then shared; or bytes, of which each reader gets a copy. `bytes` is
 * what it takes in memory.
 */
export type IsolatedValue =
  | { readonly kind: 'shared'; readonly value: unknown; readonly bytes: number }
  | { readonly kind: 'copied'; readonly encoded: Buffer; readonly bytes: number };

/** The value exceeds the limit; a storage makes an `EntryTooLargeError` of it. `bytes`: counted until then. */
export class ValueTooLarge extends Error {
  constructor(readonly bytes: number) {
    super(`more than ${bytes} bytes`);
  }
}

/** What MessagePack would change: pairs of a Map, fields whose names it can't carry, UTF-16, typed arrays, and -0. */
class CarriedMap {
  constructor(readonly pairs: readonly Pair[]) {}
}
class CarriedObject {
  constructor(
    readonly bare: boolean,
    readonly pairs: readonly Pair[],
  ) {}
}
class CarriedText {
  constructor(readonly utf16: Buffer) {}
}
class CarriedView {
  constructor(
    readonly name: string,
    readonly bytes: Buffer,
  ) {}
}
class NegativeZero {}

const VIEW_CLASSES: readonly (new (buffer: ArrayBuffer) => ArrayBufferView)[] = [
  DataView,
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float16Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
];

/** By the names that stand in stored bytes. */
const VIEWS = new Map<string, (buffer: ArrayBuffer) => object>([
  ['ArrayBuffer', (buffer) => buffer],
  ...VIEW_CLASSES.map((View) => [View.name, (buffer: ArrayBuffer) => new View(buffer)] as const),
]);

type Pair = readonly [key: unknown, value: unknown];

// The registry of extensions is the library's; these numbers are in stored bytes and must not change.
addExtension({
  Class: CarriedMap,
  type: 0x51,
  write: ({ pairs }: CarriedMap) => pairs,
  read: (pairs: unknown) => new Map(pairsOf(pairs)),
});
addExtension({
  Class: CarriedObject,
  type: 0x52,
  write: ({ bare, pairs }: CarriedObject) => [bare, pairs],
  read: (carried: unknown) => {
    const [bare, pairs] = Array.isArray(carried) ? carried : [];
    // `fromEntries` defines own properties, `__proto__` among them; assignment would set the prototype.
    const object = Object.fromEntries(pairsOf(pairs)) as object;
    return bare === true ? Object.setPrototypeOf(object, null) : object;
  },
});
addExtension({
  Class: CarriedText,
  type: 0x53,
  write: ({ utf16 }: CarriedText) => utf16,
  read: (utf16: unknown) => Buffer.from(utf16 as Uint8Array).toString('utf16le'),
});
addExtension({ Class: NegativeZero, type: 0x54, write: () => 0, read: () => -0 });
addExtension({
  Class: CarriedView,
  type: 0x55,
  write: ({ name, bytes }: CarriedView) => [name, bytes],
  read: (carried: unknown) => {
    const [name, bytes] = Array.isArray(carried) ? (carried as unknown[]) : [];
    const view = VIEWS.get(String(name));
    if (view === undefined || !Buffer.isBuffer(bytes)) throw new TypeError('A view was expected.');
    return view(new Uint8Array(bytes).buffer);
  },
});

const packr = new Packr({
  moreTypes: true,
  useRecords: false,
  useBigIntExtension: true,
  copyBuffers: true,
  // A fixed size would spend five bytes on every small object.
  variableMapSize: true,
});

/**
 * @param maxBytes bounds the result, and eightfold what the value takes on the heap: one that holds a part many times
 *   may be small there and endless here. Default 1 GiB.
 * @throws ValueNotSerializableError naming the path of what can't be carried, e.g. `$.items[3].callback is a function`
 * @throws ValueTooLarge
 */
export function encodeValue(value: unknown, maxBytes = 2 ** 30): Buffer {
  return pack(new Carrier(maxBytes).carry(value), maxBytes);
}

/** The value of bytes of any origin. Never throws. */
export function decodeValue(bytes: Uint8Array): DecodedValue {
  try {
    return { kind: 'value', value: packr.unpack(bytes) as unknown };
  } catch (error) {
    return { kind: 'malformed', reason: error instanceof Error ? error.message : String(error) };
  }
}

/**
 * A copy of the value that is safe to share: frozen throughout if it is made of objects, arrays and primitives;
 * else (a Date, a Map, a Buffer can't be frozen) its bytes, to be decoded for each reader.
 * @throws as `encodeValue`
 */
export function isolate(value: unknown, maxBytes = 2 ** 30): IsolatedValue {
  const carrier = new Carrier(maxBytes);
  const encoded = pack(carrier.carry(value), maxBytes);
  if (carrier.freezable) {
    return { kind: 'shared', value: freezeDeep(packr.unpack(encoded)), bytes: carrier.heapBytes };
  }
  // The library's result lies in a larger buffer, which it would keep alive.
  return { kind: 'copied', encoded: Buffer.copyBytesFrom(encoded), bytes: encoded.length };
}

function pack(carried: unknown, maxBytes: number): Buffer {
  const bytes = packr.pack(carried);
  if (bytes.length > maxBytes) throw new ValueTooLarge(bytes.length);
  return bytes;
}

function freezeDeep(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  for (const part of Object.values(value)) freezeDeep(part);
  return Object.freeze(value);
}

function pairsOf(pairs: unknown): [string, unknown][] {
  if (!Array.isArray(pairs) || !pairs.every((pair) => Array.isArray(pair) && pair.length === 2)) {
    throw new TypeError('Pairs were expected.');
  }
  return pairs as [string, unknown][];
}

/** Bytes in V8 without pointer compression, as Node is built. */
const HEAP = { slot: 8, number: 16, text: 24, array: 48, object: 48 } as const;
/** A value may take this many times `maxBytes` on the heap, which is what most data of small parts does. */
const HEAP_FACTOR = 8;
const PATH_CHARACTERS = 200;
const PLAIN_NAME = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u;

/** Turns a value into what MessagePack can carry: itself, or a copy along the path of what had to be replaced. */
class Carrier {
  /** False once there was something in the value that can't be frozen. */
  freezable = true;
  /** What the value takes on the heap, in bytes: an estimate, right to a fifth for data of a few levels. */
  heapBytes = 0;
  /** Where the walk is; worded only when something is refused there. */
  private readonly path: (string | number)[] = [];
  private readonly above = new Set<object>();

  constructor(private readonly maxBytes: number) {}

  carry(value: unknown): unknown {
    switch (typeof value) {
      case 'string':
        return this.carryText(value);
      case 'number':
        this.count(HEAP.number);
        return Object.is(value, -0) ? new NegativeZero() : value;
      case 'bigint':
        this.count(HEAP.number);
        return value;
      case 'function':
      case 'symbol':
        throw this.refusal(`is a ${typeof value}`);
      case 'object':
        return value === null ? value : this.carryObject(value);
      default:
        return value;
    }
  }

  private carryObject(value: object): unknown {
    if (this.above.size === MAX_DEPTH) throw this.refusal(`is nested more than ${MAX_DEPTH} deep`);
    if (this.above.has(value)) throw this.refusal('is a cycle');
    this.above.add(value);
    const carried = this.carryParts(value);
    this.above.delete(value);
    return carried;
  }

  private carryParts(value: object): unknown {
    const depth = prototypeDepth(value);
    if (depth <= 1) return this.carryFields(value as Readonly<Record<string, unknown>>, depth === 0);
    if (depth === 2 && Array.isArray(value)) return this.carryArray(value);
    this.freezable = false;
    if (depth === 2 && types.isMap(value)) return new CarriedMap(this.carryPairs(value));
    if (depth === 2 && types.isSet(value)) return new Set(this.carryArray([...value]));
    if (depth === 2 && (types.isDate(value) || types.isRegExp(value))) return value;
    if (Buffer.isBuffer(value)) return value;
    if (isView(value, depth)) return new CarriedView(viewName(value), bytesOf(value));
    throw this.refusal(`is an instance of ${className(value)}`);
  }

  private carryArray(array: readonly unknown[]): readonly unknown[] {
    this.count(HEAP.array + array.length * HEAP.slot);
    let copy: unknown[] | undefined;
    for (let index = 0; index < array.length; index += 1) {
      const part = array[index];
      if (part === undefined && !(index in array)) throw this.refusal(`has a hole at ${index}`);
      const carried = this.inside(index, part);
      if (Object.is(carried, part)) continue;
      copy ??= [...array];
      copy[index] = carried;
    }
    return copy ?? array;
  }

  private carryPairs(map: ReadonlyMap<unknown, unknown>): Pair[] {
    this.count(HEAP.object + 2 * map.size * HEAP.slot);
    return [...map].map(([key, part]) => [this.inside('<map key>', key), this.inside('<map value>', part)]);
  }

  private carryFields(object: Readonly<Record<string, unknown>>, bare: boolean): unknown {
    if (Object.getOwnPropertySymbols(object).length > 0) throw this.refusal('has a symbol as a name');
    const names = Object.keys(object);
    this.count(HEAP.object + names.length * HEAP.slot);
    let changed = false;
    // MessagePack's names go through UTF-8, and its reader renames `__proto__`.
    let asPairs = bare;
    const pairs = names.map((name): [string, unknown] => {
      const part = this.read(object, name);
      const carried = this.inside(name, part);
      changed ||= !Object.is(carried, part);
      asPairs ||= name === '__proto__' || !name.isWellFormed();
      return [name, carried];
    });
    if (asPairs) {
      return new CarriedObject(
        bare,
        pairs.map(([name, part]) => [this.carryText(name), part]),
      );
    }
    return changed ? Object.fromEntries(pairs) : object;
  }

  /** A getter or a proxy may throw. */
  private read(object: Readonly<Record<string, unknown>>, name: string): unknown {
    try {
      return object[name];
    } catch (error) {
      this.path.push(name);
      throw this.refusal('cannot be read', error);
    }
  }

  private carryText(text: string): unknown {
    // V8 has one byte for a character of ASCII, and two for all of a text that has another one.
    this.count(HEAP.text + text.length * (Buffer.byteLength(text) > text.length ? 2 : 1));
    return text.isWellFormed() ? text : new CarriedText(Buffer.from(text, 'utf16le'));
  }

  private inside(step: string | number, part: unknown): unknown {
    this.path.push(step);
    const carried = this.carry(part);
    this.path.pop();
    return carried;
  }

  /** Before the work is done: a value may hold a part many times, or be an array of 2^32 holes. */
  private count(bytes: number): void {
    this.heapBytes += bytes;
    if (this.heapBytes > this.maxBytes * HEAP_FACTOR) throw new ValueTooLarge(this.heapBytes);
  }

  private refusal(what: string, cause?: unknown): ValueNotSerializableError {
    const path = `$${this.path.map(stepText).join('')}`;
    const shown = path.length > PATH_CHARACTERS ? `${path.slice(0, PATH_CHARACTERS)}…` : path;
    return new ValueNotSerializableError(`${shown} ${what}`, cause === undefined ? undefined : { cause });
  }
}

function stepText(step: string | number): string {
  if (typeof step === 'number') return `[${step}]`;
  return PLAIN_NAME.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`;
}

/** 0: no prototype, 1: a plain object, 2: a direct instance of a built-in class; of whatever realm. */
function prototypeDepth(value: object): number {
  let depth = 0;
  let prototype = Object.getPrototypeOf(value) as object | null;
  for (; prototype !== null && depth < 5; depth += 1)
    prototype = Object.getPrototypeOf(prototype) as object | null;
  return depth;
}

function className(value: object): string {
  const { constructor } = value as { constructor?: unknown };
  return typeof constructor === 'function' && constructor.name !== '' ? constructor.name : 'an unnamed class';
}

/** Of a subclass the name would be lost. */
const isView = (value: object, depth: number): value is ArrayBuffer | ArrayBufferView =>
  types.isTypedArray(value)
    ? depth === 3
    : depth === 2 && (types.isArrayBuffer(value) || types.isDataView(value));

/** The tag of a built-in does not depend on the realm; `isView` has seen that it is one. */
const viewName = (view: ArrayBuffer | ArrayBufferView): string =>
  String(Reflect.get(view, Symbol.toStringTag));

const bytesOf = (view: ArrayBuffer | ArrayBufferView): Buffer =>
  ArrayBuffer.isView(view) ? Buffer.from(view.buffer, view.byteOffset, view.byteLength) : Buffer.from(view);

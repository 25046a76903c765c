import { addExtension, Packr } from 'msgpackr';
import { ValueNotSerializableError } from '../cache.errors.js';

/**
 * The one way in which values become bytes, so that every storage gives back the same types: JSON's, and undefined,
 * NaN, infinities, -0, BigInt, Date, Map, Set, Buffer, typed arrays and ArrayBuffer. MessagePack carries most of them;
 * what it would change on the way (a key `__proto__`, -0, Maps beside plain objects, text that is not well-formed
 * Unicode) travels as an extension. An object without prototype comes back as a plain one, a hole in an array as
 * undefined. Anything else is refused, with the path at which it was found.
 */

const MAX_DEPTH = 500;

class CarriedMap {
  constructor(readonly entries: [unknown, unknown][]) {}
}
class CarriedObject {
  constructor(readonly entries: [unknown, unknown][]) {}
}
class CarriedText {
  constructor(readonly utf16: Buffer) {}
}
class NegativeZero {}

const readPairs = (pairs: unknown): [unknown, unknown][] => {
  if (!Array.isArray(pairs) || !pairs.every((pair) => Array.isArray(pair) && pair.length === 2)) {
    throw new TypeError('Pairs were expected.');
  }
  return pairs as [unknown, unknown][];
};

// The registry of extensions is the library's; these numbers are in stored bytes and must not change.
addExtension({
  Class: CarriedMap,
  type: 0x51,
  write: ({ entries }: CarriedMap) => entries,
  read: (pairs: unknown) => new Map(readPairs(pairs)),
});
addExtension({
  Class: CarriedObject,
  type: 0x52,
  write: ({ entries }: CarriedObject) => entries,
  // `fromEntries` defines own properties, `__proto__` among them; assignment would set the prototype.
  read: (pairs: unknown) => Object.fromEntries(readPairs(pairs) as [string, unknown][]),
});
addExtension({
  Class: CarriedText,
  type: 0x53,
  write: ({ utf16 }: CarriedText) => utf16,
  read: (utf16: unknown) => Buffer.from(utf16 as Uint8Array).toString('utf16le'),
});
addExtension({ Class: NegativeZero, type: 0x54, write: () => 0, read: () => -0 });

const packr = new Packr({
  moreTypes: true,
  useRecords: false,
  useBigIntExtension: true,
  copyBuffers: true,
  // A fixed size would spend five bytes on every small object.
  variableMapSize: true,
});

/** @throws ValueNotSerializableError naming the path of what cannot be carried, e.g. `$.items[3].callback` */
export function encodeValue(value: unknown): Buffer {
  return packr.pack(new Carrier().carry(value));
}

/**
 * The value of bytes that `encodeValue` made.
 * @throws any error for bytes that it did not make; allocates in proportion to their length.
 */
export function decodeValue(bytes: Uint8Array): unknown {
  return packr.unpack(bytes);
}

/** Turns a value into what MessagePack can carry: itself, or a copy along the path of what had to be replaced. */
class Carrier {
  /** Where the walk is; worded only when something is refused there. */
  private readonly path: string[] = [];
  private readonly above = new Set<object>();

  carry(value: unknown): unknown {
    switch (typeof value) {
      case 'string':
        return carryText(value);
      case 'number':
        return Object.is(value, -0) ? new NegativeZero() : value;
      case 'function':
      case 'symbol':
        throw this.refusal(`is a ${typeof value}`);
      case 'object':
        return value === null || isLeaf(value) ? value : this.carryObject(value);
      default:
        return value;
    }
  }

  private carryObject(value: object): unknown {
    if (this.above.size === MAX_DEPTH) throw this.refusal('is nested too deeply');
    if (this.above.has(value)) throw this.refusal('is a cycle');
    this.above.add(value);
    const carried = this.carryParts(value);
    this.above.delete(value);
    return carried;
  }

  private carryParts(value: object): unknown {
    if (Array.isArray(value)) return this.carryArray(value);
    if (value instanceof Map) return new CarriedMap(this.carryPairs(value));
    if (value instanceof Set) return new Set(this.carryArray([...value]));
    if (isPlain(value)) return this.carryPlain(value);
    throw this.refusal(`is an instance of ${value.constructor?.name ?? 'a class'}`);
  }

  private carryArray(array: readonly unknown[]): readonly unknown[] {
    let copy: unknown[] | undefined;
    for (let index = 0; index < array.length; index += 1) {
      const carried = this.inside(`[${index}]`, array[index]);
      if (Object.is(carried, array[index])) continue;
      copy ??= [...array];
      copy[index] = carried;
    }
    return copy ?? array;
  }

  private carryPairs(map: ReadonlyMap<unknown, unknown>): [unknown, unknown][] {
    return [...map].map(([key, part]) => [this.inside('.key()', key), this.inside('.value()', part)]);
  }

  private carryPlain(object: Readonly<Record<string, unknown>>): unknown {
    const keys = Object.keys(object);
    let changed = Object.getPrototypeOf(object) === null;
    const entries = keys.map((key): [string, unknown] => {
      const carried = this.inside(`.${key}`, object[key]);
      changed ||= !Object.is(carried, object[key]);
      return [key, carried];
    });
    // MessagePack's keys go through UTF-8, and its reader renames `__proto__`.
    if (keys.some((key) => key === '__proto__' || !key.isWellFormed())) {
      return new CarriedObject(entries.map(([key, part]) => [carryText(key), part]));
    }
    return changed ? Object.fromEntries(entries) : object;
  }

  private inside(step: string, part: unknown): unknown {
    this.path.push(step);
    const carried = this.carry(part);
    this.path.pop();
    return carried;
  }

  private refusal(what: string): ValueNotSerializableError {
    const path = `$${this.path.join('')}`;
    return new ValueNotSerializableError(`${path.length > 200 ? `${path.slice(0, 200)}…` : path} ${what}`);
  }
}

function carryText(text: string): unknown {
  return text.isWellFormed() ? text : new CarriedText(Buffer.from(text, 'utf16le'));
}

function isPlain(value: object): value is Readonly<Record<string, unknown>> {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** What MessagePack carries as it is, and has no parts that would have to be carried. */
function isLeaf(value: object): boolean {
  if (value instanceof Date || value instanceof ArrayBuffer) return true;
  return ArrayBuffer.isView(value) && !(value instanceof DataView);
}

/**
 * Freezes a decoded value as far as it can be frozen. True if all of it was: then it can be shared. Dates, Maps, Sets,
 * buffers and typed arrays cannot be frozen; what has one in it must be copied for each reader.
 */
export function freezeDeep(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (!Array.isArray(value) && !isPlain(value)) return false;
  let frozen = true;
  for (const part of Object.values(value)) frozen = freezeDeep(part) && frozen;
  Object.freeze(value);
  return frozen;
}

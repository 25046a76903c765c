/**
 * The first script of every isolate. It brings the few decoding functions of browsers and Node that are not
 * part of the language, and it bounds the built-ins that allocate by a number: beyond a certain size V8 ends
 * the whole process, whatever the isolate's memory limit says (`'x'.repeat(5e8).split('')` is the shortest
 * example).
 *
 * Encoders such as JSFuck read characters out of the text of native functions, so a bounded function must
 * still print as the native one.
 */
export const ISOLATE_PRELUDE = String.raw`
(() => {
  'use strict';
  const MAX_LENGTH = 1 << 21;
  const nativeText = new WeakMap();
  const nativeToString = Function.prototype.toString;
  const textOf = (fn) => nativeText.get(fn) ?? Reflect.apply(nativeToString, fn, []);
  const replaceBuiltIn = (owner, name, traps) => {
    const native = owner[name];
    const proxy = new Proxy(native, traps(native));
    nativeText.set(proxy, Reflect.apply(nativeToString, native, []));
    Object.defineProperty(owner, name, { value: proxy, writable: true, configurable: true, enumerable: false });
    return proxy;
  };
  const refuse = (size) => {
    if (size > MAX_LENGTH) throw new RangeError('Length limit of the analysis exceeded');
  };
  const bound = (owner, name, sizeOf) =>
    replaceBuiltIn(owner, name, (native) => ({
      apply(target, self, args) {
        refuse(Number(sizeOf(self, args)));
        return Reflect.apply(native, self, args);
      },
    }));
  const lengthOf = (value) => (value === null || value === undefined ? 0 : Number(value.length) || 0);

  bound(String.prototype, 'repeat', (self, [count]) => lengthOf(String(self)) * Number(count));
  for (const name of ['padStart', 'padEnd']) bound(String.prototype, name, (self, [length]) => Number(length));
  for (const name of ['split', 'match', 'matchAll', 'replace', 'replaceAll', 'concat', 'search', 'normalize']) {
    bound(String.prototype, name, lengthOf);
  }
  for (const name of ['fill', 'join', 'concat', 'map', 'toString', 'reverse', 'sort', 'keys', 'entries']) {
    bound(Array.prototype, name, lengthOf);
  }
  bound(Array, 'from', (self, [source]) => lengthOf(source));
  bound(JSON, 'stringify', (self, [source]) => lengthOf(source));
  for (const name of ['keys', 'values', 'entries', 'getOwnPropertyNames']) {
    bound(Object, name, (self, [source]) => lengthOf(source));
  }
  const boundedArray = replaceBuiltIn(globalThis, 'Array', (native) => ({
    apply(target, self, args) {
      if (args.length === 1 && typeof args[0] === 'number') refuse(args[0]);
      return Reflect.apply(native, self, args);
    },
    construct(target, args, newTarget) {
      if (args.length === 1 && typeof args[0] === 'number') refuse(args[0]);
      return Reflect.construct(native, args, newTarget);
    },
  }));
  Array.prototype.constructor = boundedArray;
  for (const name of ['ArrayBuffer', 'SharedArrayBuffer', 'Uint8Array', 'Uint16Array', 'Uint32Array', 'Float64Array']) {
    replaceBuiltIn(globalThis, name, (native) => ({
      construct(target, args, newTarget) {
        if (typeof args[0] === 'number') refuse(args[0]);
        return Reflect.construct(native, args, newTarget);
      },
    }));
  }
  const patchedToString = { toString() { return textOf(this); } }.toString;
  nativeText.set(patchedToString, 'function toString() { [native code] }');
  Object.defineProperty(Function.prototype, 'toString', { value: patchedToString, writable: true, configurable: true });

  const define = (name, value) =>
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
  const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  const bytesOfBase64 = (text) => {
    const bytes = [];
    let bits = 0;
    let pending = 0;
    for (const digit of text.replace(/-/g, '+').replace(/_/g, '/')) {
      const value = DIGITS.indexOf(digit);
      if (value < 0) continue;
      pending = ((pending << 6) | value) & 0xffff;
      bits += 6;
      if (bits >= 8) {
        bits -= 8;
        bytes.push((pending >> bits) & 0xff);
      }
    }
    return bytes;
  };
  const base64OfBytes = (bytes) => {
    let text = '';
    for (let i = 0; i < bytes.length; i += 3) {
      const group = (bytes[i] << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
      text += DIGITS[group >> 18] + DIGITS[(group >> 12) & 63];
      text += i + 1 < bytes.length ? DIGITS[(group >> 6) & 63] : '=';
      text += i + 2 < bytes.length ? DIGITS[group & 63] : '=';
    }
    return text;
  };
  const textOfBytes = (bytes) => {
    let text = '';
    for (const byte of bytes) text += String.fromCharCode(byte);
    return text;
  };
  const bytesOfText = (text) => [...text].map((character) => character.charCodeAt(0) & 0xff);
  const utf8OfText = (text) => bytesOfText(unescape(encodeURIComponent(text)));
  const textOfUtf8 = (bytes) => {
    try {
      return decodeURIComponent(escape(textOfBytes(bytes)));
    } catch {
      throw new TypeError('Malformed UTF-8 is not decoded here');
    }
  };
  const bytesOfHex = (text) => (text.match(/[0-9a-f]{2}/gi) ?? []).map((pair) => parseInt(pair, 16));
  const textOfUtf16 = (bytes) => {
    let text = '';
    for (let i = 0; i + 1 < bytes.length; i += 2) text += String.fromCharCode(bytes[i] | (bytes[i + 1] << 8));
    return text;
  };

  define('atob', { atob(text) {
    const packed = String(text).replace(/[\t\n\f\r ]/g, '');
    const digits = packed.length % 4 === 0 ? packed.replace(/={1,2}$/, '') : packed;
    if (digits.length % 4 === 1 || /[^A-Za-z0-9+/]/.test(digits)) {
      throw new Error('The string to be decoded is not correctly encoded.');
    }
    return textOfBytes(bytesOfBase64(digits));
  } }.atob);
  define('btoa', { btoa(text) { return base64OfBytes(bytesOfText(String(text))); } }.btoa);

  const encodings = {
    utf8: [utf8OfText, textOfUtf8],
    latin1: [bytesOfText, textOfBytes],
    ascii: [bytesOfText, (bytes) => textOfBytes([...bytes].map((byte) => byte & 127))],
    hex: [bytesOfHex, (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')],
    base64: [bytesOfBase64, base64OfBytes],
    base64url: [bytesOfBase64, (bytes) => base64OfBytes(bytes).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '')],
    utf16le: [undefined, textOfUtf16],
  };
  const ALIASES = { 'utf-8': 'utf8', binary: 'latin1', ucs2: 'utf16le', 'utf-16le': 'utf16le' };
  const codec = (name) => {
    const label = String(name ?? 'utf8').toLowerCase();
    const found = encodings[ALIASES[label] ?? label];
    if (found === undefined) throw new TypeError('Unknown encoding');
    return found;
  };
  class Buffer extends Uint8Array {
    static from(source, encoding) {
      if (typeof source !== 'string') return super.from(source, (value) => Number(value));
      return super.from(codec(encoding)[0](source));
    }
    static isBuffer(value) {
      return value instanceof Buffer;
    }
    toString(encoding) {
      return codec(encoding)[1](this);
    }
  }
  define('Buffer', Buffer);
  define('TextDecoder', class TextDecoder {
    #label;
    constructor(label) {
      this.#label = label;
      codec(label);
    }
    decode(bytes) {
      return codec(this.#label)[1](bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : bytes ?? []);
    }
  });
  define('TextEncoder', class TextEncoder {
    encode(text) {
      return Uint8Array.from(utf8OfText(String(text ?? '')));
    }
  });
  Object.defineProperty(globalThis, '__registerNativeText', {
    value(fn, text) {
      nativeText.set(fn, text);
    },
  });
})();
`;

/**
 * Runs a program before and after a transformation in the isolate and compares what it says: console lines,
 * output, and the kind of an uncaught error. Not a proof, but what differs here is certainly broken. The
 * clock and the random numbers stand still, so that two runs of one program are alike.
 */
import { runInIsolate } from './isolate.js';

export interface Behaviour {
  readonly lines: readonly string[];
  /** False where the time limit ended the run: there may have been more to say. */
  readonly ended: boolean;
}

/** Undefined where the run says nothing: it used up its memory, or there is no isolate. */
export async function observeBehaviour(source: string, timeoutMs: number): Promise<Behaviour | undefined> {
  const results = await runInIsolate([STAGE, source, ...PUMPS, 'globalThis.__behaviour()'], timeoutMs);
  const [stage, run] = results;
  const report = results.at(-1);
  if (stage?.status !== 'done' || run === undefined || report?.status !== 'done') return undefined;
  const lines = parseLines(report.text ?? '');
  const exported = lines?.pop();
  if (lines === undefined || exported === undefined) return undefined;
  const ended = results.every((result) => result.status === 'done' || result.reason === 'threw');
  if (run.status === 'failed' && run.reason === 'threw') lines.push(`uncaught ${run.errorName}`);
  // What a module exports is known only when it has run to its end.
  if (ended) lines.push(exported);
  return { lines, ended };
}

/** Does the second program, as far as both were seen, say what the first one says, and end where it ends? */
export function behavesLike(first: Behaviour, second: Behaviour): boolean {
  if (first.ended && !second.ended) return false;
  if (first.ended && first.lines.length !== second.lines.length) return false;
  const common = Math.min(first.lines.length, second.lines.length);
  return first.lines.slice(0, common).every((line, i) => line === second.lines[i]);
}

function parseLines(text: string): string[] | undefined {
  try {
    const lines: unknown = JSON.parse(text);
    return Array.isArray(lines) ? lines.map(String) : undefined;
  } catch {
    return undefined;
  }
}

/** Timers run between scripts, so that promises settle in between as they do in an event loop. */
const PUMPS: readonly string[] = Array.from({ length: 6 }, () => 'globalThis.__runTimers()');

const STAGE = String.raw`
(() => {
  'use strict';
  const MAX_LINES = 2000;
  const lines = [];
  const stringify = JSON.stringify;
  const describe = (value, depth) => {
    if (typeof value === 'string') return depth === 0 ? value : stringify(value);
    if (typeof value === 'function') return '[function]';
    if (typeof value === 'symbol') return String(value);
    if (typeof value !== 'object' || value === null) return Object.is(value, -0) ? '-0' : String(value);
    if (value instanceof Error) return value.name + ': ' + value.message;
    if (depth > 3) return '[deep]';
    if (value instanceof Map || value instanceof Set) return describe([...value], depth + 1);
    if (Array.isArray(value)) return '[' + value.slice(0, 100).map((item) => describe(item, depth + 1)).join() + ']';
    const keys = Object.keys(value).slice(0, 100);
    return '{' + keys.map((key) => key + ':' + describe(value[key], depth + 1)).join() + '}';
  };
  const say = (channel, values, target = lines) => {
    if (target.length >= MAX_LINES) return;
    let text;
    try {
      text = values.map((value) => describe(value, 0)).join(' ');
    } catch {
      text = '[unprintable]';
    }
    target.push(channel + ' ' + text.slice(0, 4000));
  };
  const define = (name, value) =>
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
  const console = {};
  for (const name of ['log', 'info', 'warn', 'error', 'debug', 'dir', 'table', 'trace', 'group', 'groupEnd', 'exception']) {
    console[name] = { log(...values) { say(name, values); } }.log;
  }
  define('console', console);
  define('process', {
    stdout: { write(text) { say('stdout', [text]); return true; } },
    stderr: { write(text) { say('stderr', [text]); return true; } },
    argv: ['node', 'sample.js'],
    env: {},
    platform: 'linux',
    version: 'v24.0.0',
    versions: { node: '24.0.0' },
    on() {},
    once() {},
    cwd: () => '/',
    exit(code) { say('exit', [code]); },
    nextTick: (callback, ...args) => void Promise.resolve().then(() => callback(...args)),
  });
  const module = { exports: {} };
  define('module', module);
  define('exports', module.exports);
  define('require', (name) => {
    say('require', [name]);
    throw new Error('There are no modules here');
  });

  let sequence = 0;
  let now = 0;
  const queue = [];
  const schedule = (repeats) => (callback, delay, ...args) => {
    const id = ++sequence;
    queue.push({ id, at: now + Math.max(1, Number(delay) || 1), callback, args, repeats, delay });
    return id;
  };
  const cancel = (id) => {
    const index = queue.findIndex((entry) => entry.id === id);
    if (index >= 0) queue.splice(index, 1);
  };
  define('setTimeout', schedule(0));
  define('setImmediate', (callback, ...args) => schedule(0)(callback, 0, ...args));
  define('setInterval', schedule(2));
  for (const name of ['clearTimeout', 'clearInterval', 'clearImmediate']) define(name, cancel);
  define('queueMicrotask', (callback) => void Promise.resolve().then(callback));
  const globalEval = globalThis.eval;
  Object.defineProperty(globalThis, '__runTimers', { value: () => {
    for (let count = 0; count < 40 && queue.length > 0; count++) {
      queue.sort((a, b) => a.at - b.at || a.id - b.id);
      const entry = queue.shift();
      now = entry.at;
      if (entry.repeats > 0) queue.push({ ...entry, at: now + Math.max(1, Number(entry.delay) || 1), repeats: entry.repeats - 1 });
      try {
        if (typeof entry.callback === 'function') entry.callback(...entry.args);
        else globalEval(String(entry.callback));
      } catch (error) {
        say('uncaught', [error && error.name]);
      }
    }
  } });

  let seed = 42;
  Math.random = { random() { seed = (seed * 16807) % 2147483647; return seed / 2147483647; } }.random;
  const FROZEN_TIME = 1700000000000;
  const NativeDate = Date;
  define('Date', new Proxy(NativeDate, {
    apply: () => new NativeDate(FROZEN_TIME).toISOString(),
    construct: (target, args) => (args.length === 0 ? new NativeDate(FROZEN_TIME) : Reflect.construct(NativeDate, args)),
    get: (target, key) => (key === 'now' ? () => FROZEN_TIME : Reflect.get(NativeDate, key)),
  }));
  define('performance', { now: () => 0 });

  class URLSearchParams {
    #entries;
    constructor(query) {
      this.#entries = String(query ?? '').replace(/^\?/, '').split('&').filter(Boolean).map((pair) => {
        const [key, ...rest] = pair.split('=');
        return [decodeURIComponent(key), decodeURIComponent(rest.join('='))];
      });
    }
    get(key) { return this.#entries.find(([name]) => name === key)?.[1] ?? null; }
    has(key) { return this.#entries.some(([name]) => name === key); }
    set(key, value) { this.delete(key); this.append(key, value); }
    append(key, value) { this.#entries.push([String(key), String(value)]); }
    delete(key) { this.#entries = this.#entries.filter(([name]) => name !== key); }
    toString() { return this.#entries.map((pair) => pair.map(encodeURIComponent).join('=')).join('&'); }
    [Symbol.iterator]() { return this.#entries[Symbol.iterator](); }
  }
  define('URLSearchParams', URLSearchParams);
  define('URL', class URL {
    constructor(text, base) {
      const parts = /^([a-z][a-z\d+.-]*:)\/\/([^/?#:]*)(:\d+)?([^?#]*)(\?[^#]*)?(#.*)?$/i.exec(String(text));
      if (parts === null) {
        if (base !== undefined) return new URL(String(base).replace(/\/[^/]*$/, '/') + text);
        throw new TypeError('Invalid URL');
      }
      [, this.protocol, this.hostname, this.port, this.pathname, , this.hash] = parts;
      this.searchParams = new URLSearchParams(parts[5]);
      this.host = this.hostname + (this.port ?? '');
    }
    get search() { const query = this.searchParams.toString(); return query === '' ? '' : '?' + query; }
    get href() { return this.protocol + '//' + this.host + this.pathname + this.search + (this.hash ?? ''); }
    toString() { return this.href; }
  });
  Object.defineProperty(globalThis, '__behaviour', { value: () => {
    const exported = [];
    say('exports', [module.exports], exported);
    return stringify([...lines, exported[0] ?? '']);
  } });
})()`;

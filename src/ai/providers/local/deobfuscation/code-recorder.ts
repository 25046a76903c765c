/**
 * Finds out which code a wrapper script would run. In the isolate, everything that turns text into code
 * (`eval`, `Function` and each `.constructor` path to it, timers with a text, `document.write`) only notes
 * its argument.
 */
import { runInIsolate } from './isolate.js';

export interface RecordedCode {
  readonly via: 'eval' | 'Function' | 'timer' | 'document.write';
  readonly code: string;
  /** Parameter names of a function made from text. */
  readonly parameters: string;
}

export interface Recording {
  readonly executions: readonly RecordedCode[];
  /** The script did something besides: it wrote to the console. */
  readonly hasOtherEffects: boolean;
  readonly finished: boolean;
}

export async function recordExecutedCode(source: string, timeoutMs: number): Promise<Recording | undefined> {
  const [, run, report] = await runInIsolate([RECORDER, source, 'globalThis.__recordedCode()'], timeoutMs);
  if (report?.status !== 'done' || report.text === undefined) return undefined;
  const parsed = parseReport(report.text);
  return parsed === undefined ? undefined : { ...parsed, finished: run?.status === 'done' };
}

function parseReport(text: string): Omit<Recording, 'finished'> | undefined {
  let report: unknown;
  try {
    report = JSON.parse(text);
  } catch {
    return undefined;
  }
  // Nothing that comes out of the isolate is trusted to have the shape that the recorder gave it.
  if (typeof report !== 'object' || report === null || !('executions' in report)) return undefined;
  if (!Array.isArray(report.executions)) return undefined;
  const executions = report.executions.filter(isRecordedCode);
  return { executions, hasOtherEffects: !('effects' in report) || report.effects !== 0 };
}

const CHANNELS: ReadonlySet<unknown> = new Set(['eval', 'Function', 'timer', 'document.write']);

function isRecordedCode(value: unknown): value is RecordedCode {
  if (typeof value !== 'object' || value === null) return false;
  if (!('via' in value) || !('code' in value) || !('parameters' in value)) return false;
  return CHANNELS.has(value.via) && typeof value.code === 'string' && typeof value.parameters === 'string';
}

/**
 * Encoders first ask `Function` for small things (`return eval`, `return this`, a text with escapes): those
 * run for real, inside the isolate. A function made from text is noted when it is called, not when it is
 * made.
 */
const RECORDER = String.raw`
(() => {
  'use strict';
  const executions = [];
  let effects = 0;
  const stringify = JSON.stringify;
  const push = (via, code, parameters) => {
    if (executions.length < 20) executions.push({ via, code: String(code), parameters });
  };
  const HARMLESS = [
    /^\s*return\b\s*\(?\s*(?:"(?:[^"\\]|\\[^])*"|'(?:[^'\\]|\\[^])*'|\/(?:[^\/\\\n]|\\.)+\/[a-z]*|[\w$.]+)?\s*\)?\s*;?\s*$/,
    /^\s*return\s*\(?function\s*\(\)\s*\{\s*\}\.constructor\(\s*["']return this["']\s*\)\(\s*\)\s*\)?;?\s*$/,
    /^\s*(?:debugger\s*;?)?\s*$/,
    /^\s*while\s*\(true\)\s*\{\s*\}\s*$/,
  ];
  const isHarmless = (code) => HARMLESS.some((pattern) => pattern.test(code));
  const recordConstructor = (sample) => {
    const native = sample.constructor;
    const make = (args, newTarget) => {
      const code = args.length === 0 ? '' : String(args[args.length - 1]);
      if (/^\s*while/.test(code)) return () => undefined;
      if (isHarmless(code)) return Reflect.construct(native, args, newTarget);
      const parameters = args.slice(0, -1).map(String).join(',');
      return function anonymous() {
        push('Function', code, parameters);
      };
    };
    const proxy = new Proxy(native, {
      apply: (target, self, args) => make(args, native),
      construct: (target, args) => make(args, native),
    });
    globalThis.__registerNativeText(proxy, 'function ' + native.name + '() { [native code] }');
    Object.defineProperty(Object.getPrototypeOf(sample), 'constructor', { value: proxy, writable: true, configurable: true });
    return proxy;
  };
  const define = (name, value) =>
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
  define('Function', recordConstructor(function () {}));
  recordConstructor(function* () {});
  recordConstructor(async function () {});
  recordConstructor(async function* () {});
  const recordEval = {
    eval(code) {
      if (typeof code !== 'string') return code;
      push('eval', code, '');
      return undefined;
    },
  }.eval;
  globalThis.__registerNativeText(recordEval, 'function eval() { [native code] }');
  define('eval', recordEval);
  define('execScript', recordEval);
  const timer = (code) => {
    if (typeof code === 'string') push('timer', code, '');
    else effects++;
    return 1;
  };
  for (const name of ['setTimeout', 'setInterval', 'setImmediate', 'requestAnimationFrame']) define(name, timer);
  for (const name of ['clearTimeout', 'clearInterval']) define(name, () => undefined);
  const effect = () => {
    effects++;
  };
  define('console', { log: effect, info: effect, warn: effect, error: effect, debug: effect, dir: effect, table: effect });
  define('alert', effect);
  const write = (...texts) => push('document.write', texts.join(''), '');
  define('document', { write, writeln: write });
  for (const name of ['window', 'self', 'global', 'top']) define(name, globalThis);
  Object.defineProperty(globalThis, '__recordedCode', { value: () => stringify({ executions, effects }) });
})();
`;

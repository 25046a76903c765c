/**
 * Runs a sample's own code in a V8 isolate: no host object goes in, only text comes out. The isolate has
 * neither `process`, `require` nor a network; a time and a memory limit end what does not end by itself.
 */
import type IsolatedVm from 'isolated-vm';
import { ISOLATE_PRELUDE } from './isolate-prelude.js';

export const ISOLATE_MEMORY_MB = 64;

export type IsolateResult =
  | { readonly status: 'done'; readonly text: string | undefined }
  | {
      readonly status: 'failed';
      readonly reason: 'threw' | 'timeout' | 'memory';
      readonly errorName: string;
    };

let loading: Promise<typeof IsolatedVm | undefined> | undefined;

/**
 * Loaded on first use: where no build of the addon exists, everything that needs no execution still works.
 */
async function loadIsolatedVm(): Promise<typeof IsolatedVm | undefined> {
  loading ??= import('isolated-vm').then(
    (module) => module.default,
    () => undefined,
  );
  return loading;
}

export async function isolateIsAvailable(): Promise<boolean> {
  return (await loadIsolatedVm()) !== undefined;
}

/**
 * Runs the scripts one after the other in one fresh context and returns one result per script; a script that
 * fails does not keep the next one from running, unless the memory limit has destroyed the isolate.
 */
export async function runInIsolate(scripts: readonly string[], timeoutMs: number): Promise<IsolateResult[]> {
  const ivm = await loadIsolatedVm();
  if (ivm === undefined) return scripts.map(() => failure('threw'));
  const isolate = new ivm.Isolate({ memoryLimit: ISOLATE_MEMORY_MB });
  try {
    const context = await isolate.createContext();
    await context.eval(ISOLATE_PRELUDE, { timeout: timeoutMs });
    const endsAt = performance.now() + timeoutMs;
    const results: IsolateResult[] = [];
    for (const script of scripts) {
      const remainingMs = Math.max(20, Math.ceil(endsAt - performance.now()));
      results.push(await runScript(isolate, context, script, remainingMs));
    }
    return results;
  } catch {
    return scripts.map(() => failure('memory'));
  } finally {
    if (!isolate.isDisposed) isolate.dispose();
  }
}

async function runScript(
  isolate: IsolatedVm.Isolate,
  context: IsolatedVm.Context,
  script: string,
  timeoutMs: number,
): Promise<IsolateResult> {
  if (isolate.isDisposed) return failure('memory');
  try {
    const value: unknown = await context.eval(script, { timeout: timeoutMs });
    return { status: 'done', text: typeof value === 'string' ? value : undefined };
  } catch (error) {
    if (isolate.isDisposed) return failure('memory');
    const { name, message } = describeError(error);
    return failure(message.includes('timed out') ? 'timeout' : 'threw', name);
  }
}

function failure(reason: 'threw' | 'timeout' | 'memory', errorName = ''): IsolateResult {
  return { status: 'failed', reason, errorName };
}

/** Errors of the isolate come from another realm, where `instanceof` does not reach. */
function describeError(error: unknown): { name: string; message: string } {
  const isObject = typeof error === 'object' && error !== null;
  const name = isObject && 'name' in error ? String(error.name) : typeof error;
  return { name, message: isObject && 'message' in error ? String(error.message) : '' };
}

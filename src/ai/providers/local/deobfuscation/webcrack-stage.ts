/**
 * webcrack: string arrays, control flow objects, guards and minified syntax. Its string decoder runs the
 * sample's code, so it is given our isolate; a decoder that does not finish costs the decoding, not the whole
 * result.
 */
import { webcrack, type Options } from 'webcrack';
import type { Budget } from './budget.js';
import { runInIsolate } from './isolate.js';
import { WEBCRACK_PRECAUTIONS } from './webcrack-precautions.js';

export interface WebcrackResult {
  readonly code: string;
  /** Texts that its decoder put in place. */
  readonly decodedStrings: number;
  readonly decoderFailed: boolean;
}

const DECODER_TIMEOUT_MS = 2_000;

/** Throws what webcrack throws where even the reduced run fails; the caller keeps the previous stage. */
export async function runWebcrack(source: string, budget: Budget): Promise<WebcrackResult> {
  const sandbox = new DecoderSandbox(budget);
  try {
    const { code } = await webcrack(source, { ...OPTIONS, sandbox: (script: string) => sandbox.run(script) });
    return { code, decodedStrings: sandbox.decodedStrings, decoderFailed: false };
  } catch (error) {
    if (!sandbox.failed) throw error;
    const { code } = await webcrack(source, { ...OPTIONS, deobfuscate: false });
    return { code, decodedStrings: 0, decoderFailed: true };
  }
}

const OPTIONS: Options = { jsx: false, unpack: false, mangle: false, plugins: WEBCRACK_PRECAUTIONS };

class DecoderSandbox {
  decodedStrings = 0;
  failed = false;
  readonly #budget: Budget;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  /** webcrack hands over an expression whose value is a list of strings. */
  async run(script: string): Promise<unknown[]> {
    const timeoutMs = this.#budget.slice(DECODER_TIMEOUT_MS);
    const [outcome] = await runInIsolate([`JSON.stringify(${script})`], timeoutMs);
    const values: unknown = outcome?.status === 'done' ? parseJson(outcome.text ?? '') : undefined;
    if (!Array.isArray(values)) {
      this.failed = true;
      throw new Error('The string decoder did not finish');
    }
    const strings = values.map((value: unknown) => (typeof value === 'string' ? value : undefined));
    this.decodedStrings += strings.filter((value) => value !== undefined).length;
    return strings;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

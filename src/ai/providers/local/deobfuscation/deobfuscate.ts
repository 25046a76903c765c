/**
 * The deobfuscation pipeline: layers of wrappers, webcrack, constant texts, and again while something is
 * gained. Each stage's result must parse and behave like its input, or the stage is dropped: a program that
 * reads well and does something else is worse than an obfuscated one.
 */
import type { Coverage } from '../../../analysis.js';
import type { Deobfuscation, Dialect } from '../local-analysis.js';
import { behavesLike, observeBehaviour, type Behaviour } from './behaviour-check.js';
import { Budget } from './budget.js';
import { confidenceOf } from './confidence.js';
import { foldConstants } from './fold-constants.js';
import { countHiddenLiterals } from './hidden-literals.js';
import { inlineConstantLayers } from './inline-layers.js';
import { isolateIsAvailable } from './isolate.js';
import { spellPlainly } from './plain-literals.js';
import { stripTypes } from './strip-types.js';
import { parses, printCompact, readProgram } from './syntax.js';
import {
  hidesTexts,
  looksGenerated,
  nameOfStringArray,
  residueOf,
  strongTechniquesOf,
  weakTechniquesOf,
  type Residue,
} from './techniques.js';
import { isWrittenInSymbols, unwrapLayer, type Layer } from './unwrap-layers.js';
import { runWebcrack } from './webcrack-stage.js';

const FULL_PIPELINE_MAX_BYTES = 256 * 1024;
const MAX_LAYERS = 5;
const MAX_LISTED_LAYERS = 50;
const MAX_PASSES = 3;
const BEHAVIOUR_TIMEOUT_MS = 500;
/** Below this, a step would only be cut off. */
const MIN_STEP_MS = 150;
/** webcrack cannot be interrupted: it is not started when its usual pace would exceed the budget. */
const WEBCRACK_MS_PER_KB = 9;

const DEEP_NESTING = 'nested too deeply';

export interface DeobfuscateOptions {
  readonly dialect: Dialect;
  readonly timeoutMs: number;
}

export async function deobfuscate(source: string, options: DeobfuscateOptions): Promise<Deobfuscation> {
  const run = new DeobfuscationRun(source, options);
  try {
    return await run.result();
  } catch (error) {
    // Whatever a hostile program makes of a library, the answer stays an answer.
    const reason = error instanceof RangeError ? `the program is ${DEEP_NESTING}` : 'an internal step failed';
    return unchanged(source, { level: 'partial', parsed: true, limits: [`Nothing was decoded: ${reason}.`] });
  }
}

class DeobfuscationRun {
  readonly #source: string;
  readonly #dialect: Dialect;
  readonly #budget: Budget;
  readonly #techniques: Set<string>;
  readonly #layers: Layer[] = [];
  /** How many times code was found inside of code; one time may bring several layers. */
  #depth = 0;
  readonly #limits = new Set<string>();
  #code: string;
  #behaviour: Behaviour | undefined;
  /**
   * The code before any of it was printed anew; programs that test their layout must be given back as this.
   */
  #asWritten: string;
  #guardsMayRemain = false;
  #decodedStrings = 0;
  #foldedExpressions = 0;
  #stepFailed = false;

  constructor(source: string, { dialect, timeoutMs }: DeobfuscateOptions) {
    this.#source = source;
    this.#code = source;
    this.#asWritten = source;
    this.#dialect = dialect;
    this.#budget = new Budget(timeoutMs);
    this.#techniques = new Set(strongTechniquesOf(source));
  }

  async result(): Promise<Deobfuscation> {
    const isLarge = Buffer.byteLength(this.#source) > FULL_PIPELINE_MAX_BYTES;
    const inSymbols = isWrittenInSymbols(this.#source);
    if (isLarge && !inSymbols) return this.#largeSource();
    if (!(await isolateIsAvailable())) {
      this.#stepFailed = true;
      this.#limits.add(
        'The sandbox could not be loaded, so no code of the sample was run to decode its texts.',
      );
    }
    if (inSymbols) await this.#unwrap();
    const refusal = this.#prepare();
    if (refusal !== undefined) return refusal;
    this.#behaviour = await observeBehaviour(this.#code, this.#budget.slice(BEHAVIOUR_TIMEOUT_MS));
    for (let pass = 0; pass < MAX_PASSES; pass++) {
      if (!(await this.#pass(pass))) break;
    }
    return this.#conclusion();
  }

  /** Makes the source a JavaScript program that can be read, or says why it is none. */
  #prepare(): Deobfuscation | undefined {
    if (this.#dialect === 'typescript') {
      const stripped = stripTypes(this.#code);
      if ('failure' in stripped) return this.#unreadable(stripped.failure);
      this.#code = stripped.code;
    }
    const reading = readProgram(this.#code);
    if ('failure' in reading) return this.#unreadable(reading.failure);
    if (reading.source !== this.#code) {
      this.#limits.add('Names are declared more than once; let and const were read as var.');
    }
    this.#code = reading.source;
    return undefined;
  }

  #unreadable(failure: string): Deobfuscation {
    const limits = [...this.#limits, `The program could not be read: ${failure}. It is returned as it came.`];
    return unchanged(this.#source, {
      level: failure.includes(DEEP_NESTING) ? 'partial' : 'none',
      parsed: false,
      limits,
      techniques: [...this.#techniques],
    });
  }

  #largeSource(): Deobfuscation {
    const limit = `Sources above ${FULL_PIPELINE_MAX_BYTES / 1024} KB are not decoded; the program is returned as it came.`;
    return unchanged(this.#source, {
      level: 'partial',
      parsed: this.#dialect === 'javascript' && parses(this.#source),
      limits: [limit],
      techniques: [...this.#techniques],
    });
  }

  /** One round of all stages; true while another round may find more. */
  async #pass(pass: number): Promise<boolean> {
    const depth = this.#depth;
    await this.#unwrap();
    if (pass === 0) this.#asWritten = this.#code;
    // First of all, because programs that test their own layout stop working once they are printed anew.
    await this.#webcrack(pass);
    await this.#inlineLayers();
    await this.#spellPlainly();
    const folded = await this.#fold();
    await this.#inlineLayers();
    if (folded) return true;
    // Decoded texts may have uncovered a wrapper.
    if (this.#folded > 0) await this.#unwrap();
    return this.#depth > depth;
  }

  get #folded(): number {
    return this.#decodedStrings + this.#foldedExpressions;
  }

  async #unwrap(): Promise<void> {
    while (this.#depth < MAX_LAYERS && this.#hasTime()) {
      const unwrapped = await unwrapLayer(this.#code, this.#budget);
      if (unwrapped === undefined || !(await this.#accept(unwrapped.code))) return;
      this.#addLayers([unwrapped.layer]);
    }
    if (this.#depth >= MAX_LAYERS) {
      this.#limits.add(`Only the first ${MAX_LAYERS} layers of wrapped code were opened.`);
    }
  }

  async #inlineLayers(): Promise<void> {
    if (this.#depth >= MAX_LAYERS || !this.#hasTime()) return;
    const inlined = inlineConstantLayers(this.#code);
    if (inlined !== undefined && (await this.#accept(inlined.code))) this.#addLayers(inlined.layers);
  }

  #addLayers(layers: readonly Layer[]): void {
    this.#depth++;
    this.#layers.push(...layers.slice(0, MAX_LISTED_LAYERS - this.#layers.length));
    for (const { via } of layers) this.#techniques.add(`${via} wrapper`);
    for (const name of strongTechniquesOf(this.#code)) this.#techniques.add(name);
  }

  async #spellPlainly(): Promise<void> {
    if (!this.#hasTime()) return;
    const { code, decodedLiterals } = spellPlainly(this.#code);
    if (decodedLiterals > 0 && (await this.#accept(code))) this.#foldedExpressions += decodedLiterals;
  }

  async #webcrack(pass: number): Promise<void> {
    const expectedMs = MIN_STEP_MS + (Buffer.byteLength(this.#code) / 1024) * WEBCRACK_MS_PER_KB;
    if (!this.#hasTime(expectedMs)) {
      this.#guardsMayRemain ||= pass === 0;
      return;
    }
    const before = this.#code;
    try {
      const cracked = await runWebcrack(this.#code, this.#budget);
      if (cracked.decoderFailed) {
        this.#stepFailed = true;
        this.#techniques.add(nameOfStringArray(before));
        this.#limits.add('The string decoder did not finish; its texts are still encoded.');
      }
      if (!(await this.#accept(cracked.code))) {
        this.#guardsMayRemain ||= pass === 0;
        return;
      }
      this.#decodedStrings += cracked.decodedStrings;
      this.#foldedExpressions += Math.max(0, countHiddenLiterals(before) - countHiddenLiterals(cracked.code));
      if (cracked.decodedStrings > 0) this.#techniques.add(nameOfStringArray(before));
    } catch {
      if (pass > 0) return;
      this.#guardsMayRemain = true;
      this.#stepFailed = true;
      this.#limits.add('One deobfuscation step failed on this program and was left out.');
    }
  }

  /** True if texts were put in place. */
  async #fold(): Promise<boolean> {
    if (!this.#hasTime()) return false;
    const folding = await foldConstants(this.#code, this.#budget);
    if (folding.incomplete) {
      this.#stepFailed = true;
      this.#limits.add('Some constant expressions did not finish within their time or memory limit.');
    }
    const count = folding.decodedStrings + folding.foldedExpressions;
    if (count === 0 || !(await this.#accept(folding.code))) return false;
    this.#decodedStrings += folding.decodedStrings;
    this.#foldedExpressions += folding.foldedExpressions;
    if (folding.decodedStrings > 0) this.#techniques.add('decoder function or string table');
    return true;
  }

  #hasTime(neededMs = MIN_STEP_MS): boolean {
    if (this.#budget.allows(neededMs)) return true;
    this.#stepFailed = true;
    this.#limits.add('The time limit ended the analysis before every step was done.');
    return false;
  }

  /** Takes over a stage's result if it is still a program and still behaves the same. */
  async #accept(code: string): Promise<boolean> {
    if (code === this.#code) return true;
    if (!parses(code)) return this.#reject('could not be read any more');
    if (this.#behaviour !== undefined) {
      const behaviour = await observeBehaviour(code, this.#budget.slice(BEHAVIOUR_TIMEOUT_MS * 2));
      if (behaviour === undefined || !behavesLike(this.#behaviour, behaviour)) {
        return this.#reject('behaved differently');
      }
    }
    this.#code = code;
    return true;
  }

  /**
   * Without webcrack nobody has removed the guards that hang once a program is laid out anew. Where they may
   * still be there, visible or among texts that are not decoded, the code goes back as it was written.
   */
  #keepGuardedLayout(): void {
    const reading = readProgram(this.#code);
    if (this.#code === this.#asWritten || !('ast' in reading)) return;
    if (residueOf(reading.ast).undecodedCalls === 0 && !GUARD_SIGN.test(this.#code)) return;
    this.#code = this.#asWritten;
    this.#decodedStrings = 0;
    this.#foldedExpressions = 0;
    this.#limits.add(
      'The program tests its own layout and could not be decoded as a whole; its layout was kept.',
    );
  }

  #reject(reason: string): boolean {
    this.#stepFailed = true;
    this.#limits.add(`The result of one step was discarded because the program ${reason} after it.`);
    return false;
  }

  #conclusion(): Deobfuscation {
    if (this.#guardsMayRemain) this.#keepGuardedLayout();
    const hasDecoded = this.#folded + this.#depth > 0;
    const reading = readProgram(this.#code);
    const residue = 'ast' in reading ? residueOf(reading.ast) : NO_RESIDUE;
    const isObfuscated = this.#techniques.size > 0 || hasDecoded || looksGenerated(residue);
    if (hasDecoded) for (const name of weakTechniquesOf(this.#source)) this.#techniques.add(name);
    const confidence = confidenceOf({ isObfuscated, hasDecoded, stepFailed: this.#stepFailed, residue });
    if (isObfuscated && !hasDecoded) this.#limits.add(NOTHING_DECODED);
    if (hasDecoded && hidesTexts(residue)) this.#limits.add('Some texts of the program are still encoded.');
    const isWorthReturning = isObfuscated || isMinified(this.#source);
    const code = isWorthReturning ? this.#code : this.#source;
    return {
      code,
      changed: code !== this.#source && !saysTheSame(code, this.#source),
      techniques: [...this.#techniques],
      layers: this.#layers,
      decodedStrings: this.#decodedStrings,
      foldedExpressions: this.#foldedExpressions,
      confidence,
      level: this.#stepFailed ? 'partial' : 'full',
      parsed: true,
      limits: [...this.#limits],
    };
  }
}

/** What is left of a layout test (`(((.+)+)+)+$`) or a debugger trap in decoded code. */
const GUARD_SIGN = /\(\(\.\+\)\+\)|\bdebugger\b|["']counter["']/;

const NOTHING_DECODED =
  'The program looks obfuscated, but none of the known techniques was found; it is only laid out anew.';

const NO_RESIDUE: Residue = {
  undecodedCalls: 0,
  hexadecimalNames: 0,
  encodedLiterals: 0,
  scrambledLiterals: 0,
  flattenedFlow: false,
};

interface UnchangedResult {
  readonly level: Coverage['level'];
  readonly parsed: boolean;
  readonly limits: readonly string[];
  readonly techniques?: readonly string[];
}

function unchanged(
  source: string,
  { level, parsed, limits, techniques = [] }: UnchangedResult,
): Deobfuscation {
  return {
    code: source,
    changed: false,
    techniques,
    layers: [],
    decodedStrings: 0,
    foldedExpressions: 0,
    confidence: 'low',
    level,
    parsed,
    limits,
  };
}

/** Long lines without the spaces that people type. */
function isMinified(source: string): boolean {
  const lines = source.split('\n').length;
  const spaces = source.match(/\s/g)?.length ?? 0;
  return source.length / lines > 160 && spaces / source.length < 0.12;
}

function saysTheSame(left: string, right: string): boolean {
  const [leftReading, rightReading] = [readProgram(left), readProgram(right)];
  if (!('ast' in leftReading) || !('ast' in rightReading)) return false;
  return printCompact(leftReading.ast) === printCompact(rightReading.ast);
}

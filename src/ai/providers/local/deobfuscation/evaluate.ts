/** Evaluates closed expressions in the isolate, in batches; an expression that fails has no result. */
import { runInIsolate } from './isolate.js';

export interface Evaluation {
  /** Definitions that the expressions need, as program text. */
  readonly setup: string;
  readonly expressions: readonly string[];
}

/**
 * One entry per expression: its string, or undefined where it threw, is no string, or depends on the order.
 */
export type EvaluationResult = readonly (string | undefined)[];

const MAX_RESULT_LENGTH = 1 << 20;

/**
 * Everything is evaluated twice, in opposite orders and with fresh definitions: a function that counts its
 * calls or mixes in earlier arguments gives itself away and is left alone.
 */
export async function evaluate(
  evaluation: Evaluation,
  timeoutMs: number,
): Promise<EvaluationResult | undefined> {
  const forward = scriptOf(evaluation.setup, evaluation.expressions);
  const backward = scriptOf(evaluation.setup, evaluation.expressions.toReversed());
  const needsBoth = evaluation.setup !== '';
  const outcomes = await runInIsolate(needsBoth ? [forward, backward] : [forward], timeoutMs);
  const first = stringsOf(outcomes[0], evaluation.expressions.length);
  if (first === undefined || !needsBoth) return first;
  const second = stringsOf(outcomes[1], evaluation.expressions.length)?.toReversed();
  return second === undefined
    ? undefined
    : first.map((value, i) => (value === second[i] ? value : undefined));
}

function scriptOf(setup: string, expressions: readonly string[]): string {
  const thunks = expressions.map((expression) => `() => (${expression})`).join(',\n');
  return `(() => {
    for (const name of ['window', 'self', 'global', 'top']) globalThis[name] = globalThis;
    const stringify = JSON.stringify;
    const runAll = (thunks) => {
      const results = [];
      for (let i = 0; i < thunks.length; i++) {
        let value;
        try { value = thunks[i](); } catch { value = null; }
        results[i] = typeof value === 'string' && value.length <= ${MAX_RESULT_LENGTH} ? value : null;
      }
      return stringify(results);
    };
    return (() => {
      ${setup}
      return runAll([${thunks}]);
    })();
  })()`;
}

function stringsOf(
  outcome: Awaited<ReturnType<typeof runInIsolate>>[number] | undefined,
  expected: number,
): (string | undefined)[] | undefined {
  if (outcome?.status !== 'done' || outcome.text === undefined) return undefined;
  // The sample ran in the same realm and may have replaced what produced this text.
  let parsed: unknown;
  try {
    parsed = JSON.parse(outcome.text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(parsed) || parsed.length !== expected) return undefined;
  return parsed.map((value: unknown) => (typeof value === 'string' ? value : undefined));
}

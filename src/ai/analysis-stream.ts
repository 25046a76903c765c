import type { FailedAttempt } from './ai.errors.js';
import type { Analysis } from './analysis-cache-manager.js';

/** What is told of an analysis before its result. */
export type AnalysisProgress =
  /** A provider begins to answer, the first time or again. What came of an answer before is void. */
  | {
      readonly type: 'progress';
      readonly stage: 'attempt';
      readonly provider: string;
      readonly model: string;
      readonly attempt: number;
    }
  /** A provider could not answer; the next one is tried. */
  | ({ readonly type: 'progress'; readonly stage: 'failed' } & FailedAttempt)
  /**
   * The next piece of the answer's text, which begins at `offset` characters (UTF-16 units): what was gathered beyond is
   * void. When the result is here, the text is whole; it is the JSON that the result was read from.
   */
  | { readonly type: 'chunk'; readonly offset: number; readonly text: string };

const ATTEMPT = 'a';
const FAILED = 'f';
const TEXT = 't';
/** Of a chunk that is replayed, in UTF-16 units. */
const REPLAY_CHUNK = 16_384;

/** How progress travels from the factory to whoever waits, on whatever instance: one letter, then text or JSON. */
export const attemptPart = (facts: { provider: string; model: string; attempt: number }): string =>
  ATTEMPT + JSON.stringify(facts);
export const failedPart = (failed: FailedAttempt): string => FAILED + JSON.stringify(failed);
export const textPart = (text: string): string => TEXT + text;

/** What one listener has been told of an answer; the pieces are everybody's, so a crowd costs no more than its list of them. */
export class Transcript {
  private pieces: string[] = [];
  private length = 0;
  private run = 0;
  private hasTold = false;

  /** Nothing was told so far. */
  get isBlank(): boolean {
    return !this.hasTold;
  }

  /** Parts of a run that began anew replace those of the one before. */
  take(part: string, run: number): AnalysisProgress {
    if (run !== this.run) this.clear();
    this.run = run;
    this.hasTold = true;
    const body = part.slice(1);
    switch (part[0]) {
      case ATTEMPT:
        this.clear();
        return { type: 'progress', stage: 'attempt', ...(JSON.parse(body) as AttemptFacts) };
      case FAILED:
        return { type: 'progress', stage: 'failed', ...(JSON.parse(body) as FailedAttempt) };
      default: {
        const offset = this.length;
        this.pieces.push(body);
        this.length += body.length;
        return { type: 'chunk', offset, text: body };
      }
    }
  }

  /**
   * What is missing of the text of an analysis that is done: the rest, or all of it, if what was told is not how it begins.
   * So a hit replays, and a piece that got lost on the way from another instance is made good.
   */
  *rest({ transcript, result }: Pick<Analysis, 'transcript' | 'result'>): Iterable<AnalysisProgress> {
    const whole = transcript ?? JSON.stringify(result);
    for (let offset = this.begins(whole) ? this.length : 0; offset < whole.length; offset += REPLAY_CHUNK) {
      yield { type: 'chunk', offset, text: whole.slice(offset, offset + REPLAY_CHUNK) };
    }
  }

  private begins(whole: string): boolean {
    let at = 0;
    for (const piece of this.pieces) {
      if (!whole.startsWith(piece, at)) return false;
      at += piece.length;
    }
    return true;
  }

  private clear(): void {
    this.pieces = [];
    this.length = 0;
  }
}

type AttemptFacts = { readonly provider: string; readonly model: string; readonly attempt: number };

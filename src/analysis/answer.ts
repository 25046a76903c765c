import type { Analysis } from '../ai/analysis-cache-manager.js';

/** Without the transcript, which streams tell piece by piece. */
export type Answer = Omit<Analysis, 'transcript'>;

/** An analysis as clients get it. */
export function answerOf(analysis: Analysis): Answer {
  const { transcript: _, ...answer } = analysis;
  return answer;
}

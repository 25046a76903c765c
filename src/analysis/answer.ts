import type { Analysis } from '../ai/analysis-cache-manager.js';

/** An analysis as clients get it. The transcript is for streams, which tell it piece by piece. */
export function answerOf({ transcript: _, ...analysis }: Analysis): Omit<Analysis, 'transcript'> {
  return analysis;
}

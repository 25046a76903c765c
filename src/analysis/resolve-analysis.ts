import type { AiServiceManager, AnalysisOutcome } from '../ai/ai-service-manager.js';
import type { AnalysisRequest } from '../ai/analysis-key.js';
import { NotCachedError } from './analysis.errors.js';
import type { CacheDirectives } from './cache-headers.js';
import { cachePolicyOf } from './cache-headers.js';

/**
 * One analysis, as the directives of the request let it be come by.
 * @throws NotCachedError, and what `AiServiceManager.analyze` throws
 */
export async function resolveAnalysis(
  ai: AiServiceManager,
  request: AnalysisRequest,
  directives: CacheDirectives,
  signal: AbortSignal,
): Promise<AnalysisOutcome> {
  const outcome = await ai.analyze(request, { ...cachePolicyOf(directives, Date.now), signal });
  if (outcome === undefined) throw new NotCachedError();
  return outcome;
}

import { createAnthropic } from '@ai-sdk/anthropic';
import { LanguageModelProvider } from './language-model.provider.js';
import type { VendorOptions } from './language-model.provider.js';
import { apiRoot } from './base-url.js';
import { vendorFetch } from './vendor-fetch.js';

const DEFAULT_MODEL = 'claude-sonnet-5';
/** Of a model that it does not know the SDK asks for no more than 4096. */
const MAX_OUTPUT_TOKENS = 32_000;

/** Anthropic's Messages API. Undefined without a key. */
export function createClaude(options: VendorOptions): LanguageModelProvider | undefined {
  const { apiKey, model = DEFAULT_MODEL, baseUrl, maxOutputTokens = MAX_OUTPUT_TOKENS } = options;
  if (apiKey === undefined) return undefined;
  const vendor = createAnthropic({
    apiKey,
    baseURL: apiRoot(baseUrl, 'https://api.anthropic.com'),
    fetch: vendorFetch('claude'),
  });
  return new LanguageModelProvider({
    ...options,
    name: 'claude',
    model: vendor(model),
    maxOutputTokens,
    secret: apiKey,
  });
}

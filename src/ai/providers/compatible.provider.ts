import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { LanguageModelProvider } from './language-model.provider.js';
import type { VendorOptions } from './language-model.provider.js';
import { apiRoot } from './base-url.js';
import { vendorFetch } from './vendor-fetch.js';

/** What llama.cpp, which has one model, does not look at. */
const DEFAULT_MODEL = 'default';

/** Any server that speaks OpenAI's chat API: Ollama, vLLM, llama.cpp. Undefined without a URL; a key is optional. */
export function createCompatible(options: VendorOptions): LanguageModelProvider | undefined {
  const { apiKey, model = DEFAULT_MODEL, baseUrl } = options;
  if (baseUrl === undefined) return undefined;
  const vendor = createOpenAICompatible({
    name: 'compatible',
    baseURL: apiRoot(baseUrl),
    includeUsage: true,
    // All three hold a model to a JSON schema.
    supportsStructuredOutputs: true,
    fetch: vendorFetch('compatible'),
    ...(apiKey === undefined ? {} : { apiKey }),
  });
  return new LanguageModelProvider({ ...options, name: 'compatible', model: vendor(model), secret: apiKey });
}

import { createOpenAI } from '@ai-sdk/openai';
import { LanguageModelProvider } from './language-model.provider.js';
import type { VendorOptions } from './language-model.provider.js';
import { apiRoot } from './base-url.js';
import { vendorFetch } from './vendor-fetch.js';

const DEFAULT_MODEL = 'gpt-5.4-mini';

/** OpenAI's Responses API. Undefined without a key. */
export function createOpenai(options: VendorOptions): LanguageModelProvider | undefined {
  const { apiKey, model = DEFAULT_MODEL, baseUrl } = options;
  if (apiKey === undefined) return undefined;
  const vendor = createOpenAI({
    apiKey,
    baseURL: apiRoot(baseUrl, 'https://api.openai.com'),
    fetch: vendorFetch('openai'),
  });
  return new LanguageModelProvider({
    ...options,
    name: 'openai',
    model: vendor.responses(model),
    secret: apiKey,
    // Samples are not to be kept there.
    vendorOptions: { openai: { store: false } },
  });
}

import { createDeepSeek } from '@ai-sdk/deepseek';
import { LanguageModelProvider } from './language-model.provider.js';
import type { VendorOptions } from './language-model.provider.js';
import { vendorFetch } from './vendor-fetch.js';

const DEFAULT_MODEL = 'deepseek-v4-flash';

/** DeepSeek's chat API. Undefined without a key. */
export function createDeepseek(options: VendorOptions): LanguageModelProvider | undefined {
  const { apiKey, model = DEFAULT_MODEL, baseUrl } = options;
  if (apiKey === undefined) return undefined;
  const vendor = createDeepSeek({
    apiKey,
    baseURL: baseUrl ?? 'https://api.deepseek.com',
    fetch: vendorFetch('deepseek'),
  });
  return new LanguageModelProvider({ ...options, name: 'deepseek', model: vendor(model), secret: apiKey });
}

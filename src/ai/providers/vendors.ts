import type { VendorName } from '../analysis.js';
import type { AiProvider } from './ai-provider.js';
import { createClaude } from './claude.provider.js';
import { createCompatible } from './compatible.provider.js';
import { createDeepseek } from './deepseek.provider.js';
import type { VendorOptions } from './language-model.provider.js';
import { createOpenai } from './openai.provider.js';

/** Undefined: what it needs is not configured. */
export type CreateVendor = (options: VendorOptions) => AiProvider | undefined;

/** Every vendor's file, by the name that requests and variables give it. */
export const VENDORS: Readonly<Record<VendorName, CreateVendor>> = {
  claude: createClaude,
  openai: createOpenai,
  deepseek: createDeepseek,
  compatible: createCompatible,
};

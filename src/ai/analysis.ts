import { z } from 'zod';

/**
 * What is asked for and what is answered. The schemas are the single source: of the types, and of the check
 * that every provider's answer passes before it may be cached. A model's answer is data, never trusted.
 */

export const ANALYSIS_TYPES = ['deobfuscate', 'vulnerabilities'] as const;
export type AnalysisType = (typeof ANALYSIS_TYPES)[number];

/** Those whose models are asked over HTTP. A new one is a name here, a file in `providers/` and its line in `vendors.ts`. */
export const VENDOR_NAMES = ['claude', 'openai', 'deepseek', 'compatible'] as const;
export type VendorName = (typeof VENDOR_NAMES)[number];

/** `local` is embedded. */
export const PROVIDER_NAMES = [...VENDOR_NAMES, 'local'] as const;
export type ProviderName = (typeof PROVIDER_NAMES)[number];

export const SEVERITIES = ['low', 'medium', 'high', 'critical'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** What an analysis could and could not see; an answer without findings means nothing without it. */
export const coverageSchema = z.strictObject({
  /** Lower-case name of the language that was analysed, or `unknown`. */
  language: z.string().max(64),
  /** Where that name comes from: the file's extension, a successful parse, statistics, or nothing. */
  languageSource: z.enum(['hint', 'parse', 'guess', 'none']),
  parsed: z.boolean(),
  level: z.enum(['full', 'partial', 'pattern-only', 'none']),
  confidence: z.enum(['high', 'medium', 'low']),
  /** Plain sentences: what was not done, and why. */
  limits: z.array(z.string().max(1_000)).max(64),
});
export type Coverage = z.infer<typeof coverageSchema>;

export const vulnerabilitySchema = z.strictObject({
  name: z.string().min(1).max(200),
  description: z.string().max(4_000),
  severity: z.enum(SEVERITIES),
  cveId: z
    .string()
    .regex(/^CVE-\d{4}-\d{4,}$/)
    .optional(),
  cweId: z
    .string()
    .regex(/^CWE-\d+$/)
    .optional(),
  /** 1-based line of the submitted file; absent when the flaw is only visible in decoded code. */
  line: z.int().min(1).optional(),
  metasploitModule: z.string().max(300).optional(),
});
export type Vulnerability = z.infer<typeof vulnerabilitySchema>;

export const deobfuscationResultSchema = z.strictObject({
  deobfuscatedCode: z.string(),
  analysisReport: z.string(),
  coverage: coverageSchema.optional(),
});
export type DeobfuscationResult = z.infer<typeof deobfuscationResultSchema>;

export const vulnerabilitiesResultSchema = z.strictObject({
  vulnerabilities: z.array(vulnerabilitySchema).max(1_000),
  analysisReport: z.string(),
  coverage: coverageSchema.optional(),
});
export type VulnerabilitiesResult = z.infer<typeof vulnerabilitiesResultSchema>;

export interface AnalysisResults {
  deobfuscate: DeobfuscationResult;
  vulnerabilities: VulnerabilitiesResult;
}
export type AnalysisResult<T extends AnalysisType = AnalysisType> = AnalysisResults[T];

import { createHash } from 'node:crypto';

const FENCED = /^(`{3,})[^\n]*\n(?<sample>.*?)\n\1$/ms;

/**
 * A valid analysis that can be known again by the sample: of which kind, the names in the request say. The sample is
 * the first fenced block of the prompt, or all of it.
 */
export function sampleAnswer(prompt: string, body: unknown): string {
  const sample = FENCED.exec(prompt)?.groups?.['sample'] ?? prompt;
  const hash = createHash('sha256').update(sample).digest('hex').slice(0, 12);
  const analysisReport = `A sample of ${sample.length} characters, ${hash}.`;
  return JSON.stringify(
    JSON.stringify(body).includes('deobfuscatedCode')
      ? { deobfuscatedCode: sample, analysisReport }
      : { vulnerabilities: [], analysisReport },
  );
}

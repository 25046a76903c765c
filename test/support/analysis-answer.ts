import { createHash } from 'node:crypto';

const FENCED = /^(?<fence>sample-[0-9a-f]{64})\n(?<sample>[^]*)\n\k<fence>$/m;

/** The sample in a prompt of ours, as the model sees it. */
export const sampleIn = (prompt: string): string => FENCED.exec(prompt)?.groups?.['sample'] ?? '';

/** A valid answer that shows which sample it is of; `deobfuscate` unless the vulnerabilities are asked for. */
export function analysisAnswer(prompt: string, body: unknown): string {
  const sample = sampleIn(prompt);
  const analysisReport = `Report on ${createHash('sha256').update(sample).digest('hex')}`;
  const isSearch = JSON.stringify(body).includes('find security flaws');
  return JSON.stringify(
    isSearch ? { vulnerabilities: [FINDING], analysisReport } : { deobfuscatedCode: sample, analysisReport },
  );
}

export const FINDING = {
  name: 'Code injection',
  description: 'eval of what a request brings',
  severity: 'critical',
  cveId: null,
  cweId: 'CWE-95',
  line: 1,
  metasploitModule: null,
};

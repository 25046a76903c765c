import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { vulnerabilitiesResultSchema } from '../../../../../src/ai/analysis.js';
import type { Findings } from '../../../../../src/ai/providers/local/local-analysis.js';
import { findVulnerabilities } from '../../../../../src/ai/providers/local/rules/find-vulnerabilities.js';
import { readSamples, type Sample } from './samples.js';

const CORPUS = 'test/corpus/vulnerabilities';

interface Labels {
  readonly [name: string]: {
    readonly file: string;
    readonly labels: readonly { readonly cwe: string; readonly line: number }[];
  };
}

function corpus(): Sample[] {
  const labels = JSON.parse(readFileSync(`${CORPUS}/labels.json`, 'utf8')) as Labels;
  return Object.entries(labels).map(([name, { file, labels: flaws }]) => ({
    name,
    dialect: 'javascript',
    code: readFileSync(`${CORPUS}/${file}`, 'utf8'),
    flaws: flaws.map(({ cwe, line }) => ({ cweId: cwe, line })),
  }));
}

function analyse({ code, dialect }: Pick<Sample, 'code' | 'dialect'>): Promise<Findings> {
  return findVulnerabilities(code, { dialect, timeoutMs: 10_000 });
}

/** What a sample's labels and the findings do not agree on; a finding may be one line off. */
function differences(sample: Sample, found: Findings): { missed: string[]; extra: string[] } {
  const rest = [...found.vulnerabilities];
  const missed: string[] = [];
  for (const { cweId, line } of sample.flaws) {
    const distance = (each: (typeof rest)[number]): number => Math.abs((each.line ?? 0) - line);
    const near = rest.filter((each) => each.cweId === cweId && distance(each) <= 1);
    const [best] = near.sort((a, b) => distance(a) - distance(b));
    if (best) {
      rest.splice(rest.indexOf(best), 1);
    } else {
      missed.push(`${cweId} on line ${line}`);
    }
  }
  const extra = rest
    .filter((each) => each.severity !== 'low')
    .map((each) => `${each.cweId ?? ''} on line ${each.line ?? 0}: ${each.description}`);
  return { missed, extra };
}

describe.each([
  ['corpus', corpus()],
  ['flawed samples', readSamples('flawed.txt')],
  ['clean samples', readSamples('clean.txt')],
])('findings in the %s', (_, samples) => {
  it.each(samples.map((sample) => [sample.name, sample] as const))('%s', async (_name, sample) => {
    const found = await analyse(sample);

    expect(differences(sample, found)).toEqual({ missed: [], extra: [] });
    expect(found.parsed).toBe(true);
    expect(found.limits.filter((limit) => /rule failed|stopped early/.test(limit))).toEqual([]);
  });
});

describe('a finding', () => {
  it('satisfies the schema of answers, in the order of lines, without a CVE', async () => {
    const samples = readSamples('flawed.txt');
    for (const sample of samples) {
      const { vulnerabilities } = await analyse(sample);
      const lines = vulnerabilities.map((each) => each.line ?? 0);
      const bare = vulnerabilities.map(({ confidence: _confidence, ...rest }) => rest);

      expect(() =>
        vulnerabilitiesResultSchema.parse({ vulnerabilities: bare, analysisReport: '' }),
      ).not.toThrow();
      expect(lines).toEqual([...lines].sort((a, b) => a - b));
      expect(vulnerabilities.every((each) => each.description.includes(`(${each.cweId ?? ''})`))).toBe(true);
      expect(vulnerabilities.every((each) => each.cveId === undefined)).toBe(true);
    }
  });

  it('is a step more severe when the value comes from the network', async () => {
    const fromCaller = await analyse({
      code: 'export const f = (id) => db.query(`SELECT a FROM t WHERE id = ${id}`);',
      dialect: 'javascript',
    });
    const fromClient = await analyse({
      code: "app.get('/', (req) => db.query(`SELECT a FROM t WHERE id = ${req.query.id}`));",
      dialect: 'javascript',
    });

    expect(fromCaller.vulnerabilities.map((each) => each.severity)).toEqual(['high']);
    expect(fromClient.vulnerabilities.map((each) => each.severity)).toEqual(['critical']);
  });

  it('does not print the secret that it is about', async () => {
    const secret = 'ghp_a8Kd93jfLq02MxZpT7vYbN4rWc6sUe1HgQ5i';
    const { vulnerabilities } = await analyse({
      code: `const githubToken = '${secret}';`,
      dialect: 'javascript',
    });

    expect(vulnerabilities).toHaveLength(1);
    expect(JSON.stringify(vulnerabilities)).not.toContain(secret.slice(0, 8));
  });

  it('is reported once for the same kind and line', async () => {
    const code = "app.get('/', (req) => { eval(req.query.a); eval(req.query.b); });";
    const { vulnerabilities } = await analyse({ code, dialect: 'javascript' });

    expect(vulnerabilities.map((each) => each.cweId)).toEqual(['CWE-95']);
  });
});

describe('weaker signals', () => {
  it('are observations, not findings', async () => {
    const code = "import os from 'node:os';\nconsole.log(os.hostname(), 'http://bit.ly/abc');";
    const { vulnerabilities, observations, level } = await analyse({ code, dialect: 'javascript' });

    expect(vulnerabilities).toEqual([]);
    expect(observations.join('\n')).toMatch(/data-exfiltration/);
    expect(level).toBe('full');
  });

  it('do not contradict the proof that a regular expression has one way to match', async () => {
    const code = 'export const slug = /^[a-z]+(?:-[a-z]+)*(?:_[a-z]+)*$/;';
    const { vulnerabilities } = await analyse({ code, dialect: 'javascript' });

    expect(vulnerabilities).toEqual([]);
  });

  it('name obfuscated code', async () => {
    const code = readFileSync('test/corpus/obfuscated/01-jo-default.js', 'utf8');
    const { vulnerabilities } = await analyse({ code, dialect: 'javascript' });

    expect(vulnerabilities.map((each) => each.name)).toContain('Obfuscated code');
  });
});

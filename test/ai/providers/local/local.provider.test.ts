import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import {
  AiError,
  AnalysisCrashedError,
  AnalysisTimeoutError,
  ContentTooLargeError,
  ProviderUnavailableError,
} from '../../../../src/ai/ai.errors.js';
import {
  deobfuscationResultSchema,
  vulnerabilitiesResultSchema,
  type AnalysisResult,
  type AnalysisType,
} from '../../../../src/ai/analysis.js';
import type { Language } from '../../../../src/ai/language.js';
import {
  ANALYSER_VERSION,
  LocalProvider,
  type LocalProviderOptions,
} from '../../../../src/ai/providers/local/local.provider.js';

/** Compiled by the build that runs before the tests: a child process runs what is deployed. */
const CHILD = join(process.cwd(), 'dist/ai/providers/local/child.js');
const FIXTURES = join(process.cwd(), 'test/ai/providers/local/fixtures');
const CORPUS = join(process.cwd(), 'test/corpus');

const FRIENDLY = readFileSync(join(CORPUS, 'obfuscated/05-jo-base64-rotate.js'));

const providers: LocalProvider[] = [];

function providerOf(options: Partial<LocalProviderOptions> = {}): LocalProvider {
  const provider = new LocalProvider({
    processes: 2,
    timeoutMs: 10_000,
    queueLimit: 200,
    childPath: CHILD,
    ...options,
  });
  providers.push(provider);
  return provider;
}

async function analyze<T extends AnalysisType>(
  provider: LocalProvider,
  type: T,
  content: string | Uint8Array,
  language?: Language,
): Promise<AnalysisResult<T>> {
  const request = { type, content: Buffer.from(content), ...(language === undefined ? {} : { language }) };
  const { result, usage } = await provider.analyze(request, new AbortController().signal);
  expect(usage).toEqual({ inputTokens: 0, outputTokens: 0 });
  return result;
}

afterEach(async () => {
  await Promise.all(providers.splice(0).map((provider) => provider.close()));
});

describe('LocalProvider', () => {
  it('decodes, and says what it did', async () => {
    const provider = providerOf();
    expect(provider).toMatchObject({ name: 'local', model: `athena-local/${ANALYSER_VERSION}` });
    const result = await analyze(provider, 'deobfuscate', FRIENDLY, 'javascript');
    expect(result.deobfuscatedCode).toContain('Estimated reading time');
    expect(result.coverage).toMatchObject({ language: 'javascript', languageSource: 'hint', parsed: true });
    expect(result.analysisReport).toMatch(/strings? decoded/);
    expect(await analyze(provider, 'deobfuscate', FRIENDLY, 'javascript')).toEqual(result);
  });

  it('finds flaws, by line of the file', async () => {
    const provider = providerOf();
    const content = readFileSync(join(CORPUS, 'vulnerabilities/v01-eval-query.js'));
    const { vulnerabilities, coverage } = await analyze(provider, 'vulnerabilities', content);
    expect(vulnerabilities.map(({ cweId, line }) => [cweId, line])).toContainEqual(['CWE-95', 4]);
    expect(coverage).toMatchObject({ language: 'javascript', languageSource: 'parse' });
  });

  it('finds flaws that only decoding brings to light', async () => {
    const hidden = `const cp = require('child_process'); module.exports = (req) => cp.exec('ls ' + req.query.dir);`;
    const content = `eval(Buffer.from('${Buffer.from(hidden).toString('base64')}', 'base64').toString());`;
    const { vulnerabilities } = await analyze(providerOf(), 'vulnerabilities', content);
    const found = vulnerabilities.find(({ cweId }) => cweId === 'CWE-78');
    expect(found?.description).toMatch(/^In decoded code: /);
    expect(found).not.toHaveProperty('line');
  });

  it('keeps to the first of the limits of size that applies', async () => {
    const provider = providerOf({ maxBytes: 10_000_000 });
    const error = await analyze(provider, 'deobfuscate', Buffer.alloc(1_048_577, 32)).catch(
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(ContentTooLargeError);
    expect(error).toMatchObject({ bytes: 1_048_577, maxBytes: 1_048_576 });
    const small = providerOf({ maxBytes: 10 });
    await expect(analyze(small, 'deobfuscate', 'x'.repeat(11))).rejects.toThrow(ContentTooLargeError);
    expect(provider.health().details).toMatchObject({ ready: 0 });
  });

  it('takes 1 MiB of ordinary code', async () => {
    const line = 'function add(a, b) { return a + b; }\n';
    const content = line.repeat(Math.floor(1_048_576 / line.length));
    const provider = providerOf({ timeoutMs: 30_000 });
    const { coverage } = await analyze(provider, 'deobfuscate', content);
    expect(coverage?.limits.join()).toMatch(/up to 262144 bytes/);
    const found = await analyze(provider, 'vulnerabilities', content);
    expect(vulnerabilitiesResultSchema.parse(found).coverage).toMatchObject({ language: 'javascript' });
  }, 60_000);

  it('reports its health without doing anything', async () => {
    const provider = providerOf();
    expect(provider.health()).toEqual({
      state: 'up',
      details: expect.objectContaining({
        processes: 2,
        busy: 0,
        queued: 0,
        restarts: 0,
        timeouts: 0,
        crashes: 0,
      }),
    });
    const broken = providerOf({ childPath: join(FIXTURES, 'dies-at-start.mjs'), processes: 1 });
    await expect(analyze(broken, 'deobfuscate', 'a()')).rejects.toThrow(ProviderUnavailableError);
    expect(broken.health().state).toBe('down');
  });

  it('passes on an abort', async () => {
    const provider = providerOf();
    const request = { type: 'deobfuscate', content: FRIENDLY } as const;
    const controller = new AbortController();
    const answer = provider.analyze(request, controller.signal);
    controller.abort(new Error('gone'));
    await expect(answer).rejects.toThrow('gone');
    expect(provider.health().details).toMatchObject({ busy: 0, queued: 0 });
  });
});

describe('LocalProvider: second attempts', () => {
  const childPath = join(FIXTURES, 'hangs-when-evaluating.mjs');

  it('asks again without evaluation when it hung, within the same time', async () => {
    const provider = providerOf({ childPath, timeoutMs: 2_000 });
    const begun = performance.now();
    const { coverage } = await analyze(provider, 'deobfuscate', 'hang');
    expect(coverage?.limits).toEqual(['Evaluation was stopped: it had not finished after 1500 ms.']);
    expect(performance.now() - begun).toBeLessThan(3_000);
    expect(provider.health().details).toMatchObject({ timeouts: 1 });
  });

  it('asks again without evaluation when it crashed', async () => {
    const { coverage } = await analyze(providerOf({ childPath }), 'deobfuscate', 'crash');
    expect(coverage?.limits).toEqual([expect.stringMatching(/it ended the process \(.*SIGABRT.*\)/)]);
  });

  it('gives up after the second, and names the whole time', async () => {
    const provider = providerOf({ childPath, timeoutMs: 800 });
    const error = await analyze(provider, 'deobfuscate', 'always').catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(AnalysisTimeoutError);
    expect(error).toMatchObject({ timeoutMs: 800 });
  });
});

describe('LocalProvider: hostile content', () => {
  const folder = mkdtempSync(join(tmpdir(), 'athena-hostile-'));
  const target = join(folder, 'written');
  let provider: LocalProvider;

  beforeAll(() => {
    provider = new LocalProvider({ processes: 2, timeoutMs: 5_000, queueLimit: 200, childPath: CHILD });
    provider.start();
  });

  afterAll(async () => {
    await provider.close();
    rmSync(folder, { recursive: true });
  });

  const escapes = [
    `process.mainModule.require('fs').writeFileSync('${target}', 'x')`,
    `require('fs').writeFileSync('${target}', 'x')`,
    `require('child_process').execSync('touch ${target}')`,
    `process.binding('spawn_sync')`,
    `import('node:fs').then((fs) => fs.writeFileSync('${target}', 'x'))`,
  ];
  const reached = escapes.flatMap((escape) => [
    `eval(this.constructor.constructor(${JSON.stringify(`return ${escape}`)})() + '')`,
    `eval((function () { ${escape}; return 'a()'; })())`,
    `function d(a) { try { ${escape} } catch (e) {} return 'text ' + a; }\nuse(d('1'), d('2'), d('3'));`,
    `[].constructor.constructor(${JSON.stringify(escape)})();`,
  ]);

  const bombs: readonly (readonly [string, string | Uint8Array])[] = [
    ['an endless loop', 'for (;;);'],
    ['an endless loop around eval', 'eval((function () { for (;;); })())'],
    [
      'an endless decoder',
      `function d(a) { while (true) { a += 'x'; a = a.slice(1); } return a; }\nuse(d('p'), d('q'));`,
    ],
    [
      'an endless string array rotation',
      `var _0x1a2b=['log','hello','world'];(function(_0x3c,_0x4d){while(true){try{if(parseInt('x')===_0x4d)break;_0x3c.push(_0x3c.shift())}catch(e){_0x3c.push(_0x3c.shift())}}}(_0x1a2b,0x1));function _0x5e(_0x6f){return _0x1a2b[_0x6f-0x0]}console[_0x5e('0x0')](_0x5e('0x1'),_0x5e('0x2'));`,
    ],
    ['nested parentheses', `x = ${'('.repeat(50_000)}1${')'.repeat(50_000)}`],
    ['nested brackets', `x = ${'['.repeat(50_000)}${']'.repeat(50_000)}`],
    ['nested blocks', `${'{'.repeat(50_000)}${'}'.repeat(50_000)}`],
    ['a long sum', `x = 1${'+1'.repeat(50_000)}`],
    ['nested functions', `${'(function(){'.repeat(3_000)}${'})()'.repeat(3_000)}`],
    ['nested JSON', `${'[{"a":'.repeat(40_000)}1${'}]'.repeat(40_000)}`],
    ['a memory bomb', `eval((function () { var a = []; for (;;) a.push(new Array(1e6).fill('x')); })())`],
    ['a memory bomb in a decoder', `function d(a) { return new Array(1e9).join(a); }\nuse(d('p'), d('q'));`],
    ['a regular expression bomb', `eval(/^(a+)+$/.test('${'a'.repeat(60)}!') + '')`],
    ['a fatal split', `eval("x".repeat(5e8).split("").reverse().join(""))`],
    ['a fatal split, folded', `var s = "x".repeat(5e8).split("");`],
    ['a doubling string', `var s = 'x'; for (var i = 0; i < 40; i++) s += s; eval(s);`],
    [
      'layers without end',
      `var q = ${JSON.stringify("eval('var q = ' + JSON.stringify(q) + ';' + q)")}; eval(q);`,
    ],
    ['a program', readFileSync(process.execPath).subarray(0, 200_000)],
    ['NUL bytes', Buffer.alloc(10_000)],
    ['NUL bytes in code', 'eval(\0atob("YQ=="))\0'],
    ['invalid UTF-8', Buffer.from(Array.from({ length: 5_000 }, (_, index) => 128 + (index % 64)))],
    ['nothing', ''],
    ['1 MiB of random bytes', randomBytes(1_048_576)],
    ['1 MiB of random text', randomBytes(786_432).toString('base64')],
    ['a page of unclosed tags', '<script>'.repeat(20_000)],
    ['a page of many scripts', `<html>${'<script>eval("a" + "b")</script>'.repeat(500)}`],
  ];

  it.each([...bombs, ...reached.map((code, index) => [`an escape, ${index + 1}`, code] as const)])(
    'survives %s',
    async (_, content) => {
      const [friendly, ...answers] = await Promise.all([
        analyze(provider, 'deobfuscate', FRIENDLY, 'javascript'),
        analyze(provider, 'deobfuscate', content, 'javascript').catch(expectedFailure),
        analyze(provider, 'vulnerabilities', content).catch(expectedFailure),
      ]);
      expect(friendly.deobfuscatedCode).toContain('Estimated reading time');
      for (const answer of answers) {
        if (answer instanceof AiError) continue;
        const schema = 'deobfuscatedCode' in answer ? deobfuscationResultSchema : vulnerabilitiesResultSchema;
        expect(schema.parse(answer).coverage).toBeDefined();
      }
      expect(readdirSync(folder)).toEqual([]);
      expect(existsSync(target)).toBe(false);
    },
    30_000,
  );

  it('is as well as before', async () => {
    expect(provider.health()).toMatchObject({ state: 'up', details: { busy: 0, queued: 0 } });
    await expect(analyze(provider, 'deobfuscate', FRIENDLY)).resolves.toBeDefined();
  });
});

/** Hostile content may be too much for the analysis, but then it must be said in these words. */
function expectedFailure(error: unknown): AiError {
  if (error instanceof AnalysisTimeoutError || error instanceof AnalysisCrashedError) return error;
  throw error;
}

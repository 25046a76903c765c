import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import {
  AnalysisCrashedError,
  AnalysisTimeoutError,
  ContentTooLargeError,
  InvalidAnswerError,
  ProviderUnavailableError,
} from '../../../../src/ai/ai.errors.js';
import {
  deobfuscationResultSchema,
  vulnerabilitiesResultSchema,
  type AnalysisResult,
  type AnalysisType,
} from '../../../../src/ai/analysis.js';
import type { Language } from '../../../../src/ai/language.js';
import type { ProviderContext } from '../../../../src/ai/providers/ai-provider.js';
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

function newProvider(options: Partial<LocalProviderOptions> = {}): LocalProvider {
  return new LocalProvider({
    processes: 2,
    timeoutMs: 10_000,
    queueLimit: 200,
    childPath: CHILD,
    ...options,
  });
}

/** One that is closed after the test. */
function providerOf(options: Partial<LocalProviderOptions> = {}): LocalProvider {
  const provider = newProvider(options);
  providers.push(provider);
  return provider;
}

const contextOf = (signal: AbortSignal): ProviderContext => ({
  signal,
  budgetMs: 60_000,
  onAttempt: () => {},
  onText: () => {},
  onUsage: () => {},
});

async function analyze<T extends AnalysisType>(
  provider: LocalProvider,
  type: T,
  content: string | Uint8Array,
  language?: Language,
): Promise<AnalysisResult<T>> {
  const request = { type, content: Buffer.from(content), ...(language === undefined ? {} : { language }) };
  const { result, usage } = await provider.analyze(request, contextOf(new AbortController().signal));
  expect(usage).toEqual({ inputTokens: 0, outputTokens: 0 });
  return result;
}

afterEach(async () => {
  await Promise.all(providers.splice(0).map((provider) => provider.close()));
});

describe('LocalProvider', () => {
  let provider: LocalProvider;

  beforeAll(() => {
    provider = newProvider();
    provider.start();
  });

  afterAll(() => provider.close());

  it('decodes, and says what it did', async () => {
    expect(provider).toMatchObject({ name: 'local', model: `athena-local/${ANALYSER_VERSION}` });
    const result = await analyze(provider, 'deobfuscate', FRIENDLY, 'javascript');
    expect(result.deobfuscatedCode).toContain('Estimated reading time');
    expect(result.coverage).toMatchObject({ language: 'javascript', languageSource: 'hint', parsed: true });
    expect(result.analysisReport).toMatch(/strings? decoded/);
    expect(await analyze(provider, 'deobfuscate', FRIENDLY, 'javascript')).toEqual(result);
  });

  it('finds flaws, by line of the file', async () => {
    const content = readFileSync(join(CORPUS, 'vulnerabilities/v01-eval-query.js'));
    const { vulnerabilities, coverage } = await analyze(provider, 'vulnerabilities', content);
    expect(vulnerabilities.map(({ cweId, line }) => [cweId, line])).toContainEqual(['CWE-95', 4]);
    expect(coverage).toMatchObject({ language: 'javascript', languageSource: 'parse' });
  });

  it('finds flaws that only decoding brings to light', async () => {
    const hidden = `const cp = require('child_process'); module.exports = (req) => cp.exec('ls ' + req.query.dir);`;
    const content = `eval(Buffer.from('${Buffer.from(hidden).toString('base64')}', 'base64').toString());`;
    const { vulnerabilities } = await analyze(provider, 'vulnerabilities', content);
    const found = vulnerabilities.find(({ cweId }) => cweId === 'CWE-78');
    expect(found?.description).toMatch(/^In decoded code: /);
    expect(found).not.toHaveProperty('line');
  });

  it('refuses what is too large before it bothers a process', async () => {
    const large = providerOf({ maxBytes: 10_000_000 });
    const content = Buffer.alloc(1_048_577, 32);
    const error = await analyze(large, 'deobfuscate', content).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ContentTooLargeError);
    expect(error).toMatchObject({ bytes: 1_048_577, maxBytes: 1_048_576 });
    const small = providerOf({ maxBytes: 10 });
    await expect(analyze(small, 'deobfuscate', 'x'.repeat(11))).rejects.toThrow(ContentTooLargeError);
    expect(large.health().details).toMatchObject({ ready: 0, busy: 0 });
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses maxBytes = %p', (maxBytes) => {
    expect(() => newProvider({ maxBytes })).toThrow(RangeError);
  });

  it('takes 1 MiB, and says what it does not do with it', async () => {
    const line = `send(${JSON.stringify('lorem ipsum '.repeat(800))});\n`;
    const content = line.repeat(Math.floor(1_048_576 / line.length));
    const { deobfuscatedCode, coverage } = await analyze(provider, 'deobfuscate', content);
    expect(deobfuscatedCode).toBe(content);
    expect(coverage?.limits.join()).toMatch(/up to 262144 bytes/);
    const found = await analyze(provider, 'vulnerabilities', content);
    expect(found.coverage).toMatchObject({ language: 'javascript', parsed: true });
  });

  it('reports its health without doing anything', async () => {
    const idle = providerOf();
    expect(idle.health()).toEqual({
      state: 'up',
      details: expect.objectContaining({ processes: 2, ready: 0, busy: 0, queued: 0, restarts: 0 }),
    });
    const broken = providerOf({ childPath: join(FIXTURES, 'dies-at-start.mjs'), processes: 1 });
    await expect(analyze(broken, 'deobfuscate', 'a()')).rejects.toThrow(ProviderUnavailableError);
    expect(broken.health().state).toBe('down');
  });

  it('takes no longer than its budget, in the queue either', async () => {
    const request = { type: 'deobfuscate', content: FRIENDLY } as const;
    const silent = providerOf({ childPath: join(FIXTURES, 'never-ready.mjs') });
    const late = silent.analyze(request, { ...contextOf(new AbortController().signal), budgetMs: 50 });
    await expect(late).rejects.toMatchObject({ code: 'analysis_timeout', timeoutMs: 50 });
  });

  it('passes on an abort', async () => {
    const request = { type: 'deobfuscate', content: FRIENDLY } as const;
    const controller = new AbortController();
    const answer = provider.analyze(request, contextOf(controller.signal));
    controller.abort(new Error('gone'));
    await expect(answer).rejects.toThrow('gone');
    expect(provider.health().details).toMatchObject({ busy: 0, queued: 0 });
  });
});

describe('LocalProvider: interruptions', () => {
  const childPath = join(FIXTURES, 'interrupted.mjs');

  it.each(['hang partial', 'crash partial'])('answers what there was before: %s', async (content) => {
    const provider = providerOf({ childPath, timeoutMs: 1_000 });
    const result = await analyze(provider, 'deobfuscate', content);
    expect(result).toMatchObject({ deobfuscatedCode: 'a()', coverage: { level: 'partial' } });
    expect(provider.health().details).toMatchObject(
      content.startsWith('hang') ? { timeouts: 1 } : { crashes: 1 },
    );
  });

  it.each([
    ['hang', AnalysisTimeoutError],
    ['crash', AnalysisCrashedError],
    ['hang nonsense', InvalidAnswerError],
  ])('says what happened where there was nothing: %s', async (content, error) => {
    const provider = providerOf({ childPath, timeoutMs: 1_000 });
    await expect(analyze(provider, 'deobfuscate', content)).rejects.toThrow(error);
  });
});

describe('LocalProvider: hostile content', () => {
  const folder = mkdtempSync(join(tmpdir(), 'athena-hostile-'));
  const target = join(folder, 'written');
  let provider: LocalProvider;

  beforeAll(() => {
    provider = newProvider({ timeoutMs: 3_000 });
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
  const attempts = escapes.map((escape): [string, string[]] => [
    escape.replaceAll(folder, '…'),
    [
      `eval(this.constructor.constructor(${JSON.stringify(`return ${escape}`)})() + '')`,
      `eval((function () { ${escape}; return 'a()'; })())`,
      `function d(a) { try { ${escape} } catch (e) {} return 'text ' + a; }\nuse(d('1'), d('2'), d('3'));`,
      `[].constructor.constructor(${JSON.stringify(escape)})();`,
    ],
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

  it.each(bombs)('survives %s', async (_, content) => {
    const [friendly] = await Promise.all([
      analyze(provider, 'deobfuscate', FRIENDLY, 'javascript'),
      expectHonesty(analyze(provider, 'deobfuscate', content, 'javascript')),
      expectHonesty(analyze(provider, 'vulnerabilities', content)),
    ]);
    expect(friendly.deobfuscatedCode).toContain('Estimated reading time');
  });

  it.each(attempts)('lets nobody out: %s', async (_, samples) => {
    await Promise.all(
      samples.flatMap((sample) => [
        expectHonesty(analyze(provider, 'deobfuscate', sample, 'javascript')),
        expectHonesty(analyze(provider, 'vulnerabilities', sample, 'javascript')),
      ]),
    );
    expect(readdirSync(folder)).toEqual([]);
  });

  it('is as well as before', async () => {
    expect(provider.health()).toMatchObject({ state: 'up', details: { busy: 0, queued: 0 } });
    await expect(analyze(provider, 'deobfuscate', FRIENDLY)).resolves.toBeDefined();
  });
});

/** Hostile content may be too much for an analysis, but then that is what the answer says. */
async function expectHonesty(answer: Promise<AnalysisResult>): Promise<void> {
  try {
    const result = await answer;
    const schema = 'deobfuscatedCode' in result ? deobfuscationResultSchema : vulnerabilitiesResultSchema;
    expect(schema.parse(result).coverage).toBeDefined();
  } catch (error) {
    if (!(error instanceof AnalysisTimeoutError || error instanceof AnalysisCrashedError)) throw error;
  }
}

import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { SpanStatusCode, trace } from '@opentelemetry/api';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { AiServiceManager } from '../../src/ai/ai-service-manager.js';
import type { AnalysisEvent, AnalysisOutcome } from '../../src/ai/ai-service-manager.js';
import { AnalysisCacheManager } from '../../src/ai/analysis-cache-manager.js';
import type { AnalysisType, VendorName } from '../../src/ai/analysis.js';
import type { AiProvider } from '../../src/ai/providers/ai-provider.js';
import { GuardedProvider } from '../../src/ai/providers/guarded.provider.js';
import { LocalProvider } from '../../src/ai/providers/local/local.provider.js';
import { VENDORS } from '../../src/ai/providers/vendors.js';
import { Cache } from '../../src/cache/cache.js';
import { MemoryCacheStorage } from '../../src/cache/storage/memory.storage.js';
import { analysisAnswer } from '../support/analysis-answer.js';
import type { Behaviour } from '../support/vendors/behaviour.js';
import { LoopbackVendor } from '../support/vendors/loopback-vendor.js';

/** A child process runs what is deployed. */
const CHILD = join(process.cwd(), 'dist/ai/providers/local/child.js');
const PRICE = { input: 3, output: 15 };
const spans = new InMemorySpanExporter();
trace.setGlobalTracerProvider(
  new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: spans })] }),
);

const request = (content: string, type: AnalysisType = 'deobfuscate') => ({
  tenant: 'default',
  type,
  content: Buffer.from(content),
});

describe('AiServiceManager', () => {
  let claude: LoopbackVendor;
  let openai: LoopbackVendor;
  let cache: AnalysisCacheManager;
  let ai: AiServiceManager;
  const guarded = (name: VendorName, vendor: LoopbackVendor): AiProvider =>
    new GuardedProvider(
      VENDORS[name]({ apiKey: 'sk-0123', baseUrl: vendor.url, price: PRICE }) as AiProvider,
      {
        timeoutMs: 5_000,
        maxRetries: 1,
        concurrency: 8,
        queueLimit: 100,
        breakerFailures: 1_000,
        breakerResetMs: 60_000,
        random: () => 0,
      },
    );
  const newManager = (providers: readonly AiProvider[]): AiServiceManager =>
    new AiServiceManager(cache, { providers, deadlineMs: 10_000, maxFileBytes: 1_000_000 });

  beforeEach(async () => {
    claude = await LoopbackVendor.start({ kind: 'claude', answer: analysisAnswer });
    openai = await LoopbackVendor.start({ kind: 'openai', answer: analysisAnswer });
    cache = AnalysisCacheManager.over(new MemoryCacheStorage({ maxBytes: 10_000_000 }));
    ai = newManager([guarded('claude', claude), guarded('openai', openai)]);
    spans.reset();
  });
  afterEach(() => Promise.all([claude.close(), openai.close()]));

  it('has who answered, and why the others did not, in the result and in the spans', async () => {
    claude.script = () => ({ kind: 'status', status: 529 });
    const { entry } = await ai.analyze(request('a()'));
    expect(entry.value).toMatchObject({
      provider: 'openai',
      promptVersion: 'v1',
      failedBefore: [{ provider: 'claude', code: 'provider_failed' }],
    });
    expect(entry.value).not.toHaveProperty('standIn');
    const [first, second, whole] = spans.getFinishedSpans();
    expect(whole).toMatchObject({
      name: 'analysis',
      attributes: { 'athena.ai.provider': 'openai', 'athena.ai.failed_before': ['claude: provider_failed'] },
    });
    expect(first).toMatchObject({
      name: expect.stringMatching(/^chat claude/),
      status: { code: SpanStatusCode.ERROR, message: 'provider_failed' },
      attributes: {
        'gen_ai.provider.name': 'claude',
        'error.type': 'provider_failed',
        'athena.ai.attempts': 2,
      },
    });
    expect(second).toMatchObject({
      attributes: {
        'gen_ai.provider.name': 'openai',
        'gen_ai.usage.output_tokens': entry.value.usage.outputTokens,
      },
    });
    expect(JSON.stringify(spans.getFinishedSpans().map(({ attributes }) => attributes))).not.toContain('a()');
  });

  it('keeps what stands in no longer than what it stands in for', async () => {
    const storage = new MemoryCacheStorage({ maxBytes: 10_000_000 });
    cache = AnalysisCacheManager.over(storage, { ttlMs: { deobfuscate: 2_000 } });
    claude.script = () => ({ kind: 'status', status: 400 });
    const local = new LocalProvider({ processes: 1, timeoutMs: 10_000, queueLimit: 1, childPath: CHILD });
    ai = newManager([guarded('claude', claude), local]);
    const { entry } = await ai.analyze(request('a()'));
    await local.close();
    expect(entry.value.standIn).toBe(true);
    expect(entry.freshUntil - entry.createdAt).toBeLessThanOrEqual(2_000);
  });

  it.each<Behaviour>([
    { kind: 'refusal' },
    { kind: 'length' },
    { kind: 'cleanEnd', afterChunks: 4 },
    { kind: 'invalidJson' },
    { kind: 'wrongSchema' },
  ])('stores nothing of %j', async (behaviour) => {
    claude.script = openai.script = () => behaviour;
    await expect(ai.analyze(request('a()'))).rejects.toMatchObject({ code: 'all_providers_failed' });
    await expect(ai.analyze(request('a()'), { mode: 'cached' })).resolves.toBeUndefined();
    claude.script = () => ({ kind: 'answer' });
    expect((await ai.analyze(request('a()'))).kind).toBe('computed');
  });

  it('counts what was spent and saved: together what all would have cost without a cache', async () => {
    const vendors = { claude, openai };
    // Of each third file the preferred model breaks off at first; that is not billed here.
    claude.script = ({ index }) => (index % 3 === 2 ? { kind: 'status', status: 503 } : { kind: 'answer' });
    const asked: AnalysisOutcome[] = [];
    for (let round = 0; round < 4; round += 1) {
      const calls = Array.from({ length: 30 }, (_, index) =>
        ai.analyze(request(`f(${index % 10})`, index % 2 === 0 ? 'deobfuscate' : 'vulnerabilities')),
      );
      asked.push(...(await Promise.all(calls)));
    }
    const { spent, saved, accounts } = ai.stats().cost;
    const billed = Object.values(vendors).map(({ totals }) => totals);
    const sum = (of: (usage: { inputTokens: number; outputTokens: number }) => number): number =>
      asked.reduce((total, { entry }) => total + of(entry.value.usage), 0);
    expect(spent.inputTokens).toBe(billed.reduce((total, { inputTokens }) => total + inputTokens, 0));
    expect(spent.outputTokens).toBe(billed.reduce((total, { outputTokens }) => total + outputTokens, 0));
    expect(spent.inputTokens + saved.inputTokens).toBe(sum(({ inputTokens }) => inputTokens));
    expect(spent.outputTokens + saved.outputTokens).toBe(sum(({ outputTokens }) => outputTokens));
    const dollars = sum(({ inputTokens, outputTokens }) => inputTokens * 3 + outputTokens * 15) / 1e6;
    expect(spent.costUsd + saved.costUsd).toBeCloseTo(dollars, 10);
    expect(spent.answers).toBe(10);
    expect(spent.answers + saved.answers).toBe(asked.length);
    expect(new Set(accounts.map(({ type }) => type)).size).toBe(2);
    expect(accounts.every(({ provider }) => provider === 'claude')).toBe(true);
  });

  it('counts what a failed answer has cost, too', async () => {
    claude.script = () => ({ kind: 'refusal' });
    const { entry } = await ai.analyze(request('a()'));
    const { spent } = ai.stats().cost;
    expect(spent.answers).toBe(2);
    expect(spent.outputTokens).toBeGreaterThan(entry.value.usage.outputTokens);
    expect(claude.totals.outputTokens + openai.totals.outputTokens).toBe(spent.outputTokens);
  });

  it('keeps an older answer of a model where only local could answer now', async () => {
    let nowMs = 1_000_000;
    const storage = new MemoryCacheStorage({ maxBytes: 10_000_000, now: () => nowMs });
    cache = new AnalysisCacheManager(new Cache({ storage, ttlMs: 1_000, staleMs: 60_000, now: () => nowMs }));
    const local = {
      ...guarded('claude', claude),
      name: 'local',
      model: 'local-1',
      health: () => ({ state: 'up', details: {} }),
      analyze: async () => ({
        result: { deobfuscatedCode: '', analysisReport: 'local' },
        usage: { inputTokens: 0, outputTokens: 0 },
      }),
    } as unknown as AiProvider;
    ai = newManager([guarded('claude', claude), local]);
    await ai.analyze(request('a()'));
    nowMs += 2_000;
    claude.script = () => ({ kind: 'status', status: 400 });
    const anew = await ai.analyze(request('a()'), { accept: () => false });
    expect(anew.entry.value).toMatchObject({ provider: 'local', standIn: true });
    const stale = await ai.analyze(request('a()'));
    expect(stale).toMatchObject({
      kind: 'hit',
      stale: 'stale-while-revalidate',
      entry: { value: { provider: 'claude' } },
    });
    // What nobody has an answer for gets the one of local.
    expect((await ai.analyze(request('b()'))).entry.value.provider).toBe('local');
    expect((await ai.analyze(request('b()'))).kind).toBe('hit');
  });

  it('streams to who leaves the loop early, and goes on for the others', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    claude.script = () => ({ kind: 'answer', chunks: 6, gate: { afterChunks: 2, opens: promise } });
    const early = (async () => {
      for await (const event of ai.stream(request('a()'))) if (event.type === 'chunk') break;
    })();
    await claude.awaitCalls(1);
    const events: AnalysisEvent[] = [];
    const whole = (async () => {
      for await (const event of ai.stream(request('a()'))) events.push(event);
    })();
    await early;
    resolve();
    await whole;
    expect(events.at(-1)).toMatchObject({
      type: 'result',
      outcome: { entry: { value: { provider: 'claude' } } },
    });
    expect(claude.calls[0]?.aborted).toBe(false);
  });

  it('lets one caller leave, and the others have the answer', async () => {
    const leaving = new AbortController();
    const { promise, resolve } = Promise.withResolvers<void>();
    claude.script = () => ({ kind: 'answer', gate: { afterChunks: 1, opens: promise } });
    const left = ai.analyze(request('a()'), { signal: leaving.signal });
    left.catch(() => {});
    const stays = ai.analyze(request('a()'));
    await claude.awaitCalls(1);
    leaving.abort(new Error('gone'));
    await expect(left).rejects.toThrow('gone');
    resolve();
    expect((await stays).entry.value.provider).toBe('claude');
    expect(claude.calls.length).toBe(1);
  });
});

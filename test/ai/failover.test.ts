import { describe, expect, it } from '@jest/globals';
import {
  AllProvidersFailedError,
  AnalysisTimeoutError,
  AnswerRefusedError,
  CircuitOpenError,
  ProviderFailedError,
  ProviderRateLimitedError,
} from '../../src/ai/ai.errors.js';
import { AiMetrics } from '../../src/ai/ai.metrics.js';
import type { ProviderName } from '../../src/ai/analysis.js';
import { firstAnswer } from '../../src/ai/failover.js';
import type { AiProvider, ProviderAnswer, ProviderContext } from '../../src/ai/providers/ai-provider.js';

const ANSWER = {
  result: { deobfuscatedCode: 'a', analysisReport: 'b' },
  usage: { inputTokens: 1, outputTokens: 2 },
} as ProviderAnswer<never>;

/** A provider that does what it is told, and remembers how long it was given. */
class Scripted implements AiProvider {
  readonly budgets: number[] = [];
  constructor(
    readonly name: ProviderName,
    private readonly act: (context: ProviderContext) => Promise<ProviderAnswer<never>>,
  ) {}
  get model(): string {
    return `${this.name}-1`;
  }
  analyze(_: unknown, context: ProviderContext): Promise<ProviderAnswer<never>> {
    this.budgets.push(context.budgetMs);
    return this.act(context);
  }
  health() {
    return { state: 'up', details: {} } as const;
  }
  async close(): Promise<void> {}
}

const answering = (name: ProviderName): Scripted => new Scripted(name, async () => ANSWER);
const failing = (name: ProviderName, error: Error): Scripted =>
  new Scripted(name, () => Promise.reject(error));

function run(
  providers: readonly AiProvider[],
  { signal = new AbortController().signal, deadlineMs = 8_000, begun = performance.now() } = {},
) {
  const told: string[] = [];
  const answer = firstAnswer(
    providers,
    { type: 'deobfuscate', content: Buffer.from('x') },
    {
      signal,
      begun,
      deadlineMs,
      metrics: new AiMetrics(),
      progress: {
        onAttempt: ({ name }, attempt) => told.push(`${name} ${attempt}`),
        onText: (text) => told.push(text),
        onFailed: ({ provider, code }) => told.push(`${provider} ${code}`),
        onUsage: ({ name }, { outputTokens }) => told.push(`${name} used ${outputTokens}`),
      },
    },
  );
  return { answer, told };
}

describe('firstAnswer', () => {
  it('asks in order, and nobody after the first answer', async () => {
    const [first, second] = [answering('claude'), answering('openai')];
    const { provider, failed } = await run([first, second]).answer;
    expect([provider.name, failed, second.budgets]).toEqual(['claude', [], []]);
  });

  it('says who did not answer, and why', async () => {
    const { answer, told } = run([
      failing('claude', new ProviderFailedError('claude', 'reset')),
      failing('openai', new AnswerRefusedError('openai')),
      answering('deepseek'),
    ]);
    const { provider, failed } = await answer;
    expect(provider.name).toBe('deepseek');
    expect(failed).toEqual([
      {
        provider: 'claude',
        model: 'claude-1',
        code: 'provider_failed',
        reason: expect.stringContaining('reset'),
        durationMs: expect.any(Number),
      },
      expect.objectContaining({ provider: 'openai', code: 'answer_refused' }),
    ]);
    expect(told).toEqual(['claude provider_failed', 'openai answer_refused']);
  });

  it('gives each half of what is left, and the last one all of it', async () => {
    const late = (name: ProviderName) => failing(name, new AnalysisTimeoutError(name, 1));
    const providers = [late('claude'), late('openai'), late('deepseek'), answering('local')];
    await run(providers).answer;
    const [claude, openai, deepseek, local] = providers.map(({ budgets }) => budgets[0] ?? 0);
    for (const budget of [claude, openai, deepseek]) {
      expect(budget).toBeGreaterThan(3_800);
      expect(budget).toBeLessThanOrEqual(4_000);
    }
    expect(local).toBeGreaterThan(7_800);
  });

  it('stops at the deadline', async () => {
    const slow = new Scripted('claude', async () => {
      await new Promise((resolve) => setTimeout(resolve, 30));
      throw new AnalysisTimeoutError('claude', 30);
    });
    const second = answering('openai');
    await expect(run([slow, second], { deadlineMs: 20 }).answer).rejects.toMatchObject({
      code: 'all_providers_failed',
      attempts: [{ code: 'analysis_timeout' }],
    });
    expect(second.budgets).toEqual([]);
  });

  it('asks nobody where the time has been spent on waiting', async () => {
    const first = answering('claude');
    const late = run([first, answering('local')], { begun: performance.now() - 9_000 }).answer;
    await expect(late).rejects.toMatchObject({ code: 'analysis_timeout', timeoutMs: 8_000 });
    expect(first.budgets).toEqual([]);
  });

  it('throws the error of an only provider as it is, and of several one that has all', async () => {
    const refused = new AnswerRefusedError('claude');
    await expect(run([failing('claude', refused)]).answer).rejects.toBe(refused);
    const both = run([
      failing('claude', new ProviderRateLimitedError('claude', 9_000)),
      failing('openai', new CircuitOpenError('openai', 4_000)),
    ]).answer;
    await expect(both).rejects.toThrow(AllProvidersFailedError);
    await expect(both).rejects.toMatchObject({ retryAfterMs: 4_000, attempts: [{}, {}] });
  });

  it('does not ask another when its caller has left, or for a fault of ours', async () => {
    const second = answering('openai');
    const leaving = new AbortController();
    const first = new Scripted('claude', () => {
      leaving.abort(new Error('gone'));
      return Promise.reject(new ProviderFailedError('claude', 'reset'));
    });
    await expect(run([first, second], { signal: leaving.signal }).answer).rejects.toThrow('gone');
    await expect(run([failing('claude', new TypeError('ours')), second]).answer).rejects.toThrow('ours');
    expect(second.budgets).toEqual([]);
  });
});

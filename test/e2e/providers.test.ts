import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Analysis } from '../../src/ai/analysis-cache-manager.js';
import { Athena } from '../support/athena.js';
import { startWith } from '../support/all-vendors.js';
import { ownVendors } from '../support/own-vendors.js';

/** Longer than a busy machine needs for the steps that want an open circuit. */
const RESET_MS = 3000;
const fresh = () => ({ type: 'deobfuscate', content: `run(${JSON.stringify(randomUUID())})` });
const json = async (response: Promise<Response>): Promise<Analysis> => (await response).json() as never;

const vendors = ownVendors();

describe('providers of a running Athena', () => {
  let athena: Athena;
  beforeAll(async () => {
    athena = await startWith(vendors, {
      AI_PROVIDERS: 'openai,claude,compatible,deepseek,local',
      AI_MAX_RETRIES: '0',
      AI_BREAKER_FAILURES: '1',
      AI_BREAKER_RESET_MS: String(RESET_MS),
      AI_TIMEOUT_MS: '2000',
      CLAUDE_PRICE: '3/15',
      OPENAI_PRICE: '1/10/0.1',
    });
  });
  afterAll(() => athena.remove());

  it.each(['claude', 'openai', 'deepseek', 'compatible'] as const)(
    '%s answers by its name',
    async (provider) => {
      const body = fresh();
      const analysis = await json(athena.post({ ...body, provider }));
      expect(analysis).toMatchObject({
        provider,
        result: { deobfuscatedCode: body.content },
        usage: { inputTokens: expect.any(Number), outputTokens: expect.any(Number) },
        promptVersion: 'v1',
      });
      expect(vendors[provider].calls.at(-1)?.billed).toEqual({
        inputTokens: analysis.usage.inputTokens,
        outputTokens: analysis.usage.outputTokens,
      });
    },
  );

  it('asks in the order of preference, and goes on to the next', async () => {
    expect((await json(athena.post(fresh()))).provider).toBe('openai');
    vendors.openai.script = () => ({ kind: 'status', status: 400 });
    vendors.claude.script = () => ({ kind: 'refusal' });
    const analysis = await json(athena.post(fresh()));
    expect(analysis.provider).toBe('compatible');
    expect(analysis.failedBefore?.map(({ provider, code }) => [provider, code])).toEqual([
      ['openai', 'provider_rejected'],
      ['claude', 'answer_refused'],
    ]);
  });

  it('lets local stand in, and replaces its answer as soon as a provider is well again', async () => {
    const broken = { kind: 'status', status: 500 } as const;
    for (const vendor of Object.values(vendors)) vendor.script = () => broken;
    const body = fresh();
    expect(await json(athena.post(body))).toMatchObject({ provider: 'local', standIn: true });
    // More than half of the calls within a minute.
    for (let call = 0; call < 6; call += 1) await athena.post(fresh());
    const hit = await athena.post(body);
    expect(hit.headers.get('cache-status')).toMatch(/^athena; hit; ttl=5\d;/);
    const health = (await (await athena.fetch('/health')).json()) as {
      status: string;
      info: { providers: object };
    };
    expect([health.status, health.info.providers]).toEqual([
      'degraded',
      expect.objectContaining({ openai: expect.objectContaining({ state: 'down', circuit: 'open' }) }),
    ]);
    const metrics = await (await athena.fetch('/metrics')).text();
    expect(metrics).toMatch(/athena_ai_provider_state\{provider="openai",state="down".*\} 1/);

    for (const vendor of Object.values(vendors)) vendor.script = () => ({ kind: 'answer' });
    // The circuit goes by the real clock.
    await sleep(RESET_MS);
    const from = athena.logs.length;
    expect((await json(athena.post(fresh()))).provider).toBe('openai');
    await athena.log(({ event }) => event === 'ai.circuit_closed', from);
    let again = await json(athena.post(body));
    while (again.provider === 'local') again = await json(athena.post(body));
    expect(again).not.toHaveProperty('standIn');
  });

  it('says each change of state once', async () => {
    const events = athena.logs.flatMap(({ event, provider }) =>
      event?.startsWith('ai.') && provider === 'openai' ? [event] : [],
    );
    expect([events[0], ...events.slice(-2)]).toEqual([
      'ai.circuit_opened',
      'ai.circuit_half_opened',
      'ai.circuit_closed',
    ]);
    for (const [nth, event] of events.entries()) expect(event).not.toBe(events[nth + 1]);
  });

  it('says when to come back, where nobody can answer', async () => {
    vendors.deepseek.script = () => ({ kind: 'status', status: 429, retryAfter: 30 });
    const response = await athena.post({ ...fresh(), provider: 'deepseek' });
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '30']);
    expect(await response.json()).toMatchObject({ code: 'provider_rate_limited', retryAfterMs: 30_000 });
  });

  it('counts tokens and dollars, spent and saved', async () => {
    const body = { ...fresh(), provider: 'claude' };
    const account = async (): Promise<{ spent: number; saved: number }> => {
      const { cost } = (await (await athena.fetch('/v1/analyses/stats')).json()) as never as {
        cost: { accounts: { provider: string; spent: { costUsd: number }; saved: { costUsd: number } }[] };
      };
      const found = cost.accounts.find(({ provider }) => provider === 'claude');
      return { spent: found?.spent.costUsd ?? 0, saved: found?.saved.costUsd ?? 0 };
    };
    const before = await account();
    const { usage } = await json(athena.post(body));
    for (let time = 0; time < 3; time += 1) await athena.post(body);
    const after = await account();
    expect(usage.costUsd).toBeCloseTo((usage.inputTokens * 3 + usage.outputTokens * 15) / 1e6, 12);
    expect(after.spent - before.spent).toBeCloseTo(usage.costUsd ?? 0, 12);
    expect(after.saved - before.saved).toBeCloseTo(3 * (usage.costUsd ?? 0), 12);
    const metrics = await (await athena.fetch('/metrics')).text();
    expect(metrics).toMatch(
      /athena_ai_cost_usd_total\{side="saved",provider="claude".*type="deobfuscate".*\} \d/,
    );
    expect(metrics).toMatch(/athena_ai_tokens_total\{side="spent",provider="openai".*token="output".*\} \d/);
  });

  it('never shows a key, nor the sample', async () => {
    vendors.claude.script = ({ headers }) => ({
      kind: 'status',
      status: 401,
      body: { type: 'error', error: { type: 'x', message: JSON.stringify(headers) } },
    });
    const body = { ...fresh(), provider: 'claude' };
    const problem = await (await athena.post(body)).text();
    const health = await (await athena.fetch('/health')).text();
    const metrics = await (await athena.fetch('/metrics')).text();
    const log = JSON.stringify(athena.logs);
    for (const text of [problem, health, metrics, log]) {
      expect(text).not.toContain('sk-claude-0123456789');
      expect(text).not.toContain(body.content.slice(5, 20));
    }
  });
});

it('without local, a hang costs its time-out, and the answer says which', async () => {
  vendors.claude.script = () => ({ kind: 'hang' });
  const athena = await startWith(
    { claude: vendors.claude },
    { AI_PROVIDERS: 'claude', AI_TIMEOUT_MS: '200' },
  );
  try {
    const response = await athena.post(fresh());
    expect(response.status).toBe(504);
    expect(await response.json()).toMatchObject({
      code: 'analysis_timeout',
      provider: 'claude',
      timeoutMs: 200,
    });
  } finally {
    await athena.remove();
  }
});

it('is ready while its only vendor is down: what is stored is served', async () => {
  const athena = await startWith(
    { claude: vendors.claude },
    { AI_PROVIDERS: 'claude', AI_MAX_RETRIES: '0', AI_BREAKER_FAILURES: '2' },
  );
  try {
    const known = fresh();
    await athena.post(known);
    vendors.claude.script = () => ({ kind: 'status', status: 500 });
    for (let call = 0; call < 3; call += 1) await athena.post(fresh());
    expect((await athena.post(fresh())).status).toBe(503);
    const ready = await athena.fetch('/health/ready');
    expect([ready.status, await ready.json()]).toEqual([
      200,
      expect.objectContaining({
        info: expect.objectContaining({
          providers: expect.objectContaining({
            status: 'degraded',
            claude: expect.objectContaining({ state: 'down' }),
          }),
        }),
      }),
    ]);
    expect((await athena.post(known)).headers.get('cache-status')).toMatch(/^athena; hit/);
  } finally {
    await athena.remove();
  }
});

it('skips what is not configured, and says so', async () => {
  const athena = await Athena.start({ AI_PROVIDERS: 'claude,compatible,local' });
  try {
    await athena.log(({ msg }) => msg === 'Providers that are not configured: claude, compatible');
    const analysis = await json(athena.post(fresh()));
    expect(analysis.provider).toBe('local');
    expect(analysis).not.toHaveProperty('standIn');
  } finally {
    await athena.remove();
  }
});

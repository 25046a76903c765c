import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { AiProvider, ProviderAnswer, ProviderContext } from '../../../src/ai/providers/ai-provider.js';
import type { GuardEvent, GuardOptions } from '../../../src/ai/providers/guarded.provider.js';
import { GuardedProvider } from '../../../src/ai/providers/guarded.provider.js';
import { VENDORS } from '../../../src/ai/providers/vendors.js';
import { analysisAnswer } from '../../support/analysis-answer.js';
import type { Behaviour } from '../../support/vendors/behaviour.js';
import { LoopbackVendor } from '../../support/vendors/loopback-vendor.js';

const ANSWER: Behaviour = { kind: 'answer' };
const status = (code: number, retryAfter?: number): Behaviour => ({
  kind: 'status',
  status: code,
  ...(retryAfter === undefined ? {} : { retryAfter }),
});

const SILENT = { onAttempt: () => {}, onText: () => {}, onUsage: () => {} };
const OPTIONS: GuardOptions = {
  timeoutMs: 5_000,
  maxRetries: 2,
  concurrency: 2,
  queueLimit: 2,
  breakerFailures: 3,
  breakerResetMs: 60_000,
};

describe('GuardedProvider', () => {
  let vendor: LoopbackVendor;
  let events: GuardEvent[];
  let attempts: number[];
  /** Each call gets the next, and the last one again and again. */
  const behave = (...script: Behaviour[]): void => {
    const from = vendor.calls.length;
    vendor.script = ({ index }) => script[Math.min(index - from, script.length - 1)] ?? ANSWER;
  };
  const guard = (options: Partial<GuardOptions> = {}): GuardedProvider =>
    new GuardedProvider(VENDORS.compatible({ baseUrl: vendor.url }) as AiProvider, {
      ...OPTIONS,
      onEvent: (event) => events.push(event),
      // No pauses but those that the vendor asks for.
      random: () => 0,
      ...options,
    });
  const ask = (provider: AiProvider, signal?: AbortSignal, budgetMs = 30_000): Promise<ProviderAnswer> =>
    provider.analyze(
      { type: 'deobfuscate', content: Buffer.from('a()') },
      {
        ...SILENT,
        signal: signal ?? new AbortController().signal,
        budgetMs,
        onAttempt: (attempt) => attempts.push(attempt),
      },
    );
  const failing = async (provider: AiProvider, times: number): Promise<string[]> => {
    const codes: string[] = [];
    for (let call = 0; call < times; call += 1) {
      codes.push(
        await ask(provider).then(
          () => 'ok',
          ({ code }: { code: string }) => code,
        ),
      );
    }
    return codes;
  };
  /** How many calls the vendor saw meanwhile. */
  const callsOf = async (work: () => Promise<unknown>): Promise<number> => {
    const before = vendor.calls.length;
    await work();
    return vendor.calls.length - before;
  };

  beforeAll(async () => {
    vendor = await LoopbackVendor.start({ kind: 'compatible', answer: analysisAnswer });
  });
  beforeEach(() => {
    events = [];
    attempts = [];
    behave(ANSWER);
  });
  afterAll(() => vendor.close());

  it('tries again what may succeed, and says so', async () => {
    behave(status(503), { kind: 'truncate', afterChunks: 2 }, ANSWER);
    expect(await callsOf(() => ask(guard()))).toBe(3);
    expect(attempts).toEqual([1, 2, 3]);
  });

  it('gives up after so many retries', async () => {
    behave(status(500));
    expect(await callsOf(() => expect(ask(guard())).rejects.toMatchObject({ code: 'provider_failed' }))).toBe(
      3,
    );
  });

  it.each<Behaviour>([
    status(400),
    status(401),
    { kind: 'refusal' },
    { kind: 'length' },
    { kind: 'wrongSchema' },
    { kind: 'hang' },
  ])('does not pay again for %j', async (behaviour) => {
    behave(behaviour);
    expect(await callsOf(() => ask(guard({ timeoutMs: 50 })).catch(() => {}))).toBe(1);
  });

  it('waits as long as Retry-After says before it asks again', async () => {
    behave(status(429, 1), ANSWER);
    await ask(guard());
    const [first, second] = vendor.calls.slice(-2).map(({ atMs }) => atMs);
    expect((second ?? 0) - (first ?? 0)).toBeGreaterThanOrEqual(990);
    expect(events).toEqual([{ type: 'rate_limited', provider: 'compatible', retryAfterMs: 1000 }]);
  });

  it('does not wait longer than its patience: others are not even tried meanwhile', async () => {
    behave(status(429, 120));
    const provider = guard();
    expect(
      await callsOf(async () => {
        await expect(ask(provider)).rejects.toMatchObject({
          code: 'provider_rate_limited',
          retryAfterMs: 120_000,
        });
        await expect(ask(provider)).rejects.toMatchObject({ code: 'provider_rate_limited' });
      }),
    ).toBe(1);
    expect(provider.health()).toMatchObject({ state: 'degraded', details: { circuit: 'closed' } });
  });

  it('does not let those who wait in the queue ask either', async () => {
    behave(status(429, 120));
    const provider = guard({ concurrency: 1, queueLimit: 5 });
    const calls = await callsOf(async () => {
      const answers = Array.from({ length: 4 }, () => ask(provider));
      for (const answer of answers) {
        await expect(answer).rejects.toMatchObject({ code: 'provider_rate_limited' });
      }
    });
    expect(calls).toBe(1);
  });

  it('opens after failures, refuses at once, and closes when a trial succeeds', async () => {
    let nowMs = Date.now();
    const provider = guard({ maxRetries: 0, breakerResetMs: 100, now: () => nowMs });
    behave(status(500));
    expect(await failing(provider, 3)).toEqual(['provider_failed', 'provider_failed', 'provider_failed']);
    expect(await callsOf(() => failing(provider, 5))).toBe(0);
    expect(provider.health()).toMatchObject({ state: 'down', details: { circuit: 'open' } });
    expect(events.map(({ type }) => type)).toEqual(['circuit_opened']);
    await ready(100);
    nowMs += 100;
    expect(await callsOf(() => failing(provider, 1))).toBe(1);
    expect(events.map(({ type }) => type)).toEqual([
      'circuit_opened',
      'circuit_half_opened',
      'circuit_opened',
    ]);
    await ready(100);
    behave(ANSWER);
    expect(await failing(provider, 1)).toEqual(['ok']);
    expect(events.at(-1)).toMatchObject({ type: 'circuit_closed', provider: 'compatible' });
    expect(provider.health()).toMatchObject({ state: 'up', details: { circuit: 'closed' } });
  });

  it('lets one request try, and the others not wait for it', async () => {
    const provider = guard({ maxRetries: 0, breakerResetMs: 20 });
    behave(status(500));
    await failing(provider, 3);
    await ready(20);
    const opens = Promise.withResolvers<void>();
    behave({ kind: 'answer', gate: { afterChunks: 1, opens: opens.promise } });
    const before = vendor.calls.length;
    const trial = ask(provider);
    await vendor.awaitCalls(before + 1);
    await expect(ask(provider)).rejects.toMatchObject({ code: 'circuit_open' });
    opens.resolve();
    await trial;
    expect(provider.health().state).toBe('up');
  });

  it.each<[string, Behaviour]>([
    ['a 400', status(400)],
    ['a refusal', { kind: 'refusal' }],
    ['an answer that is cut', { kind: 'length' }],
    ['an invalid answer', { kind: 'wrongSchema' }],
    ['a rate limit that says when it ends', status(429, 0)],
  ])('never opens for %s', async (_, behaviour) => {
    const provider = guard({ maxRetries: 0 });
    behave(behaviour);
    await failing(provider, 6);
    expect(events.filter(({ type }) => type === 'circuit_opened')).toEqual([]);
    behave(ANSWER);
    expect(await failing(provider, 1)).toEqual(['ok']);
  });

  it.each<[string, Behaviour]>([
    ['a key that is refused', status(401)],
    ['a vendor that hangs', { kind: 'hang' }],
    ['a connection that is reset', { kind: 'resetOnConnect' }],
    ['answers that break off', { kind: 'cleanEnd', afterChunks: 1 }],
  ])('opens for %s', async (_, behaviour) => {
    const provider = guard({ maxRetries: 0, timeoutMs: 50 });
    behave(behaviour);
    await failing(provider, 3);
    expect(events.map(({ type }) => type)).toEqual(['circuit_opened']);
  });

  it('never opens for callers who leave, in the queue or in the middle, nor for a full queue', async () => {
    const provider = guard({ maxRetries: 0, concurrency: 1, queueLimit: 1 });
    behave({ kind: 'hang', afterChunks: 1 });
    for (let round = 0; round < 4; round += 1) {
      const before = vendor.calls.length;
      const leaving = new AbortController();
      const running = ask(provider, leaving.signal);
      const queued = ask(provider, leaving.signal);
      await expect(ask(provider)).rejects.toMatchObject({ code: 'provider_busy' });
      await vendor.awaitCalls(before + 1);
      leaving.abort(new Error('gone'));
      await expect(running).rejects.toThrow('gone');
      await expect(queued).rejects.toThrow('gone');
    }
    const types = events.map(({ type }) => type);
    expect(new Set(types)).toEqual(new Set(['saturated', 'relieved']));
    behave(ANSWER);
    expect(await failing(provider, 1)).toEqual(['ok']);
  });

  it('knows nothing of a trial whose caller left: the next one tries', async () => {
    const provider = guard({ maxRetries: 0, breakerResetMs: 20 });
    behave(status(500));
    await failing(provider, 3);
    await ready(20);
    behave({ kind: 'hang' });
    const before = vendor.calls.length;
    const leaving = new AbortController();
    const trial = ask(provider, leaving.signal);
    await vendor.awaitCalls(before + 1);
    leaving.abort(new Error('gone'));
    await expect(trial).rejects.toThrow('gone');
    await settled(() => provider.health().state === 'down');
    behave(ANSWER);
    expect(await failing(provider, 1)).toEqual(['ok']);
    expect(provider.health().state).toBe('up');
  });

  it('does not take a caller who leaves for a trial that failed', async () => {
    const provider = guard({ maxRetries: 0, breakerResetMs: 20 });
    const gate = Promise.withResolvers<void>();
    behave({ kind: 'hang' }, status(500), status(500), status(500), {
      kind: 'answer',
      gate: { afterChunks: 1, opens: gate.promise },
    });
    const before = vendor.calls.length;
    const leaving = new AbortController();
    const old = ask(provider, leaving.signal);
    await vendor.awaitCalls(before + 1);
    await failing(provider, 3);
    await ready(20);
    const trial = ask(provider);
    await vendor.awaitCalls(before + 5);
    leaving.abort(new Error('gone'));
    await expect(old).rejects.toThrow('gone');
    expect(provider.health().details).toMatchObject({ circuit: 'half-open' });
    gate.resolve();
    await trial;
    expect(events.map(({ type }) => type)).toEqual([
      'circuit_opened',
      'circuit_half_opened',
      'circuit_closed',
    ]);
  });

  it('takes no longer than its budget, in the queue either', async () => {
    const provider = guard({ maxRetries: 5, concurrency: 1 });
    behave({ kind: 'hang' });
    const begun = performance.now();
    const both = [ask(provider, undefined, 100), ask(provider, undefined, 100)];
    for (const answer of both) await expect(answer).rejects.toMatchObject({ code: 'analysis_timeout' });
    expect(performance.now() - begun).toBeLessThan(1000);
  });

  it('opens for a provider that hangs, however many find its queue full meanwhile', async () => {
    const provider = guard({ maxRetries: 0, concurrency: 1, queueLimit: 0, timeoutMs: 30 });
    behave({ kind: 'hang' });
    for (let round = 0; round < 3; round += 1) {
      await Promise.all(Array.from({ length: 20 }, () => ask(provider).catch(() => {})));
    }
    expect(provider.health().details).toMatchObject({ circuit: 'open' });
  });

  it('never opens for want of time that was spent in the queue', async () => {
    const provider = guard({ maxRetries: 0, concurrency: 1, queueLimit: 10, timeoutMs: 1_000 });
    behave({ kind: 'answer', delayMs: 80 });
    for (let round = 0; round < 4; round += 1) {
      await Promise.all(Array.from({ length: 6 }, () => ask(provider, undefined, 120).catch(() => {})));
    }
    expect(provider.health().details).toMatchObject({ circuit: 'closed' });
  });

  it('does not begin what waited while the circuit opened', async () => {
    const provider = guard({ maxRetries: 0, concurrency: 1, queueLimit: 10, breakerFailures: 1 });
    behave(status(500));
    const codes = await Promise.all(
      Array.from({ length: 5 }, () => ask(provider).catch(({ code }: { code: string }) => code)),
    );
    // The place is passed on before the circuit knows.
    expect(codes).toEqual([
      'provider_failed',
      'provider_failed',
      'circuit_open',
      'circuit_open',
      'circuit_open',
    ]);
  });

  it('tells nothing of an attempt that is over', async () => {
    const late = Promise.withResolvers<(text: string) => void>();
    const inner = {
      ...VENDORS.compatible({ baseUrl: vendor.url }),
      name: 'compatible',
      model: 'x',
      analyze: (_: unknown, context: ProviderContext) => {
        late.resolve(context.onText);
        return new Promise<never>(() => {});
      },
    } as unknown as AiProvider;
    const told: string[] = [];
    const provider = new GuardedProvider(inner, { ...OPTIONS, timeoutMs: 20, maxRetries: 0 });
    const answer = provider.analyze(
      { type: 'deobfuscate', content: Buffer.from('a()') },
      { ...SILENT, signal: new AbortController().signal, budgetMs: 1000, onText: (text) => told.push(text) },
    );
    const tell = await late.promise;
    tell('in time');
    await expect(answer).rejects.toMatchObject({ code: 'analysis_timeout' });
    tell('too late');
    expect(told).toEqual(['in time']);
  });

  it('leaves a pause at once when its caller leaves, and gives back the place', async () => {
    const provider = guard({ concurrency: 1, queueLimit: 0 });
    behave(status(429, 4));
    const leaving = new AbortController();
    const answer = ask(provider, leaving.signal);
    answer.catch(() => {});
    await settled(() => events.some(({ type }) => type === 'rate_limited'));
    leaving.abort(new Error('gone'));
    await expect(answer).rejects.toThrow('gone');
    expect(provider.health().details).toMatchObject({ active: 0 });
  });
});

/** The breaker goes by the real clock. */
const ready = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms + 5));

async function settled(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}

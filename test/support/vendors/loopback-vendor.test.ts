import { afterEach, describe, expect, it } from '@jest/globals';
import type { Behaviour } from './behaviour.js';
import type { Call, VendorOptions } from './loopback-vendor.js';
import { LoopbackVendor } from './loopback-vendor.js';
import { generate, stream, WIRE_NAMES, WIRES } from './sdk.js';

const SAMPLE = 'eval(location.hash)';
const ANALYSIS = { vulnerabilities: [], analysisReport: 'A sample of 19 characters, ba8d038d0d81.' };

let vendors: LoopbackVendor[] = [];

async function start(options: VendorOptions): Promise<LoopbackVendor> {
  const vendor = await LoopbackVendor.start(options);
  vendors.push(vendor);
  return vendor;
}

afterEach(async () => {
  await Promise.all(vendors.map((vendor) => vendor.close()));
  vendors = [];
});

const post = (vendor: LoopbackVendor, path: string, body: unknown, signal?: AbortSignal): Promise<Response> =>
  fetch(`http://127.0.0.1:${vendor.port}${path}`, {
    method: 'POST',
    body: JSON.stringify(body),
    ...(signal !== undefined && { signal }),
  });

const chat = (streamed: boolean): unknown => ({
  model: 'm',
  stream: streamed,
  messages: [{ role: 'user', content: SAMPLE }],
});

const callOf = (vendor: LoopbackVendor, index = 0): Call => {
  const call = vendor.calls[index];
  if (call === undefined) throw new Error(`There was no call ${index}.`);
  return call;
};

describe.each(WIRE_NAMES)('%s', (wire) => {
  const { kind } = WIRES[wire];

  it('streams an answer that the SDK understands, with what it has cost', async () => {
    const vendor = await start({ kind });
    const seen = await stream(wire, vendor.url);
    expect(seen).toMatchObject({
      parts: 'start start-step text-start text-delta text-end finish-step finish',
      finishReason: 'stop',
      text: JSON.stringify(ANALYSIS),
      output: ANALYSIS,
      told: undefined,
      thrown: undefined,
    });
    expect(seen.usage).toEqual(callOf(vendor).billed);
    expect(callOf(vendor)).toMatchObject({ aborted: false, prompt: expect.stringContaining(SAMPLE) });
  });

  it('answers at once as well', async () => {
    const vendor = await start({ kind });
    const answer = await generate(wire, vendor.url);
    expect(answer).toEqual({ output: ANALYSIS, finishReason: 'stop', usage: callOf(vendor).billed });
  });

  it('comes byte by byte, and is the same', async () => {
    const script = (): Behaviour => ({ kind: 'slowBytes', bytes: 7, gapMs: 1 });
    const vendor = await start({ kind, script, sleep: async () => {} });
    expect(await stream(wire, vendor.url)).toMatchObject({ finishReason: 'stop', output: ANALYSIS });
    expect(await generate(wire, vendor.url)).toMatchObject({ finishReason: 'stop', output: ANALYSIS });
    expect(vendor.totals).toMatchObject({ calls: 2, outputTokens: 2 * 21 });
  });

  it('goes on behind a gate only when it opens', async () => {
    const opens = Promise.withResolvers<void>();
    const gate = { afterChunks: 2, opens: opens.promise };
    const vendor = await start({ kind, script: () => ({ kind: 'answer', gate }) });
    const shown = Promise.withResolvers<void>();
    const seen = stream(wire, vendor.url, {}, (type) => type === 'text-delta' && shown.resolve());
    await shown.promise;
    expect(callOf(vendor).billed).toBeUndefined();
    opens.resolve();
    expect(await seen).toMatchObject({ finishReason: 'stop', output: ANALYSIS });
  });

  it('learns at once that the client has left', async () => {
    const vendor = await start({ kind, script: () => ({ kind: 'hang', afterChunks: 2 }) });
    const client = new AbortController();
    await stream(wire, vendor.url, { abortSignal: client.signal }, (type) => {
      if (type === 'text-delta') client.abort();
    });
    await callOf(vendor).closed;
    expect(callOf(vendor)).toMatchObject({ aborted: true, billed: undefined });
    expect(vendor.totals).toEqual({ calls: 1, inputTokens: 0, outputTokens: 0 });
  });
});

it('is asked for structured output in the way of each', async () => {
  const bodies: Record<string, unknown> = {};
  for (const wire of WIRE_NAMES) {
    const vendor = await start({ kind: WIRES[wire].kind });
    await stream(wire, vendor.url);
    bodies[wire] = callOf(vendor).body;
  }
  const named = { type: 'json_schema', strict: true, name: 'response' };
  expect(bodies).toMatchObject({
    messages: { max_tokens: 64_000, output_config: { format: { type: 'json_schema' } } },
    'messages by tool': { max_tokens: 4096, tools: [{ name: 'json' }], tool_choice: { type: 'any' } },
    responses: { text: { format: named } },
    chat: { response_format: { type: 'json_schema', json_schema: { strict: true, name: 'response' } } },
    deepseek: {
      response_format: { type: 'json_object' },
      messages: [{ role: 'system', content: expect.stringContaining('analysisReport') }, {}, {}],
    },
    compatible: { response_format: { type: 'json_schema' }, stream_options: { include_usage: true } },
  });
});

describe('a vendor', () => {
  it('records what it is asked, and when', async () => {
    const vendor = await start({ kind: 'deepseek', now: () => 5000 });
    const response = await post(vendor, '/v1/chat/completions?trace=1', chat(false));
    expect(await response.json()).toMatchObject({ id: 'chatcmpl-0', created: 5 });
    expect(callOf(vendor)).toMatchObject({
      index: 0,
      path: '/v1/chat/completions',
      headers: { host: `127.0.0.1:${vendor.port}` },
      body: chat(false),
      prompt: SAMPLE,
      atMs: 5000,
      billed: { inputTokens: 5, outputTokens: 21 },
    });
  });

  it('tells when it has been called, and what all calls have cost', async () => {
    const kinds = ['answer', 'html', 'invalidJson'] as const;
    const vendor = await start({ kind: 'openai', script: ({ index }) => ({ kind: kinds[index] ?? 'html' }) });
    const called = vendor.awaitCalls(3);
    for (const _ of kinds) await (await post(vendor, '/v1/chat/completions', chat(true))).text();
    await called;
    expect(vendor.totals).toEqual({ calls: 3, inputTokens: 10, outputTokens: 21 + 12 });
  });

  it('waits as it is told, by the clock that it is given', async () => {
    const slept: number[] = [];
    const vendor = await start({
      kind: 'compatible',
      script: () => ({ kind: 'answer', chunks: 3, delayMs: 500, gapMs: 40 }),
      sleep: async (ms) => slept.push(ms),
    });
    await (await post(vendor, '/chat/completions', chat(true))).text();
    expect(slept).toEqual([500, 40, 40]);
  });

  it('answers with the text that it is given, of the request', async () => {
    const vendor = await start({ kind: 'openai', answer: (prompt) => `{"of":${prompt.length}}` });
    const answer = await post(vendor, '/v1/responses', { model: 'm', input: SAMPLE });
    expect(await answer.json()).toMatchObject({
      status: 'completed',
      output: [{ content: [{ type: 'output_text', text: '{"of":19}' }] }],
    });
  });

  it('has the events of the Responses API in order and numbered', async () => {
    const vendor = await start({ kind: 'openai', script: () => ({ kind: 'answer', chunks: 2 }) });
    const body = await (
      await post(vendor, '/v1/responses', { model: 'm', input: SAMPLE, stream: true })
    ).text();
    expect([...body.matchAll(/^event: response\.(.*)$/gm)].map(([, name]) => name)).toEqual([
      'created',
      'in_progress',
      'output_item.added',
      'content_part.added',
      'output_text.delta',
      'output_text.delta',
      'output_text.done',
      'content_part.done',
      'output_item.done',
      'completed',
    ]);
    const numbers = [...body.matchAll(/"sequence_number":(\d+)/g)].map(([, n]) => Number(n));
    expect(numbers).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('tells the usage of chat completions only to who asks for it', async () => {
    const vendor = await start({ kind: 'compatible' });
    const without = await (await post(vendor, '/v1/chat/completions', chat(true))).text();
    expect(without).not.toContain('prompt_tokens');
    expect(without.endsWith('data: [DONE]\n\n')).toBe(true);
  });

  it.each([
    ['claude', { type: 'error', error: { type: 'overloaded_error' } }],
    ['deepseek', { error: { type: 'server_error', code: null } }],
  ] as const)('has an error in the shape of %s, and says when to come again', async (kind, shape) => {
    const date = new Date('2026-01-02T03:04:05Z');
    const vendor = await start({
      kind,
      script: ({ index }) => ({ kind: 'status', status: 529, retryAfter: index === 0 ? 7 : date }),
    });
    const path = kind === 'claude' ? '/v1/messages' : '/chat/completions';
    const body = { model: 'm', max_tokens: 1, messages: [{ role: 'user', content: SAMPLE }] };
    const first = await post(vendor, path, body);
    expect([first.status, first.headers.get('retry-after')]).toEqual([529, '7']);
    expect(await first.json()).toMatchObject(shape);
    const second = await post(vendor, path, body);
    expect(second.headers.get('retry-after')).toBe('Fri, 02 Jan 2026 03:04:05 GMT');
    await second.text();
  });

  it('declines what it does not understand, and asks no script', async () => {
    const vendor = await start({ kind: 'claude', script: () => ({ kind: 'resetOnConnect' }) });
    const unknown = await post(vendor, '/v1/complete', {});
    const wrong = await post(vendor, '/v1/messages', { model: 'm', messages: [] });
    expect([unknown.status, wrong.status]).toEqual([404, 400]);
    expect(await unknown.json()).toMatchObject({ error: { type: 'not_found_error' } });
    expect(await wrong.json()).toMatchObject({ error: { type: 'invalid_request_error' } });
    expect(vendor.calls.map(({ prompt }) => prompt)).toEqual(['', '']);
  });

  it.each([true, false])('talks without end until nobody listens; streamed: %s', async (streamed) => {
    const vendor = await start({ kind: 'openai', script: () => ({ kind: 'hugeAnswer' }) });
    const client = new AbortController();
    const { body } = await post(vendor, '/v1/chat/completions', chat(streamed), client.signal);
    let received = 0;
    for await (const bytes of body ?? []) {
      received += (bytes as Uint8Array).length;
      if (received > 2 ** 21) break;
    }
    client.abort();
    await callOf(vendor).closed;
    expect(callOf(vendor)).toMatchObject({ aborted: true, billed: undefined });
  });

  it('breaks what is open when it closes, which is not the doing of the client', async () => {
    const vendor = await start({ kind: 'claude', script: () => ({ kind: 'hang' }) });
    const seen = stream('messages', vendor.url);
    await vendor.awaitCalls(1);
    expect(vendor.connections).toBe(1);
    await vendor.close();
    expect(await seen).toMatchObject({ parts: 'start error', told: { isRetryable: true } });
    expect(callOf(vendor).aborted).toBe(false);
    expect(vendor.connections).toBe(0);
  });

  it('does not hide the mistake of a script', async () => {
    const vendor = await LoopbackVendor.start({
      kind: 'openai',
      script: () => {
        throw new Error('No behaviour for this one.');
      },
    });
    await expect(post(vendor, '/v1/chat/completions', chat(true))).rejects.toThrow('fetch failed');
    await expect(vendor.close()).rejects.toThrow('No behaviour for this one.');
  });
});

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { APICallError, NoObjectGeneratedError, NoOutputGeneratedError, StreamProviderError } from 'ai';
import type { Behaviour } from './behaviour.js';
import { LoopbackVendor } from './loopback-vendor.js';
import type { Seen, WireName } from './sdk.js';
import { generate, stream, WIRE_NAMES, WIRES } from './sdk.js';

/** Pins how the AI SDK shows each misbehaviour: a new release of it that shows another one is noticed here. */
const ANALYSIS = { vulnerabilities: [], analysisReport: 'All of it.' };
const WHOLE = 'start start-step text-start text-delta text-end finish-step finish';

let vendor: LoopbackVendor;
let behaviour: Behaviour;

const open = async (wire: WireName): Promise<void> => {
  vendor = await LoopbackVendor.start({
    kind: WIRES[wire].kind,
    script: () => behaviour,
    answer: () => JSON.stringify(ANALYSIS),
  });
};

const streamed = (wire: WireName, told: Behaviour): Promise<Seen> => {
  behaviour = told;
  return stream(wire, vendor.url);
};
const generated = (wire: WireName, told: Behaviour): Promise<unknown> => {
  behaviour = told;
  return generate(wire, vendor.url);
};

const noObject = (finishReason: string, message = 'could not parse'): unknown =>
  expect.objectContaining({
    name: 'AI_NoObjectGeneratedError',
    finishReason,
    message: expect.stringContaining(message),
  });

/** Those that see the first event before they hand the stream over. */
const PEEKS = new Set<WireName>(['messages', 'messages by tool', 'responses', 'chat']);
/** How it ends where it has no end. */
const UNFINISHED: Readonly<Record<WireName, string>> = {
  messages: 'interrupted',
  'messages by tool': 'interrupted',
  responses: 'interrupted',
  chat: 'interrupted',
  deepseek: 'other',
  compatible: 'error',
};

describe.each(WIRE_NAMES)('%s', (wire) => {
  beforeEach(() => open(wire));
  afterEach(() => vendor.close());

  it.each([
    [400, false],
    [401, false],
    [404, false],
    [413, false],
    [429, true],
    [500, true],
    [503, true],
    [529, true],
  ])('status %d is an error with its headers; worth another attempt: %s', async (status, isRetryable) => {
    const told = { kind: 'status', status, retryAfter: 7 } as const;
    const error = { name: 'AI_APICallError', statusCode: status, isRetryable };
    const seen = await streamed(wire, told);
    expect(seen).toMatchObject({ parts: 'start error', told: error, thrown: undefined });
    expect(APICallError.isInstance(seen.told) && seen.told.responseHeaders?.['retry-after']).toBe('7');
    // It does not say why.
    expect(NoOutputGeneratedError.isInstance(seen.output)).toBe(true);
    expect(await generated(wire, told)).toMatchObject(error);
  });

  it('a body that is not of the vendor leaves the status', async () => {
    const told = { kind: 'status', status: 503, body: '<html>' } as const;
    const error = { statusCode: 503, isRetryable: true, message: 'Service Unavailable', data: undefined };
    expect(await streamed(wire, told)).toMatchObject({ told: error });
    expect(await generated(wire, told)).toMatchObject(error);
  });

  it.each(['model', 'filter'] as const)('a refusal by the %s is a filtered content', async (by) => {
    const seen = await streamed(wire, { kind: 'refusal', by });
    expect(seen).toMatchObject({ parts: WHOLE, finishReason: 'content-filter', told: undefined });
    expect(seen.output).toEqual(noObject('content-filter'));
    expect(seen.usage).toEqual(vendor.calls[0]?.billed);
    expect(await generated(wire, { kind: 'refusal', by })).toEqual(noObject('content-filter'));
  });

  it('the limit of tokens is told by the reason', async () => {
    const seen = await streamed(wire, { kind: 'length' });
    expect(seen).toMatchObject({ parts: WHOLE, finishReason: 'length' });
    expect(seen.output).toEqual(noObject('length'));
    expect(seen.usage).toEqual(vendor.calls[0]?.billed);
    // What is left of a tool's input need not be what was streamed.
    const message = wire === 'messages by tool' ? 'did not match schema' : 'could not parse';
    expect(await generated(wire, { kind: 'length' })).toEqual(noObject('length', message));
  });

  it('the limit of tokens is told by nothing else where the text happens to be complete', async () => {
    const told = { kind: 'length', text: JSON.stringify(ANALYSIS) } as const;
    expect(await streamed(wire, told)).toMatchObject({ finishReason: 'length', output: ANALYSIS });
    expect(await generated(wire, told)).toMatchObject({ finishReason: 'length', output: ANALYSIS });
  });

  it('a connection that breaks after text fails the iteration, and no part tells of it', async () => {
    const shown = Promise.withResolvers<void>();
    behaviour = { kind: 'truncate', afterChunks: 2, gate: shown.promise };
    const seen = await stream(wire, vendor.url, {}, (type) => type === 'text-delta' && shown.resolve());
    const error = { name: 'AI_APICallError', statusCode: 200, isRetryable: true };
    expect(seen).toMatchObject({ finishReason: undefined, told: undefined, thrown: error, output: error });
    expect(seen.parts).toBe('start start-step text-start text-delta');
    expect(await generated(wire, { kind: 'truncate' })).toMatchObject(error);
  });

  it('an end without an end leaves a reason that is not `stop`', async () => {
    const seen = await streamed(wire, { kind: 'cleanEnd', afterChunks: 2 });
    expect(seen).toMatchObject({ finishReason: UNFINISHED[wire], thrown: undefined });
    expect(seen.output).toEqual(noObject(UNFINISHED[wire]));
    expect(seen.usage).toEqual({ inputTokens: undefined, outputTokens: undefined });
    expect(seen.told !== undefined).toBe(wire === 'compatible');
    expect(await generated(wire, { kind: 'cleanEnd' })).toMatchObject({
      name: 'AI_APICallError',
      message: 'Invalid JSON response',
      statusCode: 200,
      isRetryable: false,
    });
  });

  it('an end without an end has an object nevertheless where only the end is missing', async () => {
    const seen = await streamed(wire, { kind: 'cleanEnd', afterChunks: 4 });
    expect(seen).toMatchObject({ finishReason: UNFINISHED[wire], output: ANALYSIS });
  });

  it('an error that is told within the stream is a part, and the stream ends', async () => {
    const seen = await streamed(wire, { kind: 'errorInStream', afterChunks: 2, status: 429 });
    expect(seen).toMatchObject({ finishReason: 'error', thrown: undefined });
    expect(seen.output).toEqual(noObject('error'));
    expect(StreamProviderError.isInstance(seen.told)).toBe(true);
    // Where any server may stand behind it, no code is known.
    expect(seen.told).toMatchObject(
      wire === 'compatible' ? { isRetryable: false } : { statusCode: 429, isRetryable: true },
    );
  });

  it('what is no JSON, or not the object, is a complete answer without an object', async () => {
    const prose = await streamed(wire, { kind: 'invalidJson' });
    expect(prose).toMatchObject({ parts: WHOLE, finishReason: 'stop' });
    expect(prose.output).toEqual(noObject('stop'));
    const wrong = await streamed(wire, { kind: 'wrongSchema' });
    expect(wrong.output).toEqual(noObject('stop', 'did not match schema'));
    expect(NoObjectGeneratedError.isInstance(await generated(wire, { kind: 'wrongSchema' }))).toBe(true);
    expect(vendor.totals.calls).toBe(3);
    expect(vendor.calls.every(({ billed }) => billed !== undefined)).toBe(true);
  });

  it.each(['html', 'jsonToStream'] as const)(
    '%s instead of a stream is an end without an end',
    async (kind) => {
      const seen = await streamed(wire, { kind });
      expect(seen).toMatchObject({ text: '', thrown: undefined });
      if (WIRES[wire].kind === 'claude') expect(seen).toMatchObject({ parts: 'start error' });
      else expect(seen.finishReason).toBe(UNFINISHED[wire]);
      expect(seen.output).toBeInstanceOf(Error);
    },
  );

  it('a reset is an error without a status', async () => {
    const error = { name: 'AI_APICallError', statusCode: undefined, isRetryable: true };
    expect(await streamed(wire, { kind: 'resetOnConnect' })).toMatchObject({
      parts: 'start error',
      told: error,
    });
    expect(await generated(wire, { kind: 'resetOnConnect' })).toMatchObject(error);
  });

  it('silence before the status is ended by the time of all, not by that of the first chunk', async () => {
    behaviour = { kind: 'hang' };
    const timeout = { firstChunkMs: 10, chunkMs: 10, totalMs: 100 };
    const seen = await stream(wire, vendor.url, { timeout });
    expect(seen).toMatchObject({
      parts: 'start abort',
      told: expect.stringContaining('aborted due to timeout'),
      thrown: undefined,
      output: { name: 'TimeoutError' },
    });
  });

  it('silence after the status is ended by the time of the first chunk where nobody peeks', async () => {
    behaviour = { kind: 'hang', afterChunks: 0 };
    const timeout = { firstChunkMs: 10, totalMs: PEEKS.has(wire) ? 100 : 5000 };
    const { told } = await stream(wire, vendor.url, { timeout });
    expect(told).toContain(PEEKS.has(wire) ? 'aborted due to timeout' : 'First chunk timeout');
  });

  it('silence after text is ended by the time between chunks', async () => {
    behaviour = { kind: 'hang', afterChunks: 2 };
    const seen = await stream(wire, vendor.url, { timeout: { chunkMs: 50, totalMs: 5000 } });
    expect(seen).toMatchObject({
      parts: 'start start-step text-start text-delta abort',
      told: expect.stringContaining('Chunk timeout'),
      output: { name: 'TimeoutError' },
    });
    await vendor.calls[0]?.closed;
    expect(vendor.calls[0]?.aborted).toBe(true);
  });
});

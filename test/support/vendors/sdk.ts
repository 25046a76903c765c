import '../one-realm.js';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createDeepSeek } from '@ai-sdk/deepseek';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import type { FinishReason, LanguageModel, LanguageModelUsage, TimeoutConfiguration, ToolSet } from 'ai';
import { generateText, Output, streamText } from 'ai';
import { z } from 'zod';
import type { VendorKind } from './vendor-kind.js';

const apiKey = 'none';

/** The APIs that the SDK's clients speak, and a model of each. */
export const WIRES = {
  messages: { kind: 'claude', model: (baseURL) => createAnthropic({ apiKey, baseURL })('claude-sonnet-4-5') },
  // A model without structured output is made to call a tool.
  'messages by tool': {
    kind: 'claude',
    model: (baseURL) => createAnthropic({ apiKey, baseURL })('claude-3-haiku-20240307'),
  },
  responses: { kind: 'openai', model: (baseURL) => createOpenAI({ apiKey, baseURL })('gpt-5.2') },
  chat: { kind: 'openai', model: (baseURL) => createOpenAI({ apiKey, baseURL }).chat('gpt-5.2') },
  deepseek: { kind: 'deepseek', model: (baseURL) => createDeepSeek({ apiKey, baseURL })('deepseek-chat') },
  compatible: {
    kind: 'compatible',
    model: (baseURL) =>
      createOpenAICompatible({
        name: 'own',
        apiKey,
        baseURL,
        includeUsage: true,
        supportsStructuredOutputs: true,
      })('a-model'),
  },
} as const satisfies Record<string, { kind: VendorKind; model: (baseURL: string) => LanguageModel }>;
export type WireName = keyof typeof WIRES;
export const WIRE_NAMES = Object.keys(WIRES) as WireName[];

export const schema = z.strictObject({
  vulnerabilities: z.array(z.strictObject({ name: z.string().max(200) })),
  analysisReport: z.string(),
});

export interface Limits {
  readonly timeout?: TimeoutConfiguration<ToolSet>;
  readonly abortSignal?: AbortSignal;
}

const request = (wire: WireName, url: string) => ({
  model: WIRES[wire].model(url),
  system: 'You find flaws.',
  prompt: 'Look:\n```js\neval(location.hash)\n```\n',
  output: Output.object({ schema }),
  maxRetries: 0,
});

/** What an answer looks like to who uses the SDK. */
export interface Seen {
  /** The types of the stream's parts; of several alike in a row one, and none that only one vendor has. */
  readonly parts: string;
  readonly finishReason: FinishReason | undefined;
  readonly usage: Pick<LanguageModelUsage, 'inputTokens' | 'outputTokens'> | undefined;
  readonly text: string;
  /** What the error part has, or the reason of the abort part. */
  readonly told: unknown;
  /** What the iteration fails with. */
  readonly thrown: unknown;
  /** The object, or what its promise fails with. */
  readonly output: unknown;
}

/** Asks for a stream, and reads it to its end. `onPart` learns of each part. */
export async function stream(
  wire: WireName,
  url: string,
  limits: Limits = {},
  onPart: (type: string) => void = () => {},
): Promise<Seen> {
  const result = streamText({ ...request(wire, url), ...limits, onError: () => {} });
  const types: string[] = [];
  let finishReason: Seen['finishReason'];
  let usage: Seen['usage'];
  let text = '';
  let told: unknown;
  let thrown: unknown;
  try {
    for await (const part of result.stream) {
      if (part.type !== types.at(-1) && part.type !== 'custom') types.push(part.type);
      if (part.type === 'text-delta') text += part.text;
      if (part.type === 'error') told = part.error;
      if (part.type === 'abort') told = part.reason;
      if (part.type === 'finish') {
        ({ finishReason } = part);
        usage = tokens(part.totalUsage);
      }
      onPart(part.type);
    }
  } catch (error) {
    thrown = error;
  }
  const output = await settled(result.output);
  return { parts: types.join(' '), finishReason, usage, text, told, thrown, output };
}

/** Asks for all at once; the result, or what it fails with. */
export async function generate(wire: WireName, url: string, limits: Limits = {}): Promise<unknown> {
  return settled(
    generateText({ ...request(wire, url), ...limits }).then(({ output, finishReason, usage }) => ({
      output,
      finishReason,
      usage: tokens(usage),
    })),
  );
}

const tokens = ({ inputTokens, outputTokens }: LanguageModelUsage): Seen['usage'] => ({
  inputTokens,
  outputTokens,
});

const settled = (promise: PromiseLike<unknown>): Promise<unknown> =>
  Promise.resolve(promise).catch((error: unknown) => error);

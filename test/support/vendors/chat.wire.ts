import { z } from 'zod';
import { openaiError } from './openai-error.js';
import type { Frame } from './frame.js';
import type { Answer, Stamp, Wire } from './wire.js';
import { inputOf, messagesSchema, promptOf } from './prompt.js';

const requestSchema = z.looseObject({
  model: z.string(),
  messages: messagesSchema,
  stream: z.boolean().optional(),
  stream_options: z.looseObject({ include_usage: z.boolean().optional() }).optional(),
});

const FINISH_REASONS = {
  stop: 'stop',
  length: 'length',
  refused: 'stop',
  filtered: 'content_filter',
} as const;

/** Chat completions, as OpenAI, DeepSeek and many others speak them. */
export class ChatWire implements Wire {
  readonly streamed: boolean;
  readonly prompt: string;
  readonly input: string;
  private readonly model: string;
  private readonly tellsUsage: boolean;

  /** `refusals`: whether there is a field for what a model says when it declines, or it is filtered only. */
  constructor(
    body: unknown,
    private readonly stamp: Stamp,
    private readonly refusals: boolean,
  ) {
    const { model, messages, stream, stream_options: options } = requestSchema.parse(body);
    this.streamed = stream === true;
    this.prompt = promptOf(messages);
    this.input = inputOf(messages);
    this.model = model;
    this.tellsUsage = options?.include_usage === true;
  }

  opening(): readonly Frame[] {
    return [this.chunk([choice({ role: 'assistant', content: '' })])];
  }

  delta(answer: Answer, text: string): Frame {
    return this.chunk([choice(this.declines(answer) ? { refusal: text } : { content: text })]);
  }

  closing(answer: Answer): readonly Frame[] {
    const usage = this.tellsUsage ? [this.chunk([], this.usage(answer))] : [];
    return [this.chunk([choice({}, this.finishReason(answer))]), ...usage, { data: '[DONE]' }];
  }

  whole(answer: Answer): unknown {
    const { text } = answer;
    const message = this.declines(answer)
      ? { role: 'assistant', content: null, refusal: text }
      : { role: 'assistant', content: text };
    return {
      ...this.completion('chat.completion'),
      choices: [{ index: 0, message, logprobs: null, finish_reason: this.finishReason(answer) }],
      usage: this.usage(answer),
    };
  }

  failure(status: number, message: string): Frame {
    return { data: openaiError(status, message) };
  }

  private declines({ ending }: Answer): boolean {
    return ending === 'refused' && this.refusals;
  }

  private finishReason({ ending }: Answer): string {
    return ending === 'refused' && !this.refusals ? FINISH_REASONS.filtered : FINISH_REASONS[ending];
  }

  private chunk(choices: readonly unknown[], usage: unknown = null): Frame {
    return { data: { ...this.completion('chat.completion.chunk'), choices, usage } };
  }

  private completion(object: string): Record<string, unknown> {
    const { index, created } = this.stamp;
    return { id: `chatcmpl-${index}`, object, created, model: this.model, system_fingerprint: 'fp_loopback' };
  }

  private usage({ usage: { inputTokens, outputTokens } }: Answer): Record<string, unknown> {
    return {
      prompt_tokens: inputTokens,
      completion_tokens: outputTokens,
      total_tokens: inputTokens + outputTokens,
    };
  }
}

const choice = (delta: unknown, finishReason: string | null = null): unknown => ({
  index: 0,
  delta,
  logprobs: null,
  finish_reason: finishReason,
});

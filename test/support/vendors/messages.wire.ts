import { z } from 'zod';
import { anthropicError } from './anthropic-error.js';
import type { Frame } from './frame.js';
import type { Answer, Stamp, Wire } from './wire.js';
import { contentSchema, inputOf, messagesSchema, promptOf, textOf } from './prompt.js';

const requestSchema = z.looseObject({
  model: z.string(),
  max_tokens: z.int().min(1),
  stream: z.boolean().optional(),
  system: contentSchema.optional(),
  messages: messagesSchema,
  tools: z.array(z.looseObject({ name: z.string() })).optional(),
  tool_choice: z.looseObject({ type: z.string(), name: z.string().optional() }).optional(),
});

const STOP_REASONS = {
  stop: 'end_turn',
  length: 'max_tokens',
  refused: 'refusal',
  filtered: 'refusal',
} as const;

/** Anthropic's Messages API. A tool that has to be called is called with the answer. */
export class MessagesWire implements Wire {
  readonly streamed: boolean;
  readonly prompt: string;
  readonly input: string;
  private readonly model: string;
  private readonly tool: string | undefined;

  constructor(
    body: unknown,
    private readonly stamp: Stamp,
  ) {
    const { model, stream, system, messages, tools, tool_choice: choice } = requestSchema.parse(body);
    this.streamed = stream === true;
    this.prompt = promptOf(messages);
    this.input = textOf(system ?? '') + inputOf(messages);
    this.model = model;
    if (choice?.type === 'tool') this.tool = choice.name;
    if (choice?.type === 'any') this.tool = tools?.[0]?.name;
  }

  opening(answer: Answer): readonly Frame[] {
    const message = {
      ...this.message(answer, 1),
      content: [],
      stop_reason: null,
    };
    const block = this.calls(answer) ? this.call({}) : { type: 'text', text: '' };
    return [
      named('message_start', { message }),
      named('content_block_start', { index: 0, content_block: block }),
      named('ping'),
    ];
  }

  delta(answer: Answer, text: string): Frame {
    const delta = this.calls(answer)
      ? { type: 'input_json_delta', partial_json: text }
      : { type: 'text_delta', text };
    return named('content_block_delta', { index: 0, delta });
  }

  closing(answer: Answer): readonly Frame[] {
    const delta = { stop_reason: this.stopReason(answer), stop_sequence: null };
    const usage = { output_tokens: answer.usage.outputTokens };
    return [
      named('content_block_stop', { index: 0 }),
      named('message_delta', { delta, usage }),
      named('message_stop'),
    ];
  }

  whole(answer: Answer): unknown {
    const block = this.calls(answer) ? this.call(objectIn(answer.text)) : { type: 'text', text: answer.text };
    return {
      ...this.message(answer, answer.usage.outputTokens),
      content: [block],
      stop_reason: this.stopReason(answer),
    };
  }

  failure(status: number, message: string): Frame {
    return { event: 'error', data: anthropicError(status, message) };
  }

  private message({ usage }: Answer, outputTokens: number): Record<string, unknown> {
    return {
      id: `msg_${this.stamp.index}`,
      type: 'message',
      role: 'assistant',
      model: this.model,
      stop_sequence: null,
      usage: {
        input_tokens: usage.inputTokens,
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: 0,
        output_tokens: outputTokens,
      },
    };
  }

  private calls({ ending }: Answer): boolean {
    return this.tool !== undefined && (ending === 'stop' || ending === 'length');
  }

  private call(input: unknown): Record<string, unknown> {
    return { type: 'tool_use', id: `toolu_${this.stamp.index}`, name: this.tool, input };
  }

  private stopReason(answer: Answer): string {
    return this.calls(answer) && answer.ending === 'stop' ? 'tool_use' : STOP_REASONS[answer.ending];
  }
}

/** Each event has its type for a name. */
const named = (type: string, fields: Readonly<Record<string, unknown>> = {}): Frame => ({
  event: type,
  data: { type, ...fields },
});

/** A tool's input is an object in any case: what cannot be read as one is lost. */
function objectIn(text: string): unknown {
  try {
    return z.record(z.string(), z.unknown()).parse(JSON.parse(text));
  } catch {
    return {};
  }
}

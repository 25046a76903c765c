import { z } from 'zod';
import type { Frame } from './frame.js';
import type { Answer, Ending, Stamp, Wire } from './wire.js';
import { inputOf, messagesSchema, promptOf } from './prompt.js';
import { errorOf } from './openai-error.js';

const requestSchema = z.looseObject({
  model: z.string(),
  input: z.union([z.string(), messagesSchema]),
  instructions: z.string().nullish(),
  stream: z.boolean().optional(),
});

const INCOMPLETE: Partial<Record<Ending, string>> = {
  length: 'max_output_tokens',
  filtered: 'content_filter',
};

/** OpenAI's Responses API. */
export class ResponsesWire implements Wire {
  readonly streamed: boolean;
  readonly prompt: string;
  readonly input: string;
  private readonly model: string;
  private sequence = 0;

  constructor(
    body: unknown,
    private readonly stamp: Stamp,
  ) {
    const { model, input, instructions, stream } = requestSchema.parse(body);
    const messages = typeof input === 'string' ? [{ role: 'user', content: input }] : input;
    this.streamed = stream === true;
    this.prompt = promptOf(messages);
    this.input = (instructions ?? '') + inputOf(messages);
    this.model = model;
  }

  opening(answer: Answer): readonly Frame[] {
    const response = this.response('in_progress');
    return [
      this.event('response.created', { response }),
      this.event('response.in_progress', { response }),
      this.event('response.output_item.added', { output_index: 0, item: this.item('in_progress', []) }),
      this.event('response.content_part.added', { ...this.place, part: part(answer, '') }),
    ];
  }

  delta({ ending }: Answer, text: string): Frame {
    return ending === 'refused'
      ? this.event('response.refusal.delta', { ...this.place, delta: text })
      : this.event('response.output_text.delta', { ...this.place, delta: text, logprobs: [] });
  }

  closing(answer: Answer): readonly Frame[] {
    const { text, ending } = answer;
    const status = statusOf(answer);
    return [
      ending === 'refused'
        ? this.event('response.refusal.done', { ...this.place, refusal: text })
        : this.event('response.output_text.done', { ...this.place, text, logprobs: [] }),
      this.event('response.content_part.done', { ...this.place, part: part(answer, text) }),
      this.event('response.output_item.done', {
        output_index: 0,
        item: this.item(status, [part(answer, text)]),
      }),
      this.event(`response.${status}`, { response: this.whole(answer) }),
    ];
  }

  whole(answer: Answer): Record<string, unknown> {
    const { inputTokens, outputTokens } = answer.usage;
    const status = statusOf(answer);
    const reason = INCOMPLETE[answer.ending];
    return {
      ...this.response(status),
      incomplete_details: reason === undefined ? null : { reason },
      output: [this.item(status, [part(answer, answer.text)])],
      usage: {
        input_tokens: inputTokens,
        input_tokens_details: { cached_tokens: 0 },
        output_tokens: outputTokens,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: inputTokens + outputTokens,
      },
    };
  }

  failure(status: number, message: string): Frame {
    const { code, type } = errorOf(status);
    return this.event('error', { code: code ?? type, message, param: null });
  }

  /** Where the text of the one message is. */
  private get place(): Record<string, unknown> {
    return { item_id: this.itemId, output_index: 0, content_index: 0 };
  }

  private get itemId(): string {
    return `msg_${this.stamp.index}`;
  }

  private event(type: string, fields: Readonly<Record<string, unknown>>): Frame {
    const data = { type, sequence_number: this.sequence, ...fields };
    this.sequence += 1;
    return { event: type, data };
  }

  private response(status: string): Record<string, unknown> {
    return {
      id: `resp_${this.stamp.index}`,
      object: 'response',
      created_at: this.stamp.created,
      status,
      error: null,
      incomplete_details: null,
      model: this.model,
      output: [],
      usage: null,
    };
  }

  private item(status: string, content: readonly unknown[]): Record<string, unknown> {
    return { id: this.itemId, type: 'message', status, role: 'assistant', content };
  }
}

const statusOf = ({ ending }: Answer): 'completed' | 'incomplete' =>
  INCOMPLETE[ending] === undefined ? 'completed' : 'incomplete';

const part = ({ ending }: Answer, text: string): Record<string, unknown> =>
  ending === 'refused'
    ? { type: 'refusal', refusal: text }
    : { type: 'output_text', text, annotations: [], logprobs: [] };

import { anthropicError } from './anthropic-error.js';
import { ChatWire } from './chat.wire.js';
import { MessagesWire } from './messages.wire.js';
import { openaiError } from './openai-error.js';
import { ResponsesWire } from './responses.wire.js';
import type { ErrorShape } from './status.js';
import type { Stamp, Wire } from './wire.js';

export type VendorKind = 'claude' | 'openai' | 'deepseek' | 'compatible';

/** Fails with a `ZodError` where the request is none. */
export type Open = (body: unknown, stamp: Stamp) => Wire;

interface Api {
  /** What a client's base URL ends with. */
  readonly base: string;
  readonly paths: Readonly<Record<string, Open>>;
  /** The body of an error. */
  readonly error: ErrorShape;
}

const messages: Open = (body, stamp) => new MessagesWire(body, stamp);
const responses: Open = (body, stamp) => new ResponsesWire(body, stamp);
const chat: Open = (body, stamp) => new ChatWire(body, stamp, true);
const chatWithoutRefusals: Open = (body, stamp) => new ChatWire(body, stamp, false);

/** What each vendor offers, and where. */
export const APIS: Readonly<Record<VendorKind, Api>> = {
  claude: { base: '/v1', paths: { '/v1/messages': messages }, error: anthropicError },
  openai: {
    base: '/v1',
    paths: { '/v1/responses': responses, '/v1/chat/completions': chat },
    error: openaiError,
  },
  deepseek: {
    base: '',
    paths: { '/chat/completions': chatWithoutRefusals, '/v1/chat/completions': chatWithoutRefusals },
    error: openaiError,
  },
  compatible: {
    base: '/v1',
    paths: { '/chat/completions': chat, '/v1/chat/completions': chat },
    error: openaiError,
  },
};

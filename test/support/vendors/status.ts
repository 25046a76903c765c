import type { Behaviour } from './behaviour.js';
import type { Reply } from './reply.js';

/** The body of an error, in a vendor's own shape. */
export type ErrorShape = (status: number, message: string) => unknown;

/** Answers with an error; without a body of its own, with what the vendor would say. */
export async function answerStatus(
  reply: Reply,
  { status, retryAfter, headers, body }: Omit<Extract<Behaviour, { kind: 'status' }>, 'kind'>,
  shape: ErrorShape,
): Promise<void> {
  const waits = retryAfter instanceof Date ? retryAfter.toUTCString() : retryAfter?.toString();
  const shown = body ?? shape(status, messageOf(status));
  await reply.whole(
    status,
    {
      'content-type': 'application/json',
      ...(waits !== undefined && { 'retry-after': waits }),
      ...headers,
    },
    typeof shown === 'string' ? shown : JSON.stringify(shown),
  );
}

export const messageOf = (status: number): string => `This is an error of status ${status}.`;

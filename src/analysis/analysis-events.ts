import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyReply } from 'fastify';
import type { AnalysisEvent } from '../ai/ai-service-manager.js';
import { problemOf } from '../request/problem.js';
import { answerOf } from './answer.js';
import { NotCachedError } from './analysis.errors.js';
import type { CacheDirectives } from './cache-headers.js';
import { cacheFieldsOf, cacheStatusOf } from './cache-headers.js';
import { EventStream } from './event-stream.js';

export interface AnalysisEventsOptions {
  readonly directives: CacheDirectives;
  /** Of the request, for a problem document. */
  readonly url: string;
  readonly heartbeatMs: number;
}

/** So long the head waits for the first event, which may be a failure with a status of its own. */
const HEAD_WAIT_MS = 250;

type Events = AsyncIterator<AnalysisEvent, void, undefined>;

/**
 * Sends an analysis as server-sent events: `progress` and `chunk` as they come, then `result` or `error`, one of the two
 * in any case. That the client leaves has to end the iteration.
 * @throws what the iteration throws before anything is sent
 */
export async function sendAnalysisEvents(
  events: Events,
  reply: FastifyReply,
  options: AnalysisEventsOptions,
): Promise<void> {
  const { directives, heartbeatMs } = options;
  let next = events.next();
  const first = await Promise.race([next, sleep(HEAD_WAIT_MS, undefined, { ref: false })]);
  if (first?.done === true) throw new NotCachedError();
  if (first?.value.type === 'replay')
    reply.headers(cacheFieldsOf(first.value.outcome, directives, Date.now()));
  const stream = new EventStream(reply, { heartbeatMs });
  try {
    for (;;) {
      const { done, value } = await next;
      if (done === true) throw new NotCachedError();
      await send(stream, value, directives);
      if (value.type === 'result') break;
      next = events.next();
    }
  } catch (error) {
    if (!stream.signal.aborted) await stream.send('error', problemOf(error, options.url)).catch(() => {});
  } finally {
    await events.return?.();
    await stream.end();
  }
}

function send(stream: EventStream, event: AnalysisEvent, directives: CacheDirectives): Promise<void> {
  switch (event.type) {
    case 'progress': {
      const { type, ...facts } = event;
      return stream.send(type, facts);
    }
    case 'chunk': {
      const { type, offset, text } = event;
      return stream.send(type, { offset, text });
    }
    case 'replay': {
      const cacheStatus = cacheStatusOf(event.outcome, directives, Date.now());
      return stream.send('progress', { stage: 'replay', cacheStatus });
    }
    case 'result': {
      const cacheStatus = cacheStatusOf(event.outcome, directives, Date.now());
      return stream.send('result', { ...answerOf(event.outcome.entry.value), cacheStatus });
    }
  }
}

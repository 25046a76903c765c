import type { Redis } from 'ioredis';
import { StorageUnavailableError } from '../cache.errors.js';
import { unavailable } from './redis-errors.js';
import type { Reply, Request } from './requests.js';

/** @throws StorageUnavailableError for an error reply */
export function valueOf(reply: Reply | undefined): unknown {
  if (reply === undefined) throw new StorageUnavailableError('redis', 'a reply is missing');
  const [error, value] = reply;
  if (error !== null) throw unavailable(error);
  return value;
}

/**
 * One write to the socket, and one reply for each request, which may be an error. The replies of other clients'
 * commands may lie in between: what must be seen together has to be one command or one script.
 *
 * Scripts go as EVALSHA. After a restart or SCRIPT FLUSH, which may come between two commands of a pipeline, some are
 * answered with NOSCRIPT (redis.io/docs/latest/commands/evalsha); those alone are sent again, as EVAL, which can't be.
 * So the order within one pipeline is not kept then: only what may run in any order can be sent in one.
 */
export async function exchange(client: Redis, requests: readonly Request[]): Promise<Reply[]> {
  const replies = await send(client, requests, 'EVALSHA');
  const missing = requests.filter((_, index) => isNoScript(replies[index]));
  if (missing.length === 0) return replies;
  const repeated = (await send(client, missing, 'EVAL')).values();
  return replies.map((reply) => (isNoScript(reply) ? (repeated.next().value ?? reply) : reply));
}

const isNoScript = (reply: Reply | undefined): boolean => reply?.[0]?.message.startsWith('NOSCRIPT') === true;

async function send(
  client: Redis,
  requests: readonly Request[],
  evaluate: 'EVAL' | 'EVALSHA',
): Promise<Reply[]> {
  const pipeline = client.pipeline();
  const askings = new Set<number>();
  for (const { run, args, binary, asking } of requests) {
    if (asking === true) {
      askings.add(pipeline.length);
      pipeline.call('ASKING');
    }
    const [command, all] =
      typeof run === 'string'
        ? [run, [...args]]
        : [evaluate, [evaluate === 'EVAL' ? run.lua : run.sha, run.keys, ...args]];
    if (binary === true) pipeline.callBuffer(command, all);
    else pipeline.call(command, all);
  }
  const replies = (await pipeline.exec()) ?? [];
  return askings.size === 0 ? replies : replies.filter((_, index) => !askings.has(index));
}

import type { Redis } from 'ioredis';
import { StorageUnavailableError } from '../cache.errors.js';
import type { Budget, RedisConnection } from './connection.js';
import { unavailable } from './connection.js';
import type { Script } from './scripts.js';

export type Argument = string | number | Buffer;

/** A command, or a script with its keys and arguments. */
export interface Request {
  readonly run: string | Script;
  readonly args: readonly Argument[];
  /** Strings of the reply come as Buffers. */
  readonly binary?: boolean;
}

export type Reply = readonly [error: Error | null, value?: unknown];

/** Error replies that say that Redis as a whole can't serve now, not that it refused this one command. */
const WHOLE_CALL = /^(LOADING|BUSY|CLUSTERDOWN|MASTERDOWN|NOAUTH|WRONGPASS|TRYAGAIN|NOSCRIPT)\b/;

/**
 * One write to the socket, and one reply for each request, which may be an error. The replies of other clients'
 * commands may lie in between: what must be seen together has to be one command or one script.
 * @throws StorageUnavailableError if any reply concerns the whole call
 */
export async function sendPipeline(
  connection: RedisConnection,
  requests: readonly Request[],
  budget?: Budget,
): Promise<readonly Reply[]> {
  const replies = await connection.run((client) => exchange(client, requests), budget);
  for (const [error] of replies) {
    if (error !== null && (WHOLE_CALL.test(error.message) || error.name !== 'ReplyError')) {
      throw unavailable(error);
    }
  }
  return replies;
}

/** @throws StorageUnavailableError for an error reply */
export function valueOf(reply: Reply | undefined): unknown {
  if (reply === undefined) throw new StorageUnavailableError('redis', 'a reply is missing');
  const [error, value] = reply;
  if (error !== null) throw unavailable(error);
  return value;
}

/**
 * Scripts go as EVALSHA. After a restart or SCRIPT FLUSH, which may come between two commands of a pipeline, some are
 * answered with NOSCRIPT (redis.io/docs/latest/commands/evalsha); those alone are sent again, as EVAL, which can't be.
 * So the order within one pipeline is not kept then: only what may run in any order can be sent in one.
 */
async function exchange(client: Redis, requests: readonly Request[]): Promise<Reply[]> {
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
  for (const { run, args, binary } of requests) {
    const [command, all] =
      typeof run === 'string'
        ? [run, [...args]]
        : [evaluate, [evaluate === 'EVAL' ? run.lua : run.sha, run.keys, ...args]];
    if (binary === true) pipeline.callBuffer(command, all);
    else pipeline.call(command, all);
  }
  return (await pipeline.exec()) ?? [];
}

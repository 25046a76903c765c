import type { Script } from './scripts.js';

export type Argument = string | number | Buffer;

/** A command, or a script with its keys and arguments. */
export interface Request {
  readonly run: string | Script;
  readonly args: readonly Argument[];
  /** Strings of the reply come as Buffers. */
  readonly binary?: boolean;
  /** Of a command without keys: it is for the server that has this key. Default: the first argument is the key. */
  readonly near?: string;
  /** It is executed after all the others of its call, wherever those are. */
  readonly last?: boolean;
  /** Of a slot that is on its way to this server (redis.io/docs/latest/commands/asking). */
  readonly asking?: boolean;
}

export type Reply = readonly [error: Error | null, value?: unknown];

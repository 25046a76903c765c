import type { RedisSettings } from './client.js';
import type { Reply, Request } from './requests.js';

/**
 * - `connecting`: not reached yet, or lost; attempts go on for ever.
 * - `ready`: answers.
 * - `unresponsive`: connected, and no use: nothing comes back (a stopped server, a cut without FIN, a stall), or the
 *   server says that it can't serve yet.
 * - `closed`: shut down by us.
 */
export type RedisState = 'connecting' | 'ready' | 'unresponsive' | 'closed';

/** One change of state, or a new kind of error during an outage; never one per command or attempt. */
export type RedisEvent =
  | { readonly type: 'connect'; readonly address: string }
  | { readonly type: 'ready'; readonly address: string; readonly awayMs: number; readonly attempts: number }
  | {
      readonly type: 'unresponsive';
      readonly address: string;
      readonly timeoutMs: number;
      /** What it answered, if it did. */
      readonly reason?: string;
    }
  | { readonly type: 'responsive'; readonly address: string; readonly awayMs: number }
  | { readonly type: 'close'; readonly address: string }
  | { readonly type: 'reconnecting'; readonly address: string; readonly delayMs: number }
  | { readonly type: 'error'; readonly address: string; readonly message: string }
  | { readonly type: 'end'; readonly address: string };

/** What an operator wants to know of the server; of several, the slowest, and the sums. `latencyMs` is one PING. */
export interface RedisInspection {
  readonly latencyMs: number;
  readonly version: string;
  readonly usedMemoryBytes: number;
  /** 0: no limit. */
  readonly maxMemoryBytes: number;
  readonly evictionPolicy: string;
}

export interface Budget {
  readonly timeoutMs: number;
  /**
   * Of work in the background a time-out says nothing about the server: a large batch takes its time. `true`: it is
   * what is left to a caller.
   */
  readonly blamesServer?: boolean;
}

export interface RedisLinkOptions {
  readonly onEvent?: (event: RedisEvent) => void;
  readonly random?: () => number;
  readonly now?: () => number;
}

/** One server of those that have the data. */
export interface RedisMaster {
  readonly settings: RedisSettings;
  /** `host:port`, without credentials. */
  readonly address: string;
  send(requests: readonly Request[], budget?: Budget): Promise<readonly Reply[]>;
}

/** Redis, however it is deployed. */
export interface RedisLink extends RedisMaster {
  readonly state: RedisState;
  readonly available: boolean;
  /** Another array when they are other ones; not when slots move between them. */
  readonly masters: readonly RedisMaster[];
  /** Whoever has the key, or had it a moment ago. */
  masterOf(key: string): RedisMaster;
  /** Calls `listener` after each change of `available`; it goes off and on again when a master is another one now. */
  watch(listener: (available: boolean) => void): void;
  /** Waits until the first attempt to connect has succeeded or failed, for at most `maxMs`. */
  settled(maxMs: number): Promise<void>;
  /**
   * One reply for each request, which may be an error, within the time-out of a command or the budget. Without `last`
   * they are executed in any order.
   * @throws StorageUnavailableError at once while Redis is away, at the time-out, or for an error reply that concerns
   * the whole call
   */
  send(requests: readonly Request[], budget?: Budget): Promise<readonly Reply[]>;
  inspect(): Promise<RedisInspection>;
  /** Lets running commands finish within one time-out, then disconnects. */
  close(): Promise<void>;
}

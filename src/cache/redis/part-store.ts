import { Keyspace } from './keyspace.js';
import type { RedisLink } from './link.js';
import { noticesOf, telling } from './notices.js';
import { valueOf } from './pipeline.js';
import { FOLLOW, FORGET_PARTS, RELAY } from './scripts.js';

/** Somebody who follows is believed to be there for so long after he has last said so, in lives of a lease. */
export const INTEREST = 0.6;
/** The log of a holder that died without a word is gone after this. */
const LOG_MS = 30_000;
/** Nobody waits for these calls, and they may be large: that one is late says nothing about the server. */
const BUDGET = { timeoutMs: 2000 };

/** Where a reader stands in the log of a computation. */
export interface Position {
  readonly token: string;
  /** Of the next batch. */
  readonly index: number;
}

export interface Batches {
  readonly token: string;
  readonly batches: readonly Buffer[];
  readonly hasMore: boolean;
}

/** What became of an attempt to add to a log. */
export interface Relayed {
  /** Batches that are there; -1: the lease is another's. */
  readonly length: number;
  /** What those who follow wait for. */
  readonly interest: 'none' | 'value' | 'parts';
  /** Redis took no more. */
  readonly isRefused: boolean;
}

const INTERESTS = ['none', 'value', 'parts'] as const;

/** The parts of running computations in Redis: beside each lease, who follows, and a log for them. */
export class PartStore {
  private readonly keyspace: Keyspace;
  private readonly notices: string | undefined;

  constructor(
    private readonly connection: RedisLink,
    namespace: string,
    private readonly interestMs: number,
  ) {
    this.keyspace = new Keyspace(connection.settings.keyPrefix, namespace);
    this.notices = noticesOf(connection.settings);
  }

  /**
   * Says that somebody here follows, and reads. Undefined: there is nothing. Without a position he waits for the value.
   * @throws StorageUnavailableError
   */
  async follow(key: string, from: Position | undefined): Promise<Batches | undefined> {
    const wants = from === undefined ? ['0', '', 0] : ['1', from.token, from.index];
    const request = telling(FOLLOW, this.places(key), [this.interestMs, ...wants], this.notices);
    const [reply] = await this.connection.send([{ ...request, binary: true }], BUDGET);
    const [token, batches, more] = valueOf(reply) as [Buffer, Buffer[], number];
    return token.length === 0 ? undefined : { token: String(token), batches, hasMore: more === 1 };
  }

  /**
   * Adds batches from this index on, if somebody wants them and the lease is still the token's.
   * @throws StorageUnavailableError
   */
  async relay(key: string, { token, index }: Position, batches: readonly Buffer[]): Promise<Relayed> {
    const args = [token, LOG_MS, index, ...batches];
    const request = telling(RELAY, this.places(key), args, this.notices);
    const [reply] = await this.connection.send([request], BUDGET);
    const [length, interest, refused] = valueOf(reply) as [number, number, number];
    return { length, interest: INTERESTS[interest] ?? 'none', isRefused: refused === 1 };
  }

  /** @throws StorageUnavailableError */
  async forget(key: string, token: string): Promise<void> {
    const [, log] = this.keyspace.relay(key);
    const [reply] = await this.connection.send([{ run: FORGET_PARTS, args: [log, token] }], BUDGET);
    valueOf(reply);
  }

  private places(key: string): string[] {
    return [this.keyspace.lease(key), ...this.keyspace.relay(key)];
  }
}

import type { Redis } from 'ioredis';
import type { RedisSettings } from './client.js';
import { createRedisClient } from './client.js';
import { describeError, reactionTo } from './redis-errors.js';

/** Where Redis publishes what has changed to a connection that asked for it. */
const CHANNEL = '__redis__:invalidate';
/** No namespace begins with it: it would be escaped there. */
const CANARY = '~canary:';

export type InvalidationEvent =
  /** Every change is told from now on. */
  | { readonly type: 'armed'; readonly afterMs: number }
  /** Changes may have been missed; every local entry is looked up again. */
  | { readonly type: 'lost'; readonly reason: string }
  /** The server does not do this: every read looks at Redis. */
  | { readonly type: 'refused'; readonly reason: string };

export interface InvalidationOptions {
  readonly settings: RedisSettings;
  /** Changes a key, by the connection that all else goes by: so both are on the same server, or that is found out. */
  readonly touch: (place: string) => Promise<unknown>;
  readonly clientId: string;
  /** Hash tag of a slot that is on this server. */
  readonly tag: string;
  /** One canary every so often. Default 1000. */
  readonly heartbeatMs?: number;
  /** So long it may take; not above the heartbeat, or the staleness bound does not hold. Default 1000. */
  readonly timeoutMs?: number;
  readonly random?: () => number;
  /** After each canary that was heard. */
  readonly onBeat?: () => void;
  /** The names of keys that have changed; undefined: all may have. */
  readonly onChange: (places: readonly string[] | undefined) => void;
  readonly onEvent: (event: InvalidationEvent) => void;
}

export interface InvalidationStats {
  readonly state: 'armed' | 'lost' | 'refused';
  /** How old a change may get before it is known here or the loss of the channel is: milliseconds. */
  readonly stalenessBoundMs: number;
  /** Names of keys that were told, since the start. */
  readonly told: number;
  readonly losses: number;
  /** From the writing of the last canary to the news of it: milliseconds. */
  readonly lastLagMs: number | undefined;
}

/**
 * Redis tells which keys have changed, whoever changed them, also by expiry and eviction: one connection of its own,
 * with RESP2, that redirects to itself (redis.io/docs/latest/develop/reference/client-side-caching, "Two connections
 * mode" and "Broadcasting mode"). RESP3 would do without the redirection, but ioredis drops those messages, and nothing
 * arms it anew after a reconnect: this does, by hand, each time. A link that is dead without a sign is found by a canary:
 * a key that is written again and again, whose own change must be told in time.
 */
export class InvalidationChannel {
  private readonly client: Redis;
  private readonly prefix: string;
  private readonly heartbeatMs: number;
  private readonly timeoutMs: number;
  private state: InvalidationStats['state'] = 'lost';
  private beat = 0;
  private awaited: { readonly name: string; readonly sentMs: number } | undefined;
  private timer: NodeJS.Timeout | undefined;
  private connectedMs = 0;
  private told = 0;
  private losses = 0;
  private lastLagMs: number | undefined;
  private closed = false;

  constructor(private readonly options: InvalidationOptions) {
    const { settings, random = Math.random, heartbeatMs = 1000, timeoutMs = 1000 } = options;
    this.prefix = settings.keyPrefix;
    this.heartbeatMs = heartbeatMs;
    this.timeoutMs = timeoutMs;
    this.client = createRedisClient(settings, random, { protocol: 2 });
    this.listen();
    this.client.connect().catch(() => {});
  }

  stats(): InvalidationStats {
    const { state, told, losses, lastLagMs } = this;
    return { state, stalenessBoundMs: this.heartbeatMs + this.timeoutMs, told, losses, lastLagMs };
  }

  /** The other connection is there again: a canary that was not sent for want of it need not be waited for. */
  retry(): void {
    // Of a channel that is believed the time that it has been given stands.
    if (this.awaited === undefined || this.state === 'armed') return;
    clearTimeout(this.timer);
    void this.sendCanary();
  }

  close(): void {
    this.closed = true;
    this.state = 'lost';
    clearTimeout(this.timer);
    this.client.disconnect();
  }

  private listen(): void {
    const { client } = this;
    // Each of its faults shows in the other connection's events, or as a loss.
    client.on('error', () => {});
    client.on('ready', () => void this.arm());
    client.on('close', () => this.lose('the connection was closed'));
    client.on('messageBuffer', (_channel: Buffer, message: unknown) => this.receive(message));
  }

  /** The order matters: what is told before the subscription is lost, so nothing counts before the first canary. */
  private async arm(): Promise<void> {
    const { client } = this;
    this.connectedMs = performance.now();
    try {
      const id = await client.client('ID');
      await client.call('CLIENT', 'TRACKING', 'ON', 'REDIRECT', id, 'BCAST', 'PREFIX', this.prefix);
      await client.subscribe(CHANNEL);
    } catch (error) {
      if (client.status === 'ready') this.giveUpArming(error);
      return;
    }
    void this.sendCanary();
  }

  /** Only an answer says that the server does not do it: a link may die, or the server be busy, at this very moment. */
  private giveUpArming(error: unknown): void {
    const isPassing = error instanceof Error && reactionTo(error)?.call === 'unavailable';
    if (isPassing) this.fail(describeError(error));
    else this.refuse(describeError(error));
  }

  private refuse(reason: string): void {
    if (this.state !== 'refused') this.options.onEvent({ type: 'refused', reason });
    this.state = 'refused';
  }

  private receive(message: unknown): void {
    if (!Array.isArray(message)) {
      this.options.onChange(undefined);
      return;
    }
    const places = (message as Buffer[]).map(String);
    this.told += places.length;
    const canary = this.awaited;
    if (canary !== undefined && places.includes(canary.name)) this.hear(canary.sentMs);
    this.options.onChange(places.filter((place) => !place.startsWith(this.prefix + CANARY)));
  }

  private hear(sentMs: number): void {
    this.awaited = undefined;
    clearTimeout(this.timer);
    this.lastLagMs = performance.now() - sentMs;
    // From the sending of this one: what was written right after it may already be missing.
    const nextMs = Math.max(0, this.heartbeatMs - this.lastLagMs);
    this.timer = setTimeout(() => void this.sendCanary(), nextMs).unref();
    this.options.onBeat?.();
    if (this.state === 'armed' || this.closed) return;
    this.state = 'armed';
    this.options.onEvent({ type: 'armed', afterMs: Math.round(performance.now() - this.connectedMs) });
  }

  /** Its name has the number of the beat, so that a late one is not taken for the next. */
  private async sendCanary(): Promise<void> {
    this.beat += 1;
    const { clientId, tag } = this.options;
    const name = `${this.prefix}${CANARY}${clientId}:${this.beat}:{${tag}}`;
    this.awaited = { name, sentMs: performance.now() };
    this.timer = setTimeout(() => this.fail('a change was not told in time'), this.timeoutMs).unref();
    try {
      await this.options.touch(name);
    } catch {
      // The data connection tells of its faults; without it nothing is served from here that would have to be checked.
    }
  }

  private fail(reason: string): void {
    this.lose(reason);
    if (!this.closed) this.client.disconnect(true);
  }

  private lose(reason: string): void {
    clearTimeout(this.timer);
    this.awaited = undefined;
    if (this.state !== 'armed') return;
    this.state = 'lost';
    this.losses += 1;
    this.options.onEvent({ type: 'lost', reason });
  }
}

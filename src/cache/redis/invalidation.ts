import type { Redis } from 'ioredis';
import { Canary } from '../replication/canary.js';
import { BACKGROUND_TIMERS } from '../replication/timers.js';
import type { RedisSettings } from './client.js';
import { createRedisClient } from './client.js';
import type { Notices } from './notices.js';
import { describeError, reactionTo } from './redis-errors.js';

/** Where Redis publishes what has changed to a connection that asked for it. */
const CHANNEL = '__redis__:invalidate';
/** No namespace begins with it: it would be escaped there. */
const CANARIES = '~canary:';

export type InvalidationEvent =
  /** Every change is told from now on. */
  | { readonly type: 'armed'; readonly afterMs: number }
  /** The same, but by the instances: the server refuses to. Nobody tells of evictions, or of what others write. */
  | { readonly type: 'notices'; readonly afterMs: number; readonly reason: string }
  /** Changes may have been missed; every local entry is looked up again. */
  | { readonly type: 'lost'; readonly reason: string }
  /** Nobody tells: every read looks at Redis. */
  | { readonly type: 'refused'; readonly reason: string };

export interface InvalidationOptions {
  readonly settings: RedisSettings;
  /** Changes a key, by the connection that all else goes by: so both are on the same server, or that is found out. */
  readonly touch: (place: string) => Promise<unknown>;
  /** What takes over where the server refuses. */
  readonly notices?: Notices | undefined;
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
  readonly state: InvalidationEvent['type'];
  /** Why it is `notices` or `refused`. */
  readonly reason: string | undefined;
  /** Why those who rely on notices hear nothing of this instance. */
  readonly unpublished: string | undefined;
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
 * a key that is written again and again, whose own change must be told in time. Where the server refuses tracking, the
 * same goes by what the instances publish themselves; tracking is tried anew at each connect.
 */
export class InvalidationChannel {
  private readonly client: Redis;
  private readonly prefix: string;
  private readonly heartbeatMs: number;
  private readonly timeoutMs: number;
  private state: InvalidationStats['state'] = 'lost';
  /** Why the server does not tell; then this goes by notices. */
  private refusal: string | undefined;
  private reason: string | undefined;
  private readonly canary: Canary;
  private connectedMs = 0;
  private told = 0;
  private losses = 0;
  private lastLagMs: number | undefined;
  private closed = false;

  constructor(private readonly options: InvalidationOptions) {
    const { settings, clientId, tag, random = Math.random, heartbeatMs = 1000, timeoutMs = 1000 } = options;
    this.prefix = settings.keyPrefix;
    this.heartbeatMs = heartbeatMs;
    this.timeoutMs = timeoutMs;
    this.canary = new Canary({
      nameOf: (beat) => `${this.prefix}${CANARIES}${clientId}:${beat}:{${tag}}`,
      touch: (name) => this.touch(name),
      isAnswerNeeded: () => this.refusal !== undefined,
      heartbeatMs,
      timeoutMs,
      timers: BACKGROUND_TIMERS,
      now: () => performance.now(),
      onHeard: (lagMs, name) => this.hear(lagMs, name),
      onMissed: () => this.fail('a change was not told in time'),
    });
    this.client = createRedisClient(settings, random, { protocol: 2 });
    this.listen();
    this.client.connect().catch(() => {});
  }

  stats(): InvalidationStats {
    const { state, told, losses, lastLagMs } = this;
    const reason = this.isArmed || state === 'lost' ? this.refusal : this.reason;
    const unpublished = this.options.notices?.refusal;
    const stalenessBoundMs = this.heartbeatMs + this.timeoutMs;
    return { state, reason, unpublished, stalenessBoundMs, told, losses, lastLagMs };
  }

  close(): void {
    this.closed = true;
    this.state = 'lost';
    this.canary.stop();
    this.client.disconnect();
  }

  /** The other connection is there again: a canary that was not sent for want of it need not be waited for. */
  retry(): void {
    // Of a channel that is believed the time that it has been given stands.
    if (this.canary.isAwaited && !this.isArmed) this.canary.send();
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
    const { notices } = this.options;
    this.connectedMs = performance.now();
    try {
      this.refusal = await refusalOf(this.track());
      if (this.refusal !== undefined) {
        if (notices === undefined) return this.refuse('no notices are published in a cluster');
        const deaf = await refusalOf(client.subscribe(notices.channel));
        if (deaf !== undefined) return this.refuse(deaf);
      }
    } catch (error) {
      if (client.status === 'ready') this.fail(describeError(error));
      return;
    }
    if (!this.closed) this.canary.send();
  }

  private async track(): Promise<void> {
    const { client, prefix } = this;
    const id = await client.client('ID');
    await client.call('CLIENT', 'TRACKING', 'ON', 'REDIRECT', id, 'BCAST', 'PREFIX', prefix);
    await client.subscribe(CHANNEL);
  }

  /** Neither the server nor the instances tell of everything. */
  private refuse(reason: string): void {
    this.reason = `${this.refusal}; ${reason}`;
    if (this.state === 'refused') return;
    if (this.isArmed) this.losses += 1;
    this.state = 'refused';
    this.options.onEvent({ type: 'refused', reason: this.reason });
  }

  private receive(message: unknown): void {
    if (message === null) {
      this.options.onChange(undefined);
      return;
    }
    const places = Buffer.isBuffer(message) ? [String(message)] : (message as Buffer[]).map(String);
    this.told += places.length;
    this.canary.told(places);
    this.options.onChange(places.filter((place) => !place.startsWith(this.prefix + CANARIES)));
  }

  private async touch(name: string): Promise<void> {
    const { touch, notices } = this.options;
    if (this.refusal === undefined) {
      await touch(name);
      return;
    }
    const doubt = await notices?.publish(name);
    if (doubt === undefined) return;
    this.canary.skip();
    this.refuse(doubt);
  }

  private hear(lagMs: number, name: string): void {
    this.lastLagMs = lagMs;
    this.options.onBeat?.();
    if (this.isArmed || this.closed) return;
    const afterMs = Math.round(performance.now() - this.connectedMs);
    const { refusal } = this;
    this.state = refusal === undefined ? 'armed' : 'notices';
    this.options.onEvent(
      refusal === undefined ? { type: 'armed', afterMs } : { type: 'notices', afterMs, reason: refusal },
    );
    // Whether it could: others may go by notices.
    if (refusal === undefined) this.options.notices?.publish(name).catch(() => {});
  }

  private fail(reason: string): void {
    this.lose(reason);
    if (!this.closed) this.client.disconnect(true);
  }

  private lose(reason: string): void {
    this.canary.stop();
    if (!this.isArmed) return;
    this.state = 'lost';
    this.losses += 1;
    this.options.onEvent({ type: 'lost', reason });
  }

  private get isArmed(): boolean {
    return isTelling(this.state);
  }
}

/** Every change that instances make is told. */
export const isTelling = (state: InvalidationStats['state']): boolean =>
  state === 'armed' || state === 'notices';

/** Of several masters, one that does not tell, if there is one. */
export const worstOf = <T extends Pick<InvalidationStats, 'state'>>(all: readonly T[]): T | undefined =>
  all.find(({ state }) => !isTelling(state)) ?? all[0];

/**
 * What the server says against it; undefined: it is done.
 * @throws whatever only says that it could not be tried now
 */
async function refusalOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (reactionTo(error as Error)?.call === 'unavailable') throw error;
    return describeError(error);
  }
}

import { randomBytes } from 'node:crypto';
import type { Remote } from '../replication/remote.js';
import { BACKGROUND_TIMERS } from '../replication/timers.js';
import type { InvalidationEvent, InvalidationOptions, InvalidationStats } from './invalidation.js';
import { InvalidationChannel, isTelling, worstOf } from './invalidation.js';
import type { RelayNews } from './keyspace.js';
import { placeOf } from './keyspace.js';
import type { RedisLink, RedisMaster } from './link.js';
import { noticesTo } from './notices.js';
import type { BatchCodec } from './part-batches.js';
import { PartRelay } from './part-relay.js';
import { INTEREST, PartStore } from './part-store.js';
import { RedisRemote } from './redis-remote.js';
import { TOUCH } from './scripts.js';
import { tagsOfParts } from './slots.js';

export interface RedisSideOptions {
  readonly connection: RedisLink;
  readonly maxLifeMs: number;
  readonly onEvent?: (event: InvalidationEvent) => void;
  /** Of the channels that tell of changes; see `InvalidationOptions`. */
  readonly heartbeatMs?: number;
  readonly timeoutMs?: number;
}

/** Who is told what becomes of Redis, and in it. */
export interface RedisListener {
  connected(): void;
  disconnected(): void;
  /** Every change is told from now on. */
  armed(): void;
  disarmed(): void;
  /** A key of a namespace has changed, or its lease; or for undefined the marks of the namespace. */
  changed(namespace: string, key: string | undefined, isLease: boolean): void;
  /** Something has changed about the parts of a computation that runs, here or elsewhere. */
  relayed(namespace: string, key: string, news: RelayNews): void;
}

const TAGS = tagsOfParts();

/** How a master's changes are heard of, by Redis or by published notices. */
export function channelOf(
  connection: RedisLink,
  master: RedisMaster,
  options: Pick<
    InvalidationOptions,
    'clientId' | 'heartbeatMs' | 'timeoutMs' | 'onBeat' | 'onChange' | 'onEvent'
  >,
  notices = noticesTo(master, connection.settings),
): InvalidationChannel {
  return new InvalidationChannel({
    ...options,
    settings: master.settings,
    tag: TAGS.find((tag) => connection.masterOf(`{${tag}}`) === master) ?? 'canary',
    touch: (place) => master.send([{ run: TOUCH, args: [place] }]),
    notices,
  });
}

/** Redis as a replicated storage is connected to it: a port for each namespace, and the news. */
export class RedisSide {
  private readonly clientId = randomBytes(8).toString('hex');
  /** One for each master; all have to tell. */
  private channels: readonly InvalidationChannel[] = [];
  private masters: readonly RedisMaster[] = [];
  private listener: RedisListener | undefined;
  private isArmed = false;
  private closed = false;

  constructor(private readonly options: RedisSideOptions) {}

  get available(): boolean {
    return this.options.connection.available;
  }

  namespace(name: string): Remote {
    const { connection, maxLifeMs } = this.options;
    return new RedisRemote({ connection, namespace: name, maxLifeMs });
  }

  /** For the parts of running computations, whose leases live for `leaseMs`. */
  relay(name: string, codec: BatchCodec, leaseMs: number): PartRelay {
    const store = new PartStore(this.options.connection, name, Math.round(leaseMs * INTEREST));
    return new PartRelay({ store, codec, timers: BACKGROUND_TIMERS, leaseMs });
  }

  /** Once. */
  attach(listener: RedisListener): void {
    this.listener = listener;
    this.options.connection.watch((available) => {
      if (available) {
        this.follow();
        for (const channel of this.channels) channel.retry();
        listener.connected();
      } else listener.disconnected();
    });
    this.follow();
  }

  /** Of several masters the worst. */
  stats(): InvalidationStats | undefined {
    return worstOf(this.channels.map((channel) => channel.stats()));
  }

  async close(): Promise<void> {
    this.closed = true;
    for (const channel of this.channels) channel.close();
    await this.options.connection.close();
  }

  /** New channels, where the masters are other ones. */
  private follow(): void {
    const { masters } = this.options.connection;
    if (masters === this.masters || this.closed) return;
    this.masters = masters;
    for (const channel of this.channels) channel.close();
    this.settle('the masters are other ones');
    this.channels = masters.map((master) => this.open(master));
  }

  private open(master: RedisMaster): InvalidationChannel {
    const { connection, heartbeatMs, timeoutMs } = this.options;
    return channelOf(connection, master, {
      clientId: this.clientId,
      ...(heartbeatMs === undefined ? {} : { heartbeatMs }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      onBeat: () => this.follow(),
      onChange: (places) => this.tell(places),
      onEvent: (event) => {
        if (event.type === 'lost' || event.type === 'refused') this.settle(event.reason, event.type);
        else if (this.channels.every((channel) => isTelling(channel.stats().state))) this.arm(event);
      },
    });
  }

  private tell(places: readonly string[] | undefined): void {
    const { listener } = this;
    if (places === undefined && this.isArmed) {
      listener?.disarmed();
      listener?.armed();
    }
    const { keyPrefix } = this.options.connection.settings;
    for (const place of places ?? []) {
      const found = placeOf(keyPrefix, place);
      if (found === undefined) continue;
      const { namespace, key, isLease, relay } = found;
      if (relay === undefined) listener?.changed(namespace, key, isLease);
      else if (key !== undefined) listener?.relayed(namespace, key, relay);
    }
  }

  private arm(event: InvalidationEvent): void {
    this.isArmed = true;
    this.listener?.armed();
    this.options.onEvent?.(event);
  }

  private settle(reason: string, type: 'lost' | 'refused' = 'lost'): void {
    if (this.closed || (!this.isArmed && type === 'lost')) return;
    this.isArmed = false;
    this.listener?.disarmed();
    this.options.onEvent?.({ type, reason });
  }
}

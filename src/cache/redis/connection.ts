import type { Socket } from 'node:net';
import type { Redis } from 'ioredis';
import { StorageClosedError, StorageUnavailableError } from '../cache.errors.js';
import type { RedisSettings } from './client.js';
import { addressOf, createRedisClient, retryDelayMs } from './client.js';
import type { Budget, RedisEvent, RedisInspection, RedisLink, RedisLinkOptions, RedisState } from './link.js';
import { exchange } from './pipeline.js';
import { describeError, reactionTo, unavailable } from './redis-errors.js';
import type { Reply, Request } from './requests.js';

/** After so many unanswered probes the socket is given up: behind a silent cut it will never answer. */
const PROBES_UNTIL_RECONNECT = 5;
/** Who answers for so long has recovered; who falls silent sooner is given longer before he is believed again. */
const RECOVERED_AFTER_MS = 10_000;
const ANNOUNCED_LIMIT = 20;

/** A demoted master says so with every write; it takes the sentinels a moment to name the new one. */
const RENEWALS_APART_MS = 1000;

/**
 * One client, watched. A call waits at most `commandTimeoutMs`; the first time-out turns the connection
 * `unresponsive`, and from then on calls fail at once while a background PING looks for the server. So an outage
 * costs each caller at most one time-out, and the callers after it nothing.
 */
export class RedisConnection implements RedisLink {
  readonly masters: readonly RedisConnection[] = [this];
  private readonly client: Redis;
  private readonly onEvent: (event: RedisEvent) => void;
  private readonly random: () => number;
  private readonly now: () => number;
  private readonly watchers: ((available: boolean) => void)[] = [];
  private current: RedisState = 'connecting';
  private awaySince: number;
  private attempts = 0;
  private readonly announced = new Set<string>();
  private where: string;
  private renewedAt = -Infinity;
  private probe: NodeJS.Timeout | undefined;
  private isProbing = false;
  /** Probes since something came back, in time or not. */
  private unheard = 0;
  private responsiveSince = -Infinity;
  /** How often it fell silent again right after it had answered. */
  private relapses = 0;
  private readonly firstAttempt: Promise<void>;

  constructor(
    readonly settings: RedisSettings,
    { onEvent = () => {}, random = Math.random, now = Date.now }: RedisLinkOptions = {},
  ) {
    this.onEvent = onEvent;
    this.random = random;
    this.now = now;
    this.awaySince = now();
    this.client = createRedisClient(settings, random);
    const { host = 'localhost', port = 6379 } = this.client.options;
    const { mode, sentinel } = settings;
    this.where = mode === 'sentinel' ? `sentinel ${sentinel?.name}` : addressOf({ host, port });
    this.listen();
    // A first failure is an event like any later one; the attempts go on.
    this.firstAttempt = this.client.connect().catch(() => {});
  }

  /** With sentinels: of the server that was the master when this connected. */
  get address(): string {
    return this.where;
  }

  get state(): RedisState {
    return this.current;
  }

  get available(): boolean {
    return this.current === 'ready';
  }

  masterOf(): this {
    return this;
  }

  watch(listener: (available: boolean) => void): void {
    this.watchers.push(listener);
  }

  async settled(maxMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, maxMs);
    });
    await Promise.race([this.firstAttempt, limit]);
    clearTimeout(timer);
  }

  /**
   * Runs commands within one time budget.
   * @throws StorageUnavailableError at once while Redis is away, at the time-out, or for an error reply.
   */
  async run<T>(commands: (client: Redis) => Promise<T>, budget?: Budget): Promise<T> {
    if (this.current === 'closed') throw new StorageClosedError('redis');
    if (this.current !== 'ready')
      throw new StorageUnavailableError('redis', `${this.address} is ${this.current}`);
    try {
      return await this.withinBudget(commands(this.client), budget);
    } catch (error) {
      if (error instanceof StorageUnavailableError) throw error;
      throw unavailable(error);
    }
  }

  async send(requests: readonly Request[], budget?: Budget): Promise<readonly Reply[]> {
    const replies = await this.run((client) => exchange(client, requests), budget);
    for (const [error] of replies) if (error !== null) this.react(error);
    return replies;
  }

  async inspect(): Promise<RedisInspection> {
    const begun = performance.now();
    await this.run((client) => client.ping());
    const latencyMs = performance.now() - begun;
    const info = parseInfo(await this.run((client) => client.info()));
    return {
      latencyMs: Math.round(latencyMs * 1000) / 1000,
      version: info.get('redis_version') ?? 'unknown',
      usedMemoryBytes: Number(info.get('used_memory') ?? 0),
      maxMemoryBytes: Number(info.get('maxmemory') ?? 0),
      evictionPolicy: info.get('maxmemory_policy') ?? 'unknown',
    };
  }

  async close(): Promise<void> {
    if (this.current === 'closed') return;
    const wasReady = this.current === 'ready';
    this.become('closed');
    clearTimeout(this.probe);
    if (wasReady) await this.withinBudget(this.client.quit()).catch(() => {});
    this.client.disconnect();
    this.onEvent({ type: 'end', address: this.address });
  }

  private withinBudget<T>(reply: Promise<T>, budget?: Budget): Promise<T> {
    const timeoutMs = budget?.timeoutMs ?? this.settings.commandTimeoutMs;
    return new Promise<T>((resolve, reject) => {
      let settled = false;
      const timeOut = (): void => {
        if (settled) return;
        settled = true;
        if (budget === undefined || budget.blamesServer === true) this.becomeUnresponsive(reply);
        reject(new StorageUnavailableError('redis', `${this.address} did not answer within ${timeoutMs} ms`));
      };
      // After a blocked event loop timers run before the socket is read: let a reply that is there win.
      const timer = setTimeout(() => setImmediate(timeOut), timeoutMs);
      const settle = <V>(then: (value: V) => void) => {
        return (value: V): void => {
          if (settled) return;
          settled = true;
          clearTimeout(timer);
          then(value);
        };
      };
      reply.then(settle(resolve), settle(reject));
    });
  }

  /** @throws StorageUnavailableError if it concerns the whole call */
  private react(error: Error): void {
    const reaction = reactionTo(error);
    if (reaction === undefined) return;
    if (reaction.connection === 'probe') this.becomeUnresponsive(undefined, describeError(error));
    if (reaction.connection === 'renew') this.renew(reaction.call === 'unavailable');
    if (reaction.call === 'unavailable') throw unavailable(error);
  }

  /** Without sentinels the same server would answer again, as READONLY as before. */
  private renew(always: boolean): void {
    const nowMs = this.now();
    if (this.current !== 'ready' || nowMs - this.renewedAt < RENEWALS_APART_MS) return;
    if (!always && this.settings.mode !== 'sentinel') return;
    this.renewedAt = nowMs;
    this.client.disconnect(true);
  }

  private listen(): void {
    const { client } = this;
    const handshakeTimeout = client.options.commandTimeout;
    client.on('connect', () => {
      const { remoteAddress, remotePort } = client.stream as Partial<Socket>;
      if (this.settings.mode === 'sentinel' && remoteAddress !== undefined) {
        this.where = addressOf({ host: remoteAddress, port: remotePort ?? 0 });
      }
      this.announce('connect', { type: 'connect', address: this.where });
    });
    client.on('ready', () => {
      const address = this.where;
      // From here on every command has the budget of its call, which may be longer.
      client.options.commandTimeout = undefined;
      if (this.current === 'closed') return;
      this.become('ready');
      this.onEvent({ type: 'ready', address, awayMs: this.now() - this.awaySince, attempts: this.attempts });
      this.attempts = 0;
      this.announced.clear();
    });
    client.on('close', () => {
      client.options.commandTimeout = handshakeTimeout;
      if (this.current !== 'ready' && this.current !== 'unresponsive') return;
      if (this.current === 'ready') this.awaySince = this.now();
      clearTimeout(this.probe);
      this.become('connecting');
      this.onEvent({ type: 'close', address: this.where });
    });
    client.on('reconnecting', (delayMs: number) => {
      this.attempts += 1;
      this.announce('reconnecting', { type: 'reconnecting', address: this.where, delayMs });
    });
    client.on('error', (error: Error) => {
      const message = describeError(error);
      // Of the sentinels' errors the delay differs each time.
      const kind = message.replace(/after \d+ms/, '');
      this.announce(kind, { type: 'error', address: this.where, message });
    });
  }

  private become(state: RedisState): void {
    const before = this.available;
    this.current = state;
    if (this.available !== before) for (const tell of this.watchers) tell(this.available);
  }

  /** Reports what repeats with every attempt only once in an outage. */
  private announce(kind: string, event: RedisEvent): void {
    if (this.current === 'closed' || this.announced.has(kind) || this.announced.size === ANNOUNCED_LIMIT)
      return;
    this.announced.add(kind);
    this.onEvent(event);
  }

  private becomeUnresponsive(unanswered: Promise<unknown> | undefined, reason?: string): void {
    if (this.current !== 'ready') return;
    this.become('unresponsive');
    this.awaySince = this.now();
    const { commandTimeoutMs: timeoutMs } = this.settings;
    const why = reason === undefined ? {} : { reason };
    this.onEvent({ type: 'unresponsive', address: this.address, timeoutMs, ...why });
    this.unheard = 0;
    this.relapses = this.now() - this.responsiveSince < RECOVERED_AFTER_MS ? this.relapses + 1 : 0;
    unanswered?.then(
      () => this.hearLate(),
      () => {},
    );
    this.scheduleProbe(1 + this.relapses);
  }

  /** A server that was stopped goes on, or one that is too slow has answered at last: a probe tells which. */
  private hearLate(): void {
    if (this.current !== 'unresponsive' || this.isProbing || this.relapses > 0) return;
    clearTimeout(this.probe);
    void this.sendProbe(1);
  }

  private becomeResponsive(): void {
    if (this.current !== 'unresponsive') return;
    clearTimeout(this.probe);
    this.responsiveSince = this.now();
    this.become('ready');
    this.onEvent({ type: 'responsive', address: this.address, awayMs: this.now() - this.awaySince });
  }

  private scheduleProbe(attempt: number): void {
    const delayMs = attempt === 1 ? 0 : retryDelayMs(attempt, this.random);
    this.probe = setTimeout(() => void this.sendProbe(attempt), delayMs);
    this.probe.unref();
  }

  /** Only an answer in time ends it; one that is late shows that the socket is whole. */
  private async sendProbe(attempt: number): Promise<void> {
    const ping = this.client.ping();
    ping.then(
      () => (this.unheard = 0),
      () => {},
    );
    this.isProbing = true;
    this.unheard += 1;
    try {
      await this.withinBudget(ping);
      this.becomeResponsive();
    } catch {
      if (this.current !== 'unresponsive') return;
      if (this.unheard >= PROBES_UNTIL_RECONNECT) this.client.disconnect(true);
      else this.scheduleProbe(attempt + 1);
    } finally {
      this.isProbing = false;
    }
  }
}

function parseInfo(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return fields;
}

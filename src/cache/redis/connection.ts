import type { Redis } from 'ioredis';
import { StorageClosedError, StorageUnavailableError } from '../cache.errors.js';
import type { RedisSettings } from './client.js';
import { createRedisClient, retryDelayMs } from './client.js';

/**
 * - `connecting`: not reached yet, or lost; attempts go on for ever.
 * - `ready`: answers.
 * - `unresponsive`: the socket is open and nothing comes back (a stopped server, a cut without FIN, a stall).
 * - `closed`: shut down by us.
 */
export type RedisState = 'connecting' | 'ready' | 'unresponsive' | 'closed';

/** One change of state, or a new kind of error during an outage; never one per command or attempt. */
export type RedisEvent =
  | { readonly type: 'connect'; readonly address: string }
  | { readonly type: 'ready'; readonly address: string; readonly awayMs: number; readonly attempts: number }
  | { readonly type: 'unresponsive'; readonly address: string; readonly timeoutMs: number }
  | { readonly type: 'responsive'; readonly address: string; readonly awayMs: number }
  | { readonly type: 'close'; readonly address: string }
  | { readonly type: 'reconnecting'; readonly address: string; readonly delayMs: number }
  | { readonly type: 'error'; readonly address: string; readonly message: string }
  | { readonly type: 'end'; readonly address: string };

/** What an operator wants to know of the server; `latencyMs` is one PING. */
export interface RedisInspection {
  readonly latencyMs: number;
  readonly version: string;
  readonly usedMemoryBytes: number;
  /** 0: no limit. */
  readonly maxMemoryBytes: number;
  readonly evictionPolicy: string;
}

/** After so many unanswered probes the socket is given up: behind a silent cut it will never answer. */
const PROBES_UNTIL_RECONNECT = 5;
const ANNOUNCED_LIMIT = 20;

/** Of work in the background, whose time-outs say nothing about the server: a large batch takes its time. */
export interface Budget {
  readonly timeoutMs: number;
}

export interface RedisConnectionOptions {
  readonly onEvent?: (event: RedisEvent) => void;
  readonly random?: () => number;
  readonly now?: () => number;
}

/**
 * One client, watched. A call waits at most `commandTimeoutMs`; the first time-out turns the connection
 * `unresponsive`, and from then on calls fail at once while a background PING looks for the server. So an outage
 * costs each caller at most one time-out, and the callers after it nothing.
 */
export class RedisConnection {
  /** `host:port`, without credentials. */
  readonly address: string;
  private readonly client: Redis;
  private readonly onEvent: (event: RedisEvent) => void;
  private readonly random: () => number;
  private readonly now: () => number;
  private readonly watchers: ((available: boolean) => void)[] = [];
  private current: RedisState = 'connecting';
  private awaySince: number;
  private attempts = 0;
  private readonly announced = new Set<string>();
  private probe: NodeJS.Timeout | undefined;
  private readonly firstAttempt: Promise<void>;

  constructor(
    readonly settings: RedisSettings,
    { onEvent = () => {}, random = Math.random, now = Date.now }: RedisConnectionOptions = {},
  ) {
    this.onEvent = onEvent;
    this.random = random;
    this.now = now;
    this.awaySince = now();
    this.client = createRedisClient(settings, random);
    const { host, port } = this.client.options;
    this.address = `${host}:${port}`;
    this.listen();
    // A first failure is an event like any later one; the attempts go on.
    this.firstAttempt = this.client.connect().catch(() => {});
  }

  get state(): RedisState {
    return this.current;
  }

  get available(): boolean {
    return this.current === 'ready';
  }

  /** Calls `listener` after each change of `available`. */
  watch(listener: (available: boolean) => void): void {
    this.watchers.push(listener);
  }

  /** Waits until the first attempt to connect has succeeded or failed, for at most `maxMs`. */
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

  /** Lets running commands finish within one time-out, then disconnects. */
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
        if (budget === undefined) this.becomeUnresponsive(reply);
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

  private listen(): void {
    const { client, address } = this;
    const handshakeTimeout = client.options.commandTimeout;
    client.on('connect', () => this.announce('connect', { type: 'connect', address }));
    client.on('ready', () => {
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
      this.onEvent({ type: 'close', address });
    });
    client.on('reconnecting', (delayMs: number) => {
      this.attempts += 1;
      this.announce('reconnecting', { type: 'reconnecting', address, delayMs });
    });
    client.on('error', (error: Error) => {
      const message = describeError(error);
      this.announce(message, { type: 'error', address, message });
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

  private becomeUnresponsive(unanswered: Promise<unknown>): void {
    if (this.current !== 'ready') return;
    this.become('unresponsive');
    this.awaySince = this.now();
    this.onEvent({ type: 'unresponsive', address: this.address, timeoutMs: this.settings.commandTimeoutMs });
    // The reply that was too late is as good as a probe's: the server is alive.
    unanswered.then(
      () => this.becomeResponsive(),
      () => {},
    );
    this.scheduleProbe(1);
  }

  private becomeResponsive(): void {
    if (this.current !== 'unresponsive') return;
    clearTimeout(this.probe);
    this.become('ready');
    this.onEvent({ type: 'responsive', address: this.address, awayMs: this.now() - this.awaySince });
  }

  private scheduleProbe(attempt: number): void {
    const delayMs = attempt === 1 ? 0 : retryDelayMs(attempt, this.random);
    this.probe = setTimeout(() => void this.sendProbe(attempt), delayMs);
    this.probe.unref();
  }

  private async sendProbe(attempt: number): Promise<void> {
    const ping = this.client.ping();
    try {
      await this.withinBudget(ping);
      this.becomeResponsive();
    } catch {
      if (this.current !== 'unresponsive') return;
      if (attempt >= PROBES_UNTIL_RECONNECT) this.client.disconnect(true);
      else this.scheduleProbe(attempt + 1);
    }
  }
}

/**
 * Redis errors carry the failed command with its arguments, which are keys, values and passwords: none of that may
 * travel with an error that somebody logs.
 */
export function unavailable(error: unknown): StorageUnavailableError {
  const message = describeError(error);
  return new StorageUnavailableError('redis', message, { cause: new Error(message) });
}

export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  // "ERR unknown command 'x', with args beginning with: ..."
  return error.message.replace(/, with args beginning with:.*/s, '') || code || error.name;
}

function parseInfo(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return fields;
}

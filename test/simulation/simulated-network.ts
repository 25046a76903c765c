import { StorageUnavailableError } from '../../src/cache/cache.errors.js';
import type { Mutation } from '../../src/cache/replication/mutation.js';
import type {
  ApplyOptions,
  LeaseRequest,
  LiveKey,
  MarksRecord,
  MarksState,
  ReclaimOptions,
  Remote,
} from '../../src/cache/replication/remote.js';
import type { ModelRedis } from './model-redis.js';
import type { Random } from './random.js';
import type { Handle, Scheduler } from './scheduler.js';

/** What Redis tells of at once: all that has changed in one turn of its loop. */
export interface Push {
  /** Each once; undefined: everything may have changed. */
  readonly names: readonly string[] | undefined;
  /** In the order of all events: when Redis told it. */
  readonly at: number;
}

export interface Subscriber {
  push(push: Push): void;
  /** The process that it was connected to is gone. */
  reset(): void;
}

/** One turn of its loop, at most. */
const TURN_MS = 1;

/** The process that serves the model: it can be away, or stopped with its sockets open. */
export class Server {
  state: 'up' | 'down' | 'stopped' = 'up';
  /** Sockets do not outlive the process that they were opened to. */
  epoch = 0;
  private readonly waiting: (() => void)[] = [];
  private readonly subscribers = new Set<Subscriber>();
  private changed = new Set<string>();

  constructor(
    readonly redis: ModelRedis,
    private readonly scheduler: Scheduler,
    private readonly random: Random,
    private readonly order: () => number,
  ) {}

  subscribe(subscriber: Subscriber): () => void {
    this.subscribers.add(subscriber);
    return () => void this.subscribers.delete(subscriber);
  }

  /** See `RedisOptions.tell`. */
  tell(name: string | undefined): void {
    if (name === undefined) {
      this.push(undefined);
      return;
    }
    const turn = this.changed.add(name);
    if (turn.size > 1) return;
    this.scheduler.after(this.random.next() * TURN_MS, () => {
      if (turn !== this.changed) return;
      this.changed = new Set();
      this.push([...turn]);
    });
  }

  private push(names: readonly string[] | undefined): void {
    const push = { names, at: this.order() };
    for (const subscriber of this.subscribers) subscriber.push(push);
  }

  receive(request: () => void): void {
    if (this.state === 'up') request();
    else if (this.state === 'stopped') this.waiting.push(request);
  }

  stop(): void {
    if (this.state === 'up') this.state = 'stopped';
  }

  /** Does late what it was sent meanwhile. */
  go(): void {
    this.state = 'up';
    for (const request of this.waiting.splice(0)) request();
  }

  kill(): void {
    this.state = 'down';
    this.epoch += 1;
    this.waiting.length = 0;
    this.changed = new Set();
    for (const subscriber of this.subscribers) subscriber.reset();
  }
}

export interface Weather {
  /** Each way, at most. */
  readonly delayMs: number;
  readonly lossRate: number;
  /** How often a request is executed a second time, later. */
  readonly twiceRate: number;
}

export type Cut = 'requests' | 'replies' | 'both';

/** What the connection tells its owner. */
export interface LinkOwner {
  connected(): void;
  disconnected(): void;
  /** A reply arrived, or would have. */
  received(call: CallName, argument: readonly unknown[], reply: unknown): void;
}

export type CallName =
  | 'read'
  | 'check'
  | 'apply'
  | 'fence'
  | 'lease'
  | 'renew'
  | 'release'
  | 'touch'
  | 'exchangeMarks'
  | 'hello'
  | 'beat'
  | 'headers'
  | 'values'
  | 'remove';

interface Call {
  readonly socket: number;
  readonly reject: (error: unknown) => void;
  readonly timeOut: Handle;
  settled: boolean;
}

export const FAIR: Weather = { delayMs: 3, lossRate: 0, twiceRate: 0 };
export const COMMAND_TIMEOUT_MS = 250;
const PROBES_UNTIL_RECONNECT = 5;
/** Of these an error with a stack each would be the larger part of the time. */
const AWAY = new StorageUnavailableError('redis', 'is away');
const TIMED_OUT = new StorageUnavailableError('redis', 'did not answer in time');
const RESET = new StorageUnavailableError('redis', 'connection closed');

/**
 * The connection of one instance, as `RedisConnection` keeps it: a time-out makes it unresponsive, probes look for the
 * server, and after some in vain it connects anew. What was sent on it may arrive however late, or twice.
 */
export class Link implements Remote {
  weather: Weather = FAIR;
  cut: Cut | undefined;
  private state: 'away' | 'ready' | 'unresponsive' = 'away';
  private socket = 0;
  private epoch = 0;
  private failedProbes = 0;
  private probing = false;
  private closed = false;
  private readonly calls = new Set<Call>();

  constructor(
    private readonly scheduler: Scheduler,
    private readonly server: Server,
    private readonly random: Random,
    private readonly owner: LinkOwner,
  ) {}

  get available(): boolean {
    return this.state === 'ready';
  }

  get busy(): boolean {
    return this.calls.size > 0;
  }

  open(): void {
    this.probeSoon();
  }

  /** The process is gone; what it sent is not. */
  close(): void {
    this.closed = true;
    this.state = 'away';
    this.socket += 1;
    for (const call of this.calls) this.settle(call, () => {});
  }

  /** The sockets are closed, and both sides know. */
  reset(): void {
    if (this.closed) return;
    this.socket += 1;
    const wasReady = this.state === 'ready';
    this.state = 'away';
    for (const call of this.calls) this.settle(call, () => call.reject(RESET));
    if (wasReady) this.owner.disconnected();
    this.probeSoon();
  }

  read(keys: readonly string[]): ReturnType<Remote['read']> {
    return this.call('read', [keys], (redis) => redis.read(keys));
  }

  check(keys: readonly string[]): ReturnType<Remote['check']> {
    return this.call('check', [keys], (redis) => redis.check(keys));
  }

  apply(mutations: readonly Mutation[], options: ApplyOptions): ReturnType<Remote['apply']> {
    const { live, timeoutMs } = options;
    return this.call('apply', [mutations, live], (redis) => redis.apply(mutations, live), timeoutMs);
  }

  fence(key: string, version: string, lifeMs: number): ReturnType<Remote['fence']> {
    return this.call('fence', [key, version], (redis) => redis.fence(key, version, lifeMs));
  }

  exchangeMarks(
    ours: MarksRecord,
    incarnation: string,
    since?: MarksState,
  ): ReturnType<Remote['exchangeMarks']> {
    return this.call('exchangeMarks', [ours], (redis) => redis.exchangeMarks(ours, incarnation, since));
  }

  hello(): ReturnType<Remote['hello']> {
    return this.call('hello', [], (redis) => redis.hello());
  }

  beat(): ReturnType<Remote['beat']> {
    return this.call('beat', [], (redis) => redis.beat());
  }

  lease(key: string, request: LeaseRequest): ReturnType<Remote['lease']> {
    return this.call('lease', [key, request], (redis) => redis.lease(key, request));
  }

  renew(key: string, token: string, leaseMs: number): ReturnType<Remote['renew']> {
    return this.call('renew', [key, token], (redis) => redis.renew(key, token, leaseMs));
  }

  release(key: string, token: string): ReturnType<Remote['release']> {
    return this.call('release', [key, token], (redis) => redis.release(key, token));
  }

  touch(name: string): Promise<void> {
    return this.call('touch', [name], (redis) => redis.touch(name));
  }

  async discard(key: string): Promise<boolean> {
    throw new Error(`${key}: in this world nothing is damaged`);
  }

  /** As `ValueScan.reclaim` does it. */
  async reclaim({ clear, tagged, pause }: ReclaimOptions): Promise<number> {
    const headed = await this.call('headers', [], (redis) => redis.headers());
    let removed = await this.remove(headed.filter(({ version }) => version <= clear));
    await pause();
    if (tagged === undefined) return removed;
    const rest = headed.filter(({ version }) => version > clear && version <= tagged.newest);
    const keys = rest.map(({ key }) => key);
    const dead = await this.call('values', [keys], (redis) =>
      keys.flatMap((key) => {
        const { value } = redis.slot(key);
        return value !== undefined && tagged.isDead(key, value.bytes)
          ? [{ key, version: value.version }]
          : [];
      }),
    );
    await pause();
    removed += await this.remove(dead);
    return removed;
  }

  async *keys(prefix: string): AsyncIterable<LiveKey[]> {
    yield await this.call('headers', [prefix], (redis) => redis.headers(prefix));
  }

  values(keys: readonly string[]): ReturnType<Remote['values']> {
    return this.call('values', [keys], (redis) => redis.values(keys));
  }

  private async remove(dead: readonly Pick<LiveKey, 'key' | 'version'>[]): Promise<number> {
    return dead.length === 0 ? 0 : this.call('remove', [dead], (redis) => redis.remove(dead));
  }

  private call<T>(
    name: CallName,
    args: readonly unknown[],
    execute: (redis: ModelRedis) => T,
    timeoutMs?: number,
  ): Promise<T> {
    if (this.state !== 'ready') return Promise.reject(AWAY);
    return new Promise<T>((resolve, reject) => {
      const timeOut = this.scheduler.after(timeoutMs ?? COMMAND_TIMEOUT_MS, () => {
        this.settle(call, () => reject(TIMED_OUT));
        if (timeoutMs === undefined) this.timedOut(call);
      });
      const call: Call = { socket: this.socket, reject, timeOut, settled: false };
      this.calls.add(call);
      const answer = (reply: T): void => {
        this.owner.received(name, args, reply);
        resolve(reply);
      };
      this.send(call, execute, answer);
    });
  }

  /** Arguments are as they were at the call: the core may go on changing its own. */
  private send<T>(call: Call, execute: (redis: ModelRedis) => T, answer: (reply: T) => void): void {
    const { scheduler, random, weather } = this;
    const request = (): void => {
      if (this.cut === 'requests' || this.cut === 'both') return;
      this.server.receive(() => this.execute(call, execute, answer));
    };
    if (!random.chance(weather.lossRate)) scheduler.after(this.delay(), request);
    if (random.chance(weather.twiceRate)) {
      scheduler.after(this.delay() + random.between(0, 1500), () => {
        this.server.receive(() => this.execute({ ...call, settled: true }, execute, answer));
      });
    }
  }

  private execute<T>(call: Call, execute: (redis: ModelRedis) => T, answer: (reply: T) => void): void {
    if (call.socket === this.socket && this.epoch !== this.server.epoch) return this.reset();
    let settle: () => void;
    try {
      const reply = execute(this.server.redis);
      settle = () => answer(reply);
    } catch (error) {
      if (!(error instanceof StorageUnavailableError)) throw error;
      settle = () => call.reject(error);
    }
    if (this.random.chance(this.weather.lossRate)) return;
    this.scheduler.after(this.delay(), () => {
      if (this.cut === 'replies' || this.cut === 'both' || call.socket !== this.socket) return;
      const wasSettled = call.settled;
      this.settle(call, settle);
      if (wasSettled && this.state === 'unresponsive') this.becomeReady();
    });
  }

  private settle(call: Call, how: () => void): void {
    if (call.settled) return;
    call.settled = true;
    this.calls.delete(call);
    this.scheduler.cancel(call.timeOut);
    how();
  }

  private timedOut(call: Call): void {
    if (call.socket !== this.socket || this.state !== 'ready') return;
    this.state = 'unresponsive';
    this.failedProbes = 0;
    this.owner.disconnected();
    this.probeSoon();
  }

  private becomeReady(): void {
    if (this.closed || this.state === 'ready') return;
    this.state = 'ready';
    this.epoch = this.server.epoch;
    this.owner.connected();
  }

  private probeSoon(): void {
    if (this.probing || this.closed) return;
    this.probing = true;
    this.scheduler.after(this.random.between(5, 150), () => {
      this.probing = false;
      if (this.closed || this.state === 'ready') return;
      if (this.cut === undefined && this.server.state === 'up') return this.becomeReady();
      this.failedProbes += 1;
      if (this.failedProbes === PROBES_UNTIL_RECONNECT && this.state === 'unresponsive') this.reset();
      this.probeSoon();
    });
  }

  private delay(): number {
    return this.random.next() * this.weather.delayMs;
  }
}

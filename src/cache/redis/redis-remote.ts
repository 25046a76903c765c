import type { ChainableCommander, Redis } from 'ioredis';
import { StorageUnavailableError } from '../cache.errors.js';
import type { ApplyOutcome, Mutation } from '../replication/mutation.js';
import { guardUntil } from '../replication/mutation.js';
import type {
  ApplyOptions,
  Beat,
  FenceOutcome,
  MarksExchange,
  MarksRecord,
  MarksState,
  Remote,
  RemoteRead,
  RemoteValue,
} from '../replication/remote.js';
import type { RedisConnection } from './connection.js';
import { Keyspace } from './keyspace.js';
import { APPLY, EXCHANGE_MARKS, FENCE } from './scripts.js';

export interface RedisRemoteOptions {
  readonly connection: RedisConnection;
  readonly namespace: string;
  /** How long a value may live from its version; guards outlive it. */
  readonly maxLifeMs: number;
}

/** Error replies that say that Redis as a whole can't serve now, not that it refused this one write. */
const WHOLE_CALL = /^(LOADING|CLUSTERDOWN|MASTERDOWN|NOAUTH|WRONGPASS|TRYAGAIN)/;
const VERSION_LENGTH = 32;
const HEADER_VERSION = { start: 8, end: 40 } as const;
const MAGIC = 'ATHN';

type Reply = [error: Error | null, value: unknown];
type Script = 'athenaApply' | 'athenaFence' | 'athenaExchangeMarks';
type Scripted<C> = C & Readonly<Record<Script, (...args: (string | number | Buffer)[]) => C>>;

/** Redis as the replication core sees it; see `remote.ts` for what each call promises. */
export class RedisRemote implements Remote {
  private readonly connection: RedisConnection;
  private readonly keyspace: Keyspace;
  private readonly maxLifeMs: number;

  constructor({ connection, namespace, maxLifeMs }: RedisRemoteOptions) {
    this.connection = connection;
    this.keyspace = new Keyspace(connection.settings.keyPrefix, namespace);
    this.maxLifeMs = maxLifeMs;
  }

  get available(): boolean {
    return this.connection.available;
  }

  async read(keys: readonly string[]): Promise<RemoteRead> {
    const places = keys.map((key) => this.keyspace.all(key));
    const replies = await this.pipeline((pipeline) => {
      pipeline.mgetBuffer(places.map(([value]) => value));
      pipeline.mget(places.map(([, guard]) => guard));
      pipeline.hmget(this.keyspace.marks, 'i', 'r');
    });
    const [values, guards, marks] = replies.map(valueOf) as [
      (Buffer | null)[],
      (string | null)[],
      (string | null)[],
    ];
    return {
      values: keys.map((_, index) => remoteValue(values[index] ?? null, guards[index] ?? null)),
      marks: marksState(marks),
    };
  }

  async apply(mutations: readonly Mutation[], { live, timeoutMs }: ApplyOptions): Promise<ApplyOutcome[]> {
    const replies = await this.pipeline(
      (pipeline) => {
        for (const { key, version, expiresAt, bytes } of mutations) {
          const guard = guardUntil(version, this.maxLifeMs);
          const body = Buffer.from(bytes ?? '');
          const expiry = bytes === undefined ? 0 : Math.ceil(expiresAt);
          pipeline.athenaApply(...this.keyspace.all(key), version, expiry, guard, body, live ? '1' : '0');
        }
      },
      timeoutMs === undefined ? undefined : { timeoutMs },
    );
    return replies.map(applyOutcome);
  }

  async fence(key: string, version: string, lifeMs: number): Promise<FenceOutcome> {
    const [reply] = await this.pipeline((pipeline) =>
      pipeline.athenaFence(...this.keyspace.all(key), version, lifeMs),
    );
    const [kind, detail] = valueOf(reply) as [FenceOutcome['kind'], string];
    switch (kind) {
      case 'fenced':
        return { kind };
      case 'behind':
        return { kind, version: detail };
      case 'ahead':
        return { kind, redisMs: Number(detail) };
    }
  }

  async exchangeMarks(ours: MarksRecord, incarnationIfMissing: string): Promise<MarksExchange> {
    const [reply] = await this.pipeline((pipeline) =>
      pipeline.athenaExchangeMarks(this.keyspace.marks, incarnationIfMissing, ...[...ours].flat()),
    );
    const [created, fields] = valueOf(reply) as [number, string[]];
    const marks = new Map<string, string>();
    for (let at = 0; at < fields.length; at += 2) marks.set(fields[at] ?? '', fields[at + 1] ?? '');
    const incarnation = marks.get('i') ?? '';
    const revision = Number(marks.get('r') ?? 0);
    marks.delete('i');
    marks.delete('r');
    return { incarnation, revision, marks, created: created === 1 };
  }

  async hello(): Promise<{ runId: string; redisMs: number }> {
    const [info, time] = await this.pipeline((pipeline) => pipeline.info('server').time());
    return { runId: infoField(valueOf(info), 'run_id'), redisMs: milliseconds(valueOf(time)) };
  }

  async beat(): Promise<Beat> {
    const [time, marks, info] = await this.pipeline((pipeline) =>
      pipeline.time().hmget(this.keyspace.marks, 'i', 'r').info('stats'),
    );
    return {
      redisMs: milliseconds(valueOf(time)),
      marks: marksState(valueOf(marks) as (string | null)[]),
      evictedKeys: Number(infoField(valueOf(info), 'evicted_keys')),
    };
  }

  /** One write to the socket; rejects if any reply concerns the whole call. */
  private async pipeline(
    queue: (pipeline: Scripted<ChainableCommander>) => unknown,
    budget?: { readonly timeoutMs: number },
  ): Promise<Reply[]> {
    const replies = await this.connection.run(async (client) => {
      const pipeline = withScripts(client).pipeline() as Scripted<ChainableCommander>;
      queue(pipeline);
      return (await pipeline.exec()) ?? [];
    }, budget);
    for (const [error] of replies) {
      if (error !== null && (WHOLE_CALL.test(error.message) || !isReplyError(error)))
        throw unavailable(error);
    }
    return replies;
  }
}

/** ioredis sends EVALSHA, and EVAL where Redis does not know the script (yet, or any more), also in a pipeline. */
function withScripts(client: Redis): Redis {
  if ('athenaApply' in client) return client;
  client.defineCommand('athenaApply', { numberOfKeys: 3, lua: APPLY });
  client.defineCommand('athenaFence', { numberOfKeys: 3, lua: FENCE });
  client.defineCommand('athenaExchangeMarks', { numberOfKeys: 1, lua: EXCHANGE_MARKS });
  return client;
}

function valueOf(reply: Reply | undefined): unknown {
  const [error, value] = reply ?? [];
  if (error) throw unavailable(error);
  return value;
}

function applyOutcome([error, value]: Reply): ApplyOutcome {
  if (error !== null) return { kind: 'refused', reason: error.message };
  const [kind, detail] = value as [Exclude<ApplyOutcome['kind'], 'refused'>, string];
  switch (kind) {
    case 'applied':
      return { kind, existed: detail === '1' };
    case 'superseded':
      return { kind, version: detail };
    case 'ahead':
      return { kind, redisMs: Number(detail) };
  }
}

/** The guard's version, or where that was evicted the one in the header of the value. */
function remoteValue(bytes: Buffer | null, guard: string | null): RemoteValue {
  const header = bytes?.toString('latin1', 0, HEADER_VERSION.end) ?? '';
  const inHeader = header.startsWith(MAGIC) ? header.slice(HEADER_VERSION.start) : undefined;
  const version = guard?.slice(0, VERSION_LENGTH) ?? inHeader;
  return { version, bytes: bytes ?? undefined };
}

function marksState([incarnation, revision]: readonly (string | null)[]): MarksState | undefined {
  return incarnation == null ? undefined : { incarnation, revision: Number(revision ?? 0) };
}

const infoField = (info: unknown, name: string): string =>
  new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(String(info))?.[1] ?? '';

/** Of `TIME`: seconds and microseconds. */
function milliseconds(time: unknown): number {
  const [seconds, microseconds] = time as [string | number, string | number];
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}

const isReplyError = (error: Error): boolean => error.name === 'ReplyError';

/** The error of the client carries the command with its arguments, which are keys and values. */
const unavailable = ({ message }: Error): StorageUnavailableError =>
  new StorageUnavailableError('redis', message, { cause: new Error(message) });

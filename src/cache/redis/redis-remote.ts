import type { ApplyOutcome, Mutation } from '../replication/mutation.js';
import { guardUntil } from '../replication/mutation.js';
import type {
  ApplyOptions,
  Beat,
  FenceOutcome,
  LiveKey,
  MarksExchange,
  MarksRecord,
  ReclaimOptions,
  Remote,
  RemoteRead,
} from '../replication/remote.js';
import type { RedisConnection } from './connection.js';
import { describeError } from './connection.js';
import { Keyspace, markField, markName } from './keyspace.js';
import type { Reply, Request } from './pipeline.js';
import { sendPipeline, valueOf } from './pipeline.js';
import { infoField, marksState, mget, millisecondsOf, remoteValue, TIME } from './replies.js';
import { ValueScan } from './scan.js';
import { APPLY, EXCHANGE_MARKS, FENCE, REMOVE_BYTES } from './scripts.js';

/** Also where a script met it: its own error text comes first then. */
const TAKES_NO_WRITE = /\b(OOM|READONLY|MISCONF|NOREPLICAS|NOPERM|unknown command)\b/;

export interface RedisRemoteOptions {
  readonly connection: RedisConnection;
  readonly namespace: string;
  /** How long a value may live from its version; guards outlive it. */
  readonly maxLifeMs: number;
}

/** Redis as the replication core sees it; see `remote.ts` for what each call promises. */
export class RedisRemote implements Remote {
  private readonly connection: RedisConnection;
  private readonly keyspace: Keyspace;
  private readonly maxLifeMs: number;
  private readonly readMarks: Request;
  private readonly valueScan: ValueScan;

  constructor({ connection, namespace, maxLifeMs }: RedisRemoteOptions) {
    this.connection = connection;
    this.keyspace = new Keyspace(connection.settings.keyPrefix, namespace);
    this.maxLifeMs = maxLifeMs;
    this.readMarks = { run: 'HMGET', args: [this.keyspace.marks, 'i', 'r'] };
    this.valueScan = new ValueScan(connection, this.keyspace);
  }

  get available(): boolean {
    return this.connection.available;
  }

  async read(keys: readonly string[]): Promise<RemoteRead> {
    const places = keys.flatMap((key) => this.keyspace.all(key).slice(0, 2));
    // The marks come last, so that they are not older than any value that they may hide.
    const replies = await this.send([TIME, ...mget(places), this.readMarks]);
    const redisMs = millisecondsOf(replies[0]);
    const stored = replies.slice(1, -1).flatMap((reply) => valueOf(reply) as (Buffer | null)[]);
    return {
      values: keys.map((_, index) =>
        remoteValue(stored[2 * index] ?? null, stored[2 * index + 1] ?? null, redisMs),
      ),
      marks: marksState(replies.at(-1)),
    };
  }

  async apply(mutations: readonly Mutation[], { live, timeoutMs }: ApplyOptions): Promise<ApplyOutcome[]> {
    const requests = mutations.map(({ key, version, expiresAt, bytes }): Request => {
      const expiry = bytes === undefined ? 0 : Math.ceil(expiresAt);
      const body = bytes === undefined ? '' : asBuffer(bytes);
      const guard = guardUntil(version, this.maxLifeMs);
      return {
        run: APPLY,
        args: [...this.keyspace.all(key), version, expiry, guard, body, live ? '1' : '0'],
      };
    });
    return (await this.send(requests, timeoutMs)).map(applyOutcome);
  }

  async fence(key: string, version: string, lifeMs: number): Promise<FenceOutcome> {
    const args = [...this.keyspace.all(key), version, Math.ceil(lifeMs)];
    const [reply] = await this.send([{ run: FENCE, args }]);
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
    const args = [this.keyspace.marks, incarnationIfMissing];
    for (const [name, version] of ours) args.push(markField(name), version);
    const [reply] = await this.send([{ run: EXCHANGE_MARKS, args }]);
    const [created, fields, redisMs] = valueOf(reply) as [number, string[], string];
    const marks = new Map<string, string>();
    for (let at = 0; at < fields.length; at += 2) marks.set(markName(fields[at] ?? ''), fields[at + 1] ?? '');
    const incarnation = marks.get('i') ?? '';
    const revision = Number(marks.get('r') ?? 0);
    marks.delete('i');
    marks.delete('r');
    return { incarnation, revision, marks, created: created === 1, redisMs: Number(redisMs) };
  }

  async hello(): Promise<{ runId: string; redisMs: number }> {
    const [info, time] = await this.send([{ run: 'INFO', args: ['server'] }, TIME]);
    return { runId: infoField(info, 'run_id'), redisMs: millisecondsOf(time) };
  }

  async beat(): Promise<Beat> {
    const [time, marks, info] = await this.send([TIME, this.readMarks, { run: 'INFO', args: ['stats'] }]);
    return {
      redisMs: millisecondsOf(time),
      marks: marksState(marks),
      evictedKeys: Number(infoField(info, 'evicted_keys')),
    };
  }

  keys(prefix = ''): AsyncIterable<LiveKey[]> {
    return this.valueScan.keys(prefix);
  }

  async values(keys: readonly string[]): Promise<(Buffer | undefined)[]> {
    const replies = await this.send(mget(keys.map((key) => this.keyspace.physical(key))));
    return replies.flatMap((reply) => valueOf(reply) as (Buffer | null)[]).map((value) => value ?? undefined);
  }

  async discard(key: string, bytes: Uint8Array): Promise<boolean> {
    const args = [this.keyspace.physical(key), asBuffer(bytes)];
    const [reply] = await this.send([{ run: REMOVE_BYTES, args }]);
    return valueOf(reply) === 1;
  }

  reclaim(options: ReclaimOptions): Promise<number> {
    return this.valueScan.reclaim(options);
  }

  private send(requests: readonly Request[], timeoutMs?: number): Promise<readonly Reply[]> {
    return sendPipeline(this.connection, requests, timeoutMs === undefined ? undefined : { timeoutMs });
  }
}

function applyOutcome([error, value]: Reply): ApplyOutcome {
  if (error !== null) {
    return { kind: 'refused', reason: describeError(error), ofAll: TAKES_NO_WRITE.test(error.message) };
  }
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

const asBuffer = ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength);

import type { Mutation } from '../replication/mutation.js';
import { guardUntil } from '../replication/mutation.js';
import type {
  ApplyOptions,
  ApplyOutcome,
  Beat,
  FenceOutcome,
  LeaseOutcome,
  LeaseRequest,
  LiveKey,
  MarksExchange,
  MarksRecord,
  MarksState,
  ReclaimOptions,
  Remote,
  RemoteRead,
  RemoteVersions,
} from '../replication/remote.js';
import { Beacons } from './beacons.js';
import { Keyspace, markField, markName } from './keyspace.js';
import type { RedisLink } from './link.js';
import { noticesOf, telling } from './notices.js';
import { valueOf } from './pipeline.js';
import { describeError, reactionTo } from './redis-errors.js';
import {
  header,
  infoField,
  marksState,
  mget,
  millisecondsOf,
  remoteValue,
  time,
  versionInHeader,
} from './replies.js';
import type { Reply, Request } from './requests.js';
import { ValueScan } from './scan.js';
import { APPLY, EXCHANGE_MARKS, FENCE, LEASE, RELEASE, REMOVE_BYTES, RENEW } from './scripts.js';

export interface RedisRemoteOptions {
  readonly connection: RedisLink;
  readonly namespace: string;
  /** How long a value may live from its version; guards outlive it. */
  readonly maxLifeMs: number;
}

/** Redis as the replication core sees it; see `remote.ts` for what each call promises. */
export class RedisRemote implements Remote {
  private readonly connection: RedisLink;
  private readonly keyspace: Keyspace;
  private readonly maxLifeMs: number;
  private readonly readMarks: Request;
  private readonly beacons: Beacons;
  private readonly valueScan: ValueScan;
  /** Where others are told of what is changed here. */
  private readonly notices: string | undefined;
  /** Of the record of the marks, as it was last seen. */
  private recordName = '';

  constructor({ connection, namespace, maxLifeMs }: RedisRemoteOptions) {
    this.connection = connection;
    this.keyspace = new Keyspace(connection.settings.keyPrefix, namespace);
    this.maxLifeMs = maxLifeMs;
    // Last, so that they are not older than any value that they may hide.
    this.readMarks = { run: 'HMGET', args: [this.keyspace.marks, 'i', 'r'], last: true };
    this.beacons = new Beacons(connection, this.keyspace);
    this.valueScan = new ValueScan(connection, this.keyspace);
    this.notices = noticesOf(connection.settings);
  }

  get available(): boolean {
    return this.connection.available;
  }

  async read(keys: readonly string[]): Promise<RemoteRead> {
    const places = keys.flatMap((key) => this.keyspace.all(key).slice(0, 2));
    const values = mget(places);
    const beacons = this.beacons.beside(places);
    const requests = [time(this.keyspace.marks), ...values, ...beacons, this.readMarks];
    const replies = await this.send(requests);
    const redisMs = millisecondsOf(replies[0]);
    const stored = replies
      .slice(1, 1 + values.length)
      .flatMap((reply) => valueOf(reply) as (Buffer | null)[]);
    return {
      values: keys.map((_, index) =>
        remoteValue(stored[2 * index] ?? null, stored[2 * index + 1] ?? null, redisMs),
      ),
      marks: this.marksWith(replies.at(-1), beacons, replies.slice(1 + values.length)),
    };
  }

  async check(keys: readonly string[]): Promise<RemoteVersions> {
    const places = keys.map((key) => this.keyspace.physical(key));
    const headers = places.map(header);
    const beacons = this.beacons.beside(places);
    const replies = await this.send([...headers, ...beacons, this.readMarks]);
    return {
      versions: headers.map((_, index) => versionInHeader(String(valueOf(replies[index])))),
      marks: this.marksWith(replies.at(-1), beacons, replies.slice(headers.length)),
    };
  }

  async apply(mutations: readonly Mutation[], { live, timeoutMs }: ApplyOptions): Promise<ApplyOutcome[]> {
    const requests = mutations.map(({ key, version, expiresAt, bytes }): Request => {
      const expiry = bytes === undefined ? 0 : Math.ceil(expiresAt);
      const body = bytes === undefined ? '' : asBuffer(bytes);
      const guard = guardUntil(version, this.maxLifeMs);
      const args = [version, expiry, guard, body, live ? '1' : '0'];
      return telling(APPLY, this.keyspace.all(key), args, this.notices);
    });
    if (!live) return (await this.send(requests, timeoutMs)).map(applyOutcome);
    const replies = await this.send([...requests, this.readMarks], timeoutMs);
    const marks = this.marksWith(replies.at(-1), [], []);
    return replies.slice(0, -1).map((reply) => withMarks(applyOutcome(reply), marks));
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

  async lease(
    key: string,
    { version, fenceMs, token, leaseMs, deadlineMs }: LeaseRequest,
  ): Promise<LeaseOutcome> {
    const places = [...this.keyspace.all(key), this.keyspace.lease(key)];
    const args = [...places, version, fenceMs, token, leaseMs, Math.floor(deadlineMs)];
    const [reply] = await this.send([{ run: LEASE, args }]);
    const [kind, detail] = valueOf(reply) as [LeaseOutcome['kind'], string];
    switch (kind) {
      case 'held':
        return { kind, forMs: Math.max(0, Number(detail)) };
      case 'behind':
        return { kind, version: detail };
      case 'ahead':
        return { kind, redisMs: Number(detail) };
      case 'fenced':
        return { kind, known: detail };
      case 'late':
        return { kind };
    }
  }

  async renew(key: string, token: string, leaseMs: number): Promise<boolean> {
    const [reply] = await this.send([{ run: RENEW, args: [this.keyspace.lease(key), token, leaseMs] }]);
    return valueOf(reply) === 1;
  }

  async release(key: string, token: string): Promise<void> {
    const [reply] = await this.send([telling(RELEASE, [this.keyspace.lease(key)], [token], this.notices)]);
    valueOf(reply);
  }

  async exchangeMarks(
    ours: MarksRecord,
    incarnationIfMissing: string,
    since?: MarksState,
  ): Promise<MarksExchange> {
    const fresh = await this.beacons.check(incarnationIfMissing);
    const isSame = since !== undefined && since.incarnation === this.beacons.incarnationOf(this.recordName);
    const known = isSame ? [this.recordName, String(since.revision)] : ['', '-1'];
    const args = [fresh, this.beacons.needed ? '0' : '1', ...known];
    for (const [name, version] of ours) args.push(markField(name), version);
    const [reply] = await this.send([telling(EXCHANGE_MARKS, [this.keyspace.marks], args, this.notices)]);
    const [created, name, revision, news, redisMs] = valueOf(reply) as [
      number,
      string,
      string,
      string[],
      string,
    ];
    this.recordName = name;
    const marks = new Map<string, string>();
    for (let at = 0; at < news.length; at += 2) marks.set(markName(news[at] ?? ''), news[at + 1] ?? '');
    const incarnation = this.beacons.incarnationOf(name);
    return {
      incarnation,
      revision: Number(revision),
      marks,
      isWhole: !isSame || incarnation !== since.incarnation,
      created: created === 1,
      redisMs: Number(redisMs),
    };
  }

  async hello(): Promise<{ runId: string; redisMs: number }> {
    this.beacons.forget();
    const [[now], runIds] = await Promise.all([this.send([this.ownTime]), this.ofEach('server', 'run_id')]);
    return { runId: runIds.sort().join(), redisMs: millisecondsOf(now) };
  }

  async beat(): Promise<Beat> {
    const beacons = this.beacons.ofAll();
    const [[now, ...replies], evicted] = await Promise.all([
      this.send([this.ownTime, ...beacons, this.readMarks]),
      this.ofEach('stats', 'evicted_keys'),
    ]);
    return {
      redisMs: millisecondsOf(now),
      marks: this.marksWith(replies.at(-1), beacons, replies),
      evictedKeys: evicted.reduce((sum, count) => sum + Number(count), 0),
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

  /** The clock that this follows: always the same one of several, for theirs may differ. */
  private get ownTime(): Request {
    return time(this.connection.settings.keyPrefix);
  }

  /** A field of each master's INFO. */
  private async ofEach(section: string, field: string): Promise<string[]> {
    const replies = await Promise.all(
      this.connection.masters.map((master) => master.send([{ run: 'INFO', args: [section] }])),
    );
    return replies.map(([info]) => infoField(info, field));
  }

  private marksWith(
    marks: Reply | undefined,
    beacons: readonly Request[],
    replies: readonly Reply[],
  ): MarksState | undefined {
    const state = marksState(marks);
    const known = this.beacons.areKnown(beacons, replies);
    return state && { ...state, incarnation: this.beacons.incarnationOf(state.incarnation, known) };
  }

  private send(requests: readonly Request[], timeoutMs?: number): Promise<readonly Reply[]> {
    return this.connection.send(requests, timeoutMs === undefined ? undefined : { timeoutMs });
  }
}

const withMarks = (outcome: ApplyOutcome, marks: MarksState | undefined): ApplyOutcome =>
  outcome.kind === 'applied' ? { ...outcome, marks } : outcome;

function applyOutcome([error, value]: Reply): ApplyOutcome {
  if (error !== null) {
    return { kind: 'refused', reason: describeError(error), ofAll: reactionTo(error) !== undefined };
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

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { StorageUnavailableError } from '../cache.errors.js';
import type { ChangeNews } from './change-news.js';
import { changeNews, meaningOf, notesOn } from './change-news.js';
import type { RedisSettings } from './client.js';
import { databaseOf } from './client.js';
import type { Diagnosis } from './diagnosis.js';
import { diagnose, evictionMeaning } from './diagnosis.js';
import type { RedisLink, RedisMaster } from './link.js';
import { noticesOf } from './notices.js';
import { openRedis } from './open-redis.js';
import { valueOf } from './pipeline.js';
import type { Argument } from './requests.js';

const PINGS = 200;
/** Short enough to wait for, long enough to tell an expiry in milliseconds from one in seconds. */
const EXPIRY_MS = 300;
/** Redis looks for expired keys on every access, so a key is gone within a round trip of its time. */
const EXPIRY_TOLERANCE_MS = 500;
/** Nothing of the examination outlives this, even if it is killed in the middle. */
const LEFTOVER_EXPIRY_MS = 10_000;
/** Beside the time-outs of connecting and of the handshake, for their timers to fire. */
const SLACK_MS = 500;
/** Entries expire at an absolute time of the instance's clock. */
const CLOCK_DIFFERENCE_NOTED_MS = 1000;
/** Athena refuses what is stamped five minutes ahead (`CLOCK_AHEAD_MS`), by the clock of each server. */
const CLOCKS_APART_MS = 4 * 60_000;
const PXAT_SINCE = [6, 2] as const;

export type Step = { readonly name: string; readonly ms: number } & (
  | { readonly ok: true; readonly detail: string }
  | ({ readonly ok: false; readonly reply: string } & Diagnosis)
);

/** Of several masters: the sums, and whatever they have, each once. */
export interface ServerFacts {
  readonly masters: number;
  readonly version: string;
  readonly mode: string;
  readonly role: string;
  readonly usedMemoryBytes: number;
  /** 0: no limit. */
  readonly maxMemoryBytes: number;
  readonly evictionPolicy: string;
  readonly evictionMeaning: string;
  readonly evictedKeys: number;
  /** `unknown` where the server does not let its configuration be read. */
  readonly persistence: { readonly aof: string; readonly rdb: string };
  /** Positive: the server's clock is ahead of this machine's. Of several the one that is farthest off. */
  readonly clockAheadMs: number;
}

export interface Latency {
  readonly pings: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface Examination {
  readonly ok: boolean;
  /** `host:port`, without credentials. */
  readonly address: string;
  readonly tls: boolean;
  readonly database: number;
  readonly keyPrefix: string;
  readonly steps: readonly Step[];
  readonly server?: ServerFacts;
  readonly latency?: Latency;
  readonly changes?: ChangeNews;
  /** What works and should be looked at all the same. */
  readonly notes: readonly string[];
}

/** Tries everything that Athena needs of Redis, over the connection that Athena itself uses; never throws. */
export async function examineRedis(settings: RedisSettings): Promise<Examination> {
  const failed = Promise.withResolvers<string>();
  const connection = openRedis(settings, {
    onEvent: (event) => {
      if (event.type === 'error') failed.resolve(event.message);
    },
  });
  try {
    const connected = await connect(connection, failed.promise);
    const target = { address: connection.address, ...destination(settings), keyPrefix: settings.keyPrefix };
    if (!connected.ok) return { ok: false, ...target, steps: [connected], notes: [] };
    return { ...target, ...(await examine(connection, connected)) };
  } finally {
    await connection.close();
  }
}

/** As `createRedisClient` understands the settings. */
function destination(settings: RedisSettings): { tls: boolean; database: number } {
  const parsed = settings.url === undefined ? null : URL.parse(settings.url);
  return {
    tls: parsed === null ? settings.tls : parsed.protocol === 'rediss:',
    database: databaseOf(settings),
  };
}

/** One attempt; an error ends it even where the client would go on, as with a database that does not exist. */
async function connect(connection: RedisLink, failed: Promise<string>): Promise<Step> {
  const { connectTimeoutMs, commandTimeoutMs } = connection.settings;
  const handshakeMs = Math.max(connectTimeoutMs, commandTimeoutMs * 2);
  const begun = performance.now();
  const settled = connection.settled(connectTimeoutMs + handshakeMs + SLACK_MS);
  const error = await Promise.race([failed, settled.then(() => undefined)]);
  const ms = elapsed(begun);
  if (error === undefined && connection.available) {
    return { name: 'connect', ok: true, ms, detail: 'the handshake is done' };
  }
  // By now every failure is an error, or a time-out: the client waits without a word only while Redis loads.
  const reply = error ?? 'LOADING: connected, and not ready in time';
  return { name: 'connect', ok: false, ms, reply, ...diagnose(reply, destination(connection.settings)) };
}

async function examine(
  connection: RedisLink,
  connected: Step,
): Promise<Omit<Examination, 'address' | 'tls' | 'database' | 'keyPrefix'>> {
  const key = `${connection.settings.keyPrefix}redis-check:${randomUUID()}`;
  const steps = [connected];
  const notes: string[] = [];
  const attempt = async (name: string, work: () => Promise<string>): Promise<boolean> => {
    const begun = performance.now();
    try {
      const detail = await work();
      steps.push({ name, ok: true, ms: elapsed(begun), detail });
      return true;
    } catch (error) {
      const reply = replyOf(error);
      const explained =
        error instanceof UnexpectedAnswerError ? error : diagnose(reply, destination(connection.settings));
      const { problem, advice } = explained;
      steps.push({ name, ok: false, ms: elapsed(begun), reply, problem, advice });
      return false;
    }
  };

  let server: ServerFacts | undefined;
  let latency: Latency | undefined;
  let changes: ChangeNews | undefined;
  await attempt('inspect', async () => {
    server = await inspect(connection);
    return `Redis ${server.version}${server.masters === 1 ? '' : `, ${server.masters} masters`}`;
  });
  // Where nothing can be written, the others would only repeat it.
  if (await attempt('set', () => trySet(connection, key))) {
    await attempt('get', () => tryGet(connection, key));
    await attempt('delete', () => tryDelete(connection, key));
    await attempt('expire', () => tryExpiry(connection, key));
    await attempt('changes', async () => {
      changes = await changeNews(connection);
      return meaningOf(changes);
    });
  }
  await attempt('ping', async () => {
    latency = await measureLatency(connection);
    return `${PINGS} answered`;
  });
  if (server !== undefined) notes.push(...notesOnServer(server));
  if (changes !== undefined) notes.push(...notesOn(changes, noticesOf(connection.settings)));
  if (Math.abs(server?.clockAheadMs ?? 0) > CLOCKS_APART_MS && server?.masters !== 1) {
    notes.push(
      "A master's clock is more than four minutes off: at five the others' writes are refused there.",
    );
  }
  if (latency !== undefined && latency.p99Ms > connection.settings.commandTimeoutMs / 2) {
    notes.push(
      `p99 is near REDIS_COMMAND_TIMEOUT_MS (${connection.settings.commandTimeoutMs} ms): calls will time out under load.`,
    );
  }
  return {
    ok: steps.every(({ ok }) => ok),
    steps,
    notes,
    ...(server === undefined ? {} : { server }),
    ...(latency === undefined ? {} : { latency }),
    ...(changes === undefined ? {} : { changes }),
  };
}

async function inspect(connection: RedisLink): Promise<ServerFacts> {
  const all = await Promise.all(connection.masters.map(inspectMaster));
  const [first, ...others] = all;
  if (first === undefined) throw new StorageUnavailableError('redis', 'there is no master');
  return others.reduce(combined, first);
}

async function inspectMaster(master: RedisMaster): Promise<ServerFacts> {
  const info = infoFields(String(await ask(master, 'INFO')));
  const { serverMs, localMs } = await clocks(master);
  const policy = info.get('maxmemory_policy') ?? 'unknown';
  const maxMemoryBytes = Number(info.get('maxmemory') ?? 0);
  return {
    masters: 1,
    version: info.get('redis_version') ?? 'unknown',
    mode: info.get('redis_mode') ?? 'unknown',
    role: info.get('role') ?? 'unknown',
    usedMemoryBytes: Number(info.get('used_memory') ?? 0),
    maxMemoryBytes,
    evictionPolicy: policy,
    evictionMeaning: evictionMeaning(policy, maxMemoryBytes),
    evictedKeys: Number(info.get('evicted_keys') ?? 0),
    persistence: {
      aof: info.get('aof_enabled') === '1' ? `on, fsync ${await configured(master, 'appendfsync')}` : 'off',
      rdb: await snapshots(master),
    },
    clockAheadMs: Math.round(serverMs - localMs),
  };
}

function combined(a: ServerFacts, b: ServerFacts): ServerFacts {
  const each = (one: string, other: string): string =>
    one.split('; ').includes(other) ? one : `${one}; ${other}`;
  const limited = a.maxMemoryBytes > 0 && b.maxMemoryBytes > 0;
  return {
    masters: a.masters + b.masters,
    version: each(a.version, b.version),
    mode: each(a.mode, b.mode),
    role: each(a.role, b.role),
    usedMemoryBytes: a.usedMemoryBytes + b.usedMemoryBytes,
    maxMemoryBytes: limited ? a.maxMemoryBytes + b.maxMemoryBytes : 0,
    evictionPolicy: each(a.evictionPolicy, b.evictionPolicy),
    evictionMeaning: each(a.evictionMeaning, b.evictionMeaning),
    evictedKeys: a.evictedKeys + b.evictedKeys,
    persistence: {
      aof: each(a.persistence.aof, b.persistence.aof),
      rdb: each(a.persistence.rdb, b.persistence.rdb),
    },
    clockAheadMs: Math.abs(a.clockAheadMs) < Math.abs(b.clockAheadMs) ? b.clockAheadMs : a.clockAheadMs,
  };
}

/** The key of a command is its first argument. */
async function ask(server: RedisMaster, command: string, ...args: Argument[]): Promise<unknown> {
  return valueOf((await server.send([{ run: command, args }]))[0]);
}

/** The server's time, and this machine's at the middle of the round trip. */
async function clocks(master: RedisMaster): Promise<{ serverMs: number; localMs: number }> {
  const before = Date.now();
  const [seconds, microseconds] = (await ask(master, 'TIME')) as [string, string];
  const serverMs = Number(seconds) * 1000 + Number(microseconds) / 1000;
  return { serverMs, localMs: (before + Date.now()) / 2 };
}

async function snapshots(master: RedisMaster): Promise<string> {
  const points = await configured(master, 'save');
  if (points === 'unknown') return points;
  return points === '' ? 'off' : `on (save ${points})`;
}

/** Managed servers, and careful ACLs, do not let CONFIG be read; nothing depends on it. */
async function configured(master: RedisMaster, name: string): Promise<string> {
  try {
    const reply = await ask(master, 'CONFIG', 'GET', name);
    const value = Array.isArray(reply) ? reply[1] : (reply as Record<string, unknown>)[name];
    return typeof value === 'string' ? value : 'unknown';
  } catch {
    return 'unknown';
  }
}

async function trySet(connection: RedisLink, key: string): Promise<string> {
  const { serverMs } = await clocks(connection.masterOf(key));
  const expiresAt = Math.round(serverMs) + LEFTOVER_EXPIRY_MS;
  await ask(connection, 'SET', key, key, 'PXAT', expiresAt);
  return 'under the configured prefix';
}

async function tryGet(connection: RedisLink, key: string): Promise<string> {
  const value = await ask(connection, 'GET', key);
  if (value !== key) {
    throw new UnexpectedAnswerError(
      value === null ? 'nothing' : 'another value',
      'What was just written cannot be read back.',
      'A proxy or a replica in between serves older data: connect to the primary.',
    );
  }
  return 'the value written';
}

async function tryDelete(connection: RedisLink, key: string): Promise<string> {
  await ask(connection, 'UNLINK', key);
  const value = await ask(connection, 'GET', key);
  if (value !== null) {
    throw new UnexpectedAnswerError(
      'the value',
      'What was just deleted can still be read.',
      'A proxy or a replica in between serves older data: connect to the primary.',
    );
  }
  return 'gone';
}

/** Redis reads PXAT by its own clock, so the expiry is set and the life measured by that. */
async function tryExpiry(connection: RedisLink, key: string): Promise<string> {
  const { serverMs } = await clocks(connection.masterOf(key));
  const begun = performance.now();
  const expiresAt = Math.round(serverMs) + EXPIRY_MS;
  await ask(connection, 'SET', key, key, 'PXAT', expiresAt);
  while ((await ask(connection, 'EXISTS', key)) === 1) {
    if (performance.now() - begun > EXPIRY_MS + EXPIRY_TOLERANCE_MS) {
      await ask(connection, 'UNLINK', key);
      throw new UnexpectedAnswerError(
        'the value',
        `A key with ${EXPIRY_MS} ms to live is still there ${EXPIRY_TOLERANCE_MS} ms after its time.`,
        'The server does not honour PXAT: use Redis 6.2 or later, without a proxy that rewrites commands.',
      );
    }
    await sleep(5);
  }
  return `${EXPIRY_MS} ms asked, gone after ${Math.round(performance.now() - begun)} ms`;
}

async function measureLatency(connection: RedisLink): Promise<Latency> {
  const times: number[] = [];
  for (let count = 0; count < PINGS; count += 1) {
    const begun = performance.now();
    const master = connection.masters[count % connection.masters.length];
    if (master !== undefined) await ask(master, 'PING');
    times.push(performance.now() - begun);
  }
  times.sort((a, b) => a - b);
  const quantile = (part: number): number => rounded(times[Math.ceil(times.length * part) - 1] ?? 0);
  return { pings: PINGS, p50Ms: quantile(0.5), p99Ms: quantile(0.99), maxMs: quantile(1) };
}

function notesOnServer(server: ServerFacts): string[] {
  const notes: string[] = [];
  const [major = 0, minor = 0] = server.version.split(/[.;]/).map(Number);
  if (major < PXAT_SINCE[0] || (major === PXAT_SINCE[0] && minor < PXAT_SINCE[1])) {
    notes.push(`Redis ${server.version} is too old: Athena needs ${PXAT_SINCE.join('.')} or later.`);
  }
  if (server.evictedKeys > 0) {
    notes.push(`${server.evictedKeys} keys were evicted since the server started: memory is short.`);
  }
  if (server.persistence.aof === 'off' && server.persistence.rdb === 'off') {
    notes.push(
      'Nothing is persisted: after a restart of Redis the instances write back what they still have.',
    );
  }
  if (Math.abs(server.clockAheadMs) > CLOCK_DIFFERENCE_NOTED_MS) {
    notes.push(
      `The clocks differ by ${Math.abs(server.clockAheadMs)} ms, so entries live that much longer or shorter: run NTP on both machines.`,
    );
  }
  return notes;
}

/** Redis answered, without an error, what it should not. */
class UnexpectedAnswerError extends Error {
  constructor(
    answer: string,
    readonly problem: string,
    readonly advice: string,
  ) {
    super(answer);
  }
}

function replyOf(error: unknown): string {
  if (error instanceof StorageUnavailableError) return error.reason;
  return error instanceof Error ? error.message : String(error);
}

function infoFields(text: string): Map<string, string> {
  return new Map(
    text.split('\r\n').flatMap((line): [string, string][] => {
      const colon = line.indexOf(':');
      return colon > 0 ? [[line.slice(0, colon), line.slice(colon + 1)]] : [];
    }),
  );
}

const elapsed = (begun: number): number => rounded(performance.now() - begun);
const rounded = (ms: number): number => Math.round(ms * 1000) / 1000;

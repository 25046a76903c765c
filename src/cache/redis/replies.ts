import { CLOCK_AHEAD_MS } from '../replication/mutation.js';
import type { MarksState, RemoteValue } from '../replication/remote.js';
import { valueOf } from './pipeline.js';
import type { Reply, Request } from './requests.js';

/** What the requests of the remote and the scan have in common, and what the replies mean. */

/** One MGET keeps Redis from everything else. Even: a value and its guard must be read by one command. */
const KEYS_PER_MGET = 500;
const MAGIC = 'ATHN';
const VERSION = /^[0-9a-f]{32}$/;
/** Of the version in an envelope; see `envelope.ts`. */
const [VERSION_START, VERSION_END] = [8, 40];
const VERSION_LENGTH = VERSION_END - VERSION_START;

/** By the clock of the server that has the key. */
export const time = (near: string): Request => ({ run: 'TIME', args: [], near });

/** As far as the version goes. */
export const header = (place: string): Request => ({
  run: 'GETRANGE',
  args: [place, 0, VERSION_END - 1],
});

export function mget(places: readonly string[]): Request[] {
  const requests: Request[] = [];
  for (let at = 0; at < places.length; at += KEYS_PER_MGET) {
    requests.push({ run: 'MGET', args: places.slice(at, at + KEYS_PER_MGET), binary: true });
  }
  return requests;
}

/** Of `TIME`: seconds and microseconds. */
export function millisecondsOf(reply: Reply | undefined): number {
  const [seconds, microseconds] = valueOf(reply) as [string | number, string | number];
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}

export function marksState(reply: Reply | undefined): MarksState | undefined {
  const [incarnation, revision] = valueOf(reply) as (string | null)[];
  return incarnation == null ? undefined : { incarnation, revision: Number(revision ?? 0) };
}

export const infoField = (info: Reply | undefined, name: string): string =>
  new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(String(valueOf(info)))?.[1] ?? '';

/** What is stored with a version from too far ahead counts as absent, or it would block every later write. */
export function isBelievable(version: string, redisMs: number): boolean {
  return Number.parseInt(version.slice(0, 12), 16) <= redisMs + CLOCK_AHEAD_MS;
}

export function versionInHeader(header: string): string | undefined {
  const version = header.slice(VERSION_START, VERSION_END);
  return header.startsWith(MAGIC) && VERSION.test(version) ? version : undefined;
}

/**
 * The guard's version, or where that was evicted the one in the header of the value. Bytes that are no envelope are
 * given out: somebody has to find out that they are corrupt.
 */
export function remoteValue(bytes: Buffer | null, guard: Buffer | null, redisMs: number): RemoteValue {
  const inGuard = guard?.toString('latin1', 0, VERSION_LENGTH) ?? '';
  const inHeader = versionInHeader(bytes?.toString('latin1', 0, VERSION_END) ?? '');
  const headerCounts = inHeader === undefined || isBelievable(inHeader, redisMs);
  const guardCounts = VERSION.test(inGuard) && isBelievable(inGuard, redisMs);
  return {
    version: guardCounts ? inGuard : headerCounts ? inHeader : undefined,
    bytes: headerCounts ? (bytes ?? undefined) : undefined,
  };
}

import type { LiveKey, ReclaimOptions } from '../replication/remote.js';
import type { Keyspace } from './keyspace.js';
import type { RedisLink } from './link.js';
import { valueOf } from './pipeline.js';
import { isBelievable, mget, millisecondsOf, time, versionInHeader } from './replies.js';
import type { Reply, Request } from './requests.js';
import { REMOVE_VERSION } from './scripts.js';

/** A value's place in Redis, and what the plain text at its beginning says. */
interface Headed {
  readonly place: string;
  readonly header: string;
  readonly version: string;
}

const SCAN_COUNT = 500;
/** Values may be large, and a sweep is in no hurry. */
const VALUES_PER_STEP = 20;
/** See `envelope.ts`. */
const HEADER_BYTES = 82;
const EXPIRES_AT = /^ATHN01[0-9a-f]{62}([0-9a-f]{14})$/;

/** Goes through the values of one namespace, by SCAN: no command of it keeps Redis for long. */
export class ValueScan {
  constructor(
    private readonly connection: RedisLink,
    private readonly keyspace: Keyspace,
  ) {}

  /** Live values in pages, each key once. Marks are not looked at. */
  async *keys(prefix: string): AsyncIterable<LiveKey[]> {
    // SCAN may return a key more than once (redis.io/docs/latest/commands/scan, "Scan guarantees").
    const seen = new Set<string>();
    for await (const page of this.pages(prefix)) {
      const fresh = [...new Set(page)].filter((place) => !seen.has(place));
      for (const place of fresh) seen.add(place);
      yield (await this.headers(fresh)).flatMap(({ place, header, version }) => {
        const expiresAt = Number.parseInt(EXPIRES_AT.exec(header)?.[1] ?? '', 16);
        return expiresAt > 0 ? [{ key: this.keyspace.logical(place), version, expiresAt }] : [];
      });
    }
  }

  /** Removes what is dead and has not been written again meanwhile; returns how many values that were. */
  async reclaim({ clear, tagged, pause }: ReclaimOptions): Promise<number> {
    let removed = 0;
    for await (const page of this.pages('')) {
      const headed = await this.headers(page);
      removed += await this.remove(headed.filter(({ version }) => version <= clear));
      await pause();
      if (tagged === undefined) continue;
      const rest = headed.filter(({ version }) => version > clear && version <= tagged.newest);
      for (let at = 0; at < rest.length; at += VALUES_PER_STEP) {
        removed += await this.removeDead(rest.slice(at, at + VALUES_PER_STEP), tagged.isDead);
        await pause();
      }
    }
    return removed;
  }

  private async removeDead(
    headed: readonly Headed[],
    isDead: (key: string, bytes: Uint8Array) => boolean,
  ): Promise<number> {
    const replies = await this.send(mget(headed.map(({ place }) => place)));
    const values = replies.flatMap((reply) => valueOf(reply) as (Buffer | null)[]);
    const dead = headed.flatMap(({ place }, index): Headed[] => {
      const bytes = values[index] ?? undefined;
      if (bytes === undefined || !isDead(this.keyspace.logical(place), bytes)) return [];
      // It may have been written since its header was read: what was judged is what goes.
      return [headedBy(place, bytes)].filter((found) => found !== undefined);
    });
    return this.remove(dead);
  }

  private async remove(headed: readonly Headed[]): Promise<number> {
    const requests = headed.map(({ place, version }): Request => {
      return { run: REMOVE_VERSION, args: [place, version] };
    });
    return (await this.send(requests)).filter((reply) => valueOf(reply) === 1).length;
  }

  /** Of those that are there, can be read, and can be believed. */
  private async headers(places: readonly string[]): Promise<Headed[]> {
    if (places.length === 0) return [];
    const ranges = places.map((place): Request => {
      return { run: 'GETRANGE', args: [place, 0, HEADER_BYTES - 1], binary: true };
    });
    const [now, ...replies] = await this.send([time(places[0] ?? ''), ...ranges]);
    const redisMs = millisecondsOf(now);
    // An error reply is somebody else's list or hash, under a name of ours.
    return replies.flatMap(([, bytes], index) => {
      const found = Buffer.isBuffer(bytes) ? headedBy(places[index] ?? '', bytes) : undefined;
      return found !== undefined && isBelievable(found.version, redisMs) ? [found] : [];
    });
  }

  private async *pages(prefix: string): AsyncIterable<string[]> {
    const pattern = this.keyspace.pattern(prefix);
    for (const master of this.connection.masters) {
      let cursor = '0';
      do {
        const args = [cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT];
        const [reply] = await master.send([{ run: 'SCAN', args }]);
        const [next, page] = valueOf(reply) as [string, string[]];
        cursor = next;
        yield page;
      } while (cursor !== '0');
    }
  }

  private send(requests: readonly Request[]): Promise<readonly Reply[]> {
    return this.connection.send(requests);
  }
}

function headedBy(place: string, bytes: Buffer): Headed | undefined {
  const header = bytes.toString('latin1', 0, HEADER_BYTES);
  const version = versionInHeader(header);
  return version === undefined ? undefined : { place, header, version };
}

import { createHash } from 'node:crypto';
import type { Keyspace } from './keyspace.js';
import type { RedisLink, RedisMaster } from './link.js';
import { valueOf } from './pipeline.js';
import type { Reply, Request } from './requests.js';
import { BEACON } from './scripts.js';
import { tagsOfParts } from './slots.js';

const TAGS = tagsOfParts();
const BIRTH = /^[0-9a-f]+/;

/**
 * How the loss of one master's data is noticed, where there are several: the record of the marks is on one of them and
 * says nothing of the others. In each part of the slots lies a key that holds the name of its incarnation; it moves with
 * its slot, so it is missing or different only if the data beside it were lost. A master with so few slots that no
 * beacon is among them is not watched. With one master there are none: the record of the marks is enough.
 */
export class Beacons {
  private readonly places: readonly string[];
  private names = new Map<string, string>();
  private checked = false;
  private byMaster = new Map<RedisMaster, string | undefined>();

  constructor(
    private readonly connection: RedisLink,
    keyspace: Keyspace,
  ) {
    this.places = TAGS.map((tag) => keyspace.beacon(tag));
  }

  get needed(): boolean {
    return this.connection.masters.length > 1;
  }

  /** Of the masters that have these keys, one each; to be read after the keys. */
  beside(keys: readonly string[]): Request[] {
    if (!this.needed) return [];
    const places = new Set(keys.map((key) => this.ofMaster(this.connection.masterOf(key))));
    return [...places].flatMap((place) => (place === undefined ? [] : [{ run: 'GET', args: [place] }]));
  }

  /** One of each master. */
  ofAll(): Request[] {
    if (!this.needed) return [];
    const places = this.connection.masters.map((master) => this.ofMaster(master));
    return places.flatMap((place) => (place === undefined ? [] : [{ run: 'GET', args: [place] }]));
  }

  /** Whether what they answered is what was there at the last check; if not, there has to be another one. */
  areKnown(requests: readonly Request[], replies: readonly Reply[]): boolean {
    const known = requests.every(({ args }, index) => {
      return this.names.get(String(args[0])) === valueOf(replies[index]);
    });
    if (!known) this.checked = false;
    return known;
  }

  forget(): void {
    this.checked = false;
  }

  /**
   * Looks at all of them, unless nothing has happened since it did, and lights those that are out. `fresh` begins with
   * the time in hex, which gives way to 0 where no master has any data. Returns the name for a new record of marks.
   */
  async check(fresh: string): Promise<string> {
    if (!this.needed || this.checked) return fresh;
    const { connection, places } = this;
    const sizes = await Promise.all(
      connection.masters.map((master) => master.send([{ run: 'DBSIZE', args: [] }])),
    );
    const isEmpty = sizes.every(([size]) => Number(valueOf(size)) === 0);
    const name = isEmpty ? fresh.replace(BIRTH, '0') : fresh;
    const replies = await connection.send(places.map((place) => ({ run: BEACON, args: [place, name] })));
    this.names = new Map(places.map((place, index) => [place, String(valueOf(replies[index]))]));
    this.checked = true;
    return name;
  }

  /** The incarnation of all of Redis: the youngest birth of its parts, and a digest that no two have in common. */
  incarnationOf(record: string, known = true): string {
    if (!this.needed) return record;
    const births = [record, ...this.names.values()].map((name) => Number.parseInt(name, 16) || 0);
    const digest = createHash('sha1')
      .update([...this.names.values()].join())
      .digest('hex')
      .slice(0, 16);
    const birth = births.reduce((youngest, each) => Math.max(youngest, each), 0);
    return `${birth.toString(16)}-${record.replace(BIRTH, '').slice(1)}+${known ? digest : 'changed'}`;
  }

  /** It may have moved on with its slot since it was found. */
  private ofMaster(master: RedisMaster): string | undefined {
    const { connection, places } = this;
    const found = this.byMaster.get(master);
    if (this.byMaster.has(master) && (found === undefined || connection.masterOf(found) === master))
      return found;
    this.byMaster = new Map(connection.masters.map((each) => [each, undefined]));
    for (const place of places) this.byMaster.set(connection.masterOf(place), place);
    return this.byMaster.get(master);
  }
}

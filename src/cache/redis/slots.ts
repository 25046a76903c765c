import type { RedisAddress } from './client.js';

/** Which slot a key is in, and which server has the slot (redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec). */

export const SLOTS = 16_384;

/** CRC-16/XMODEM, polynomial 0x1021, as in the appendix of the specification. */
const CRC16 = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  return crc;
});

/** Of the hash tag, where the key has one that is not empty. */
export function slotOf(key: string): number {
  const open = key.indexOf('{');
  const close = open < 0 ? -1 : key.indexOf('}', open + 1);
  const hashed = Buffer.from(close > open + 1 ? key.slice(open + 1, close) : key);
  let crc = 0;
  for (const byte of hashed) crc = ((crc << 8) & 0xff00) ^ (CRC16[(crc >> 8) ^ byte] ?? 0);
  return crc % SLOTS;
}

/** The slots in so many equal parts. */
export const PARTS = 64;

/** A hash tag in each part of the slots; always the same ones. */
export function tagsOfParts(): string[] {
  const tags: string[] = [];
  let found = 0;
  for (let n = 0; found < PARTS; n += 1) {
    const part = Math.floor(slotOf(String(n)) / (SLOTS / PARTS));
    if (tags[part] !== undefined) continue;
    tags[part] = String(n);
    found += 1;
  }
  return tags;
}

/** Who has which slots, as one node of a cluster sees it. */
export interface SlotMap {
  readonly masters: readonly RedisAddress[];
  readonly replicas: readonly RedisAddress[];
  /** By slot; undefined where nobody has it. */
  readonly owners: readonly (RedisAddress | undefined)[];
}

type NodeReply = readonly [host: string | null, port: number | string, ...rest: unknown[]];

/**
 * The reply to CLUSTER SLOTS. A node that does not know its own name means the one that was asked
 * (redis.io/docs/latest/commands/cluster-slots).
 */
export function readSlotMap(reply: unknown, asked: RedisAddress): SlotMap {
  const known = new Map<string, RedisAddress>();
  const address = ([host, port]: NodeReply): RedisAddress => {
    const found = {
      host: host === null || host === '' || host === '?' ? asked.host : host,
      port: Number(port),
    };
    const name = `${found.host} ${found.port}`;
    const same = known.get(name) ?? found;
    known.set(name, same);
    return same;
  };
  const [masters, replicas] = [new Set<RedisAddress>(), new Set<RedisAddress>()];
  const owners: (RedisAddress | undefined)[] = Array.from({ length: SLOTS });
  for (const range of reply as [from: number, to: number, ...nodes: NodeReply[]][]) {
    const [from, to, first, ...others] = range;
    if (first === undefined) continue;
    const master = address(first);
    masters.add(master);
    owners.fill(master, Number(from), Number(to) + 1);
    for (const node of others) replicas.add(address(node));
  }
  return { masters: [...masters], replicas: [...replicas], owners };
}

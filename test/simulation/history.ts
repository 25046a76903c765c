import type { Landing } from '../../src/cache/replication/replica.js';

/** What the oracle remembers of the world: every process, write and mark, in the order of the events. */
export interface ProcessRecord {
  readonly node: number;
  readonly generation: number;
  readonly durable: boolean;
  /** When it died. */
  endedAt: number | undefined;
  /** Its outbox was full at some time: it may forget, and give up values. */
  overflowed: boolean;
  /** Its clock was set while it ran: it can't tell how long ago something was. */
  stepped: boolean;
}

export type Outcome = 'running' | Landing;

interface Accepted {
  readonly process: ProcessRecord;
  /** Orders of events, not times. */
  readonly begunAt: number;
  endedAt: number | undefined;
  outcome: Outcome;
  version: string;
  /** When Redis first had it. */
  appliedAt: number | undefined;
  /** How far its clock may have been off when it was stamped; undefined if it was off by more than it claimed. */
  errorMs: number | undefined;
  /** Which of the clocks of Redis it went by. */
  redisClock: number;
  /** A later one of its own process has taken its place there, by order and not by version: a clock was wrong. */
  replaced: boolean;
}

export interface WriteRecord extends Accepted {
  readonly id: number;
  readonly kind: 'set' | 'delete' | 'compute';
  readonly key: string;
  readonly tags: readonly string[];
  expiresAt: number;
  /** Its owner, or Redis, shrank it to a tombstone. */
  shrunk: boolean;
  /** It had expired by a former clock of Redis. */
  lapsed: boolean;
  /** A factory's: when its version was issued, when it ended, and when its fence was put up in Redis. */
  issuedAt: number | undefined;
  completedAt: number | undefined;
  fencedAt: number | undefined;
  issuedMs: number;
  /** When Redis first had it, or something newer. */
  appliedMs: number | undefined;
  /** When Redis first had something newer. */
  coveredAt: number | undefined;
}

export interface MarkRecord extends Accepted {
  /** `clear`, `floor` or `tag:...`. */
  readonly name: string;
}

export interface ReadRecord {
  readonly process: ProcessRecord;
  readonly keys: readonly string[];
  readonly begunAt: number;
  readonly begunMs: number;
  /** The marks that Redis had when it began. */
  readonly marks: ReadonlyMap<string, string> | undefined;
}

/** What is served must be as it was written. */
export interface Payload {
  readonly id: number;
  /** How many bytes it is. */
  readonly pad: number;
}

export const isDead = ({ process }: Accepted): boolean => process.endedAt !== undefined;
export const isAccepted = ({ outcome }: Accepted): boolean => outcome === 'redis' || outcome === 'outbox';
export const endedBefore = ({ endedAt }: Accepted, order: number): boolean =>
  endedAt !== undefined && endedAt < order;

/** Whether a mark of this name is about an entry with these tags. */
export function concerns(name: string, tags: readonly string[]): boolean {
  if (name === 'clear') return true;
  if (name === 'floor') return tags.length > 0;
  return tags.includes(name.slice('tag:'.length));
}

/** The mark that hides such an entry, if any does. */
export function hiddenBy(
  marks: Iterable<readonly [name: string, version: string]>,
  { version, tags }: { readonly version: string; readonly tags: readonly string[] },
): string | undefined {
  for (const [name, mark] of marks) if (version <= mark && concerns(name, tags)) return name;
  return undefined;
}

/** A promise was broken. */
export interface Violation {
  /** As numbered in the design, or a name. */
  readonly promise: string;
  readonly detail: string;
}

export class ViolationError extends Error {
  constructor(readonly violation: Violation) {
    super(`${violation.promise}: ${violation.detail}`);
  }
}

export function violate(promise: string, detail: string): never {
  throw new ViolationError({ promise, detail });
}

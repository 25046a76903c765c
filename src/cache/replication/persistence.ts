import type { Journal } from './journal.js';
import type { Outbox, OutboxItem } from './outbox.js';

/** What a replica knows of the Redis that it was last connected to. */
export interface Acquaintance {
  readonly runId: string;
  readonly incarnation: string;
}

export interface Memory {
  readonly items: readonly OutboxItem[];
  readonly marks: ReadonlyMap<string, string>;
  readonly acquaintance: Acquaintance | undefined;
  /** The greatest version that was made or seen. */
  readonly version: string;
}

interface ItemHead {
  readonly key: string;
  readonly version: string;
  readonly expiresAt: number;
  readonly state: OutboxItem['state'];
  readonly sinceMs: number;
}

const ITEM = 'item:';
const MARKS = 'marks';
const STATE = 'state';
const NOTHING: Memory = { items: [], marks: new Map(), acquaintance: undefined, version: '' };

/** What of a replica is written to the journal, where there is one; without, all of it does nothing. */
export class Persistence {
  private readonly written = new Set<string>();

  constructor(
    private readonly journal: Journal | undefined,
    private readonly outbox: Outbox,
  ) {}

  get isDurable(): boolean {
    return this.journal !== undefined;
  }

  async load(): Promise<Memory> {
    if (this.journal === undefined) return NOTHING;
    const items: OutboxItem[] = [];
    const rest: Partial<Memory>[] = [];
    for (const [id, bytes] of await this.journal.load()) {
      if (id.startsWith(ITEM)) items.push(this.readItem(bytes));
      else rest.push(readRest(id, bytes));
    }
    return Object.assign({}, NOTHING, ...rest, { items }) as Memory;
  }

  /** Brings the records of these keys to where the outbox is; resolves when that is durable. */
  async saveItems(keys: readonly string[]): Promise<void> {
    if (this.journal === undefined) return;
    const records = new Map<string, Uint8Array | undefined>();
    for (const key of keys) {
      const item = this.outbox.get(key);
      if (item !== undefined && isKept(item)) {
        records.set(ITEM + key, encodeItem(item));
        this.written.add(key);
      } else if (this.written.delete(key)) {
        records.set(ITEM + key, undefined);
      }
    }
    await this.write(records);
  }

  saveMarks(marks: ReadonlyMap<string, string>): Promise<void> {
    return this.write(new Map([[MARKS, encodeJson([...marks])]]));
  }

  saveState(acquaintance: Acquaintance | undefined, version: string): Promise<void> {
    return this.write(new Map([[STATE, encodeJson({ acquaintance, version })]]));
  }

  private async write(records: ReadonlyMap<string, Uint8Array | undefined>): Promise<void> {
    if (records.size > 0) await this.journal?.write(records);
  }

  private readItem(bytes: Uint8Array): OutboxItem {
    const item = decodeItem(bytes);
    this.written.add(item.mutation.key);
    return item;
  }
}

function readRest(id: string, bytes: Uint8Array): Partial<Memory> {
  if (id === MARKS) return { marks: new Map(decodeJson(bytes) as [string, string][]) };
  if (id === STATE) return decodeJson(bytes) as Pick<Memory, 'acquaintance' | 'version'>;
  return {};
}

/** What Redis has of sets, it has; what it has of deletes, it may lose. */
const isKept = ({ state, mutation }: OutboxItem): boolean =>
  state === 'pending' || (state === 'acknowledged' && mutation.expiresAt === 0);

const encodeJson = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const decodeJson = (bytes: Uint8Array): unknown => JSON.parse(Buffer.from(bytes).toString());

function encodeItem({ mutation, state, sinceMs }: OutboxItem): Buffer {
  const { key, version, expiresAt, bytes } = mutation;
  const head = encodeJson({ key, version, expiresAt, state, sinceMs } satisfies ItemHead);
  const length = Buffer.allocUnsafe(4);
  length.writeUInt32BE(head.length);
  return Buffer.concat([length, head, bytes ?? Buffer.alloc(0)]);
}

function decodeItem(record: Uint8Array): OutboxItem {
  const buffer = Buffer.from(record);
  const bodyStart = 4 + buffer.readUInt32BE(0);
  const head = decodeJson(buffer.subarray(4, bodyStart)) as ItemHead;
  const { key, version, expiresAt, state, sinceMs } = head;
  const bytes = bodyStart === buffer.length ? undefined : buffer.subarray(bodyStart);
  return { mutation: { key, version, bytes, expiresAt }, state, sinceMs, refusals: 0 };
}

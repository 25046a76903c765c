import type { EntryCodec } from '../../src/cache/replication/replica-state.js';
import type { CacheEntry } from '../../src/cache/storage/cache-entry.js';
import type { Payload } from './history.js';

const INDEX_BYTES = 4;

/**
 * Envelopes at no cost: their bytes say where in this table the entry is, and are as many as its payload has. Whoever
 * opens one gets the entry that was put into it.
 */
export class EntryTable implements EntryCodec {
  private readonly entries: CacheEntry[] = [];

  constructor(private readonly onEncode: (key: string, entry: CacheEntry) => void) {}

  encode(key: string, entry: CacheEntry): Uint8Array {
    this.onEncode(key, entry);
    const bytes = Buffer.alloc(INDEX_BYTES + (entry.value as Payload).pad);
    bytes.writeUInt32BE(this.entries.push(entry) - 1);
    return bytes;
  }

  decode(_key: string, bytes: Uint8Array): CacheEntry | undefined {
    return this.open(bytes);
  }

  isDamaged(): boolean {
    return false;
  }

  open(bytes: Uint8Array): CacheEntry | undefined {
    return this.entries[new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)];
  }
}

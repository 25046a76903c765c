import type { EntryCodec } from '../replication/replica-state.js';
import type { CacheEntry } from './cache-entry.js';
import type { EnvelopeCodec } from './envelope.js';

/** The envelopes of one namespace, as replicas want them. */
export class NamespaceCodec implements EntryCodec {
  /** Bytes that gave no entry. */
  corrupt = 0;

  constructor(
    private readonly envelope: EnvelopeCodec,
    private readonly namespace: string,
  ) {}

  encode(key: string, entry: CacheEntry): Uint8Array {
    return this.envelope.encode(entry, { namespace: this.namespace, key });
  }

  decode(key: string, bytes: Uint8Array): CacheEntry | undefined {
    const decoded = this.envelope.decode(bytes, { namespace: this.namespace, key });
    if (decoded.kind === 'entry') return decoded.entry;
    this.corrupt += 1;
    return undefined;
  }

  isDamaged(key: string, bytes: Uint8Array): boolean {
    const decoded = this.envelope.decode(bytes, { namespace: this.namespace, key });
    return decoded.kind === 'corrupt' && decoded.removable;
  }
}

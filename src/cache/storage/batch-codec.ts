import type { BatchCodec } from '../redis/part-batches.js';
import type { Position } from '../redis/part-store.js';
import type { EntryAddress, EnvelopeCodec } from './envelope.js';

/**
 * Batches of parts are envelopes, so they are encrypted where values are, and lone surrogates come through. Each is good
 * for its place in its log only; for an entry it would have expired long ago.
 */
export class EnvelopeBatchCodec implements BatchCodec {
  /** Bytes that gave no parts. */
  corrupt = 0;

  constructor(
    private readonly envelope: EnvelopeCodec,
    private readonly namespace: string,
  ) {}

  /** @throws EntryTooLargeError */
  seal(key: string, position: Position, parts: readonly string[]): Buffer {
    const version = versionOf(position);
    const entry = { value: parts, version, createdAt: 0, freshUntil: 0, expiresAt: 0, tags: [] };
    return this.envelope.encode(entry, this.addressOf(key, position));
  }

  open(key: string, position: Position, bytes: Buffer): readonly string[] | undefined {
    const decoded = this.envelope.decode(bytes, this.addressOf(key, position));
    if (decoded.kind === 'entry') {
      const { value, version } = decoded.entry;
      if (version === versionOf(position) && isListOfTexts(value)) return value;
    }
    this.corrupt += 1;
    return undefined;
  }

  private addressOf(key: string, { token }: Position): EntryAddress {
    return { namespace: this.namespace, key: `${token}:${key}` };
  }
}

const versionOf = ({ index }: Position): string => index.toString(16).padStart(32, '0');

const isListOfTexts = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((part) => typeof part === 'string');

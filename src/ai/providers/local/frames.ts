/**
 * Messages between the provider and its children: JSON behind a length of four bytes, on plain pipes.
 *
 * Node's own channel (`process.send`) reads a message of any announced size into the receiver's memory before
 * anybody can refuse it. A child that hostile code has taken over must not be able to do that to the service,
 * so the limit is checked here when the length arrives, before its bytes do.
 */

const LENGTH_BYTES = 4;

/** The other side broke the protocol: too large, or not JSON. Nothing after it can be trusted. */
export class BrokenFrame extends Error {}

export function encodeFrame(message: unknown): Buffer {
  const body = Buffer.from(JSON.stringify(message), 'utf8');
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + body.length);
  frame.writeUInt32BE(body.length, 0);
  body.copy(frame, LENGTH_BYTES);
  return frame;
}

/** Collects chunks and gives back whole messages; holds at most one message of `maxBytes` and one chunk. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #bufferedBytes = 0;
  #awaitedBytes: number | undefined;

  constructor(readonly maxBytes: number) {}

  /** @throws BrokenFrame, after which the reader is of no use. */
  push(chunk: Buffer): unknown[] {
    this.#chunks.push(chunk);
    this.#bufferedBytes += chunk.length;
    const messages: unknown[] = [];
    for (;;) {
      this.#awaitedBytes ??= this.#readLength();
      if (this.#awaitedBytes === undefined || this.#bufferedBytes < this.#awaitedBytes) return messages;
      messages.push(parseBody(this.#take(this.#awaitedBytes)));
      this.#awaitedBytes = undefined;
    }
  }

  #readLength(): number | undefined {
    if (this.#bufferedBytes < LENGTH_BYTES) return undefined;
    const length = this.#take(LENGTH_BYTES).readUInt32BE(0);
    if (length > this.maxBytes) {
      throw new BrokenFrame(`a message of ${length} bytes is announced, at most ${this.maxBytes} are read`);
    }
    return length;
  }

  #take(bytes: number): Buffer {
    const all =
      this.#chunks.length === 1 ? (this.#chunks[0] ?? Buffer.alloc(0)) : Buffer.concat(this.#chunks);
    const rest = all.subarray(bytes);
    this.#chunks = rest.length > 0 ? [rest] : [];
    this.#bufferedBytes = rest.length;
    return all.subarray(0, bytes);
  }
}

function parseBody(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new BrokenFrame('a message is not JSON', { cause: error });
  }
}

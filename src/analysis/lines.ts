/** One line, without its line feed. */
export interface Line {
  /** From 1. */
  readonly number: number;
  /** Undefined for a line that is longer than it may be; its bytes were passed over. */
  readonly bytes: Buffer | undefined;
}

/** Splits a stream into lines as it arrives; no more than one line and one chunk are held. What follows the last line feed is a line too. */
export async function* linesOf(
  chunks: AsyncIterable<Uint8Array>,
  maxLineBytes: number,
): AsyncGenerator<Line, void, undefined> {
  let number = 1;
  let pieces: Uint8Array[] = [];
  let bytes = 0;
  const take = (piece: Uint8Array): void => {
    bytes += piece.length;
    if (bytes > maxLineBytes) pieces = [];
    else if (piece.length > 0) pieces.push(piece);
  };
  const line = (): Line => {
    const whole = { number, bytes: bytes > maxLineBytes ? undefined : Buffer.concat(pieces) };
    number += 1;
    pieces = [];
    bytes = 0;
    return whole;
  };
  for await (const chunk of chunks) {
    let from = 0;
    for (let to = chunk.indexOf(LINE_FEED); to !== -1; to = chunk.indexOf(LINE_FEED, from)) {
      take(chunk.subarray(from, to));
      yield line();
      from = to + 1;
    }
    take(chunk.subarray(from));
  }
  if (bytes > 0) yield line();
}

const LINE_FEED = 0x0a;

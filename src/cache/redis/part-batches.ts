import type { Position } from './part-store.js';

/** Characters of the parts of a batch, unless it is one part, and of what is sent at once, unless it is one batch. */
const BATCH_CHARACTERS = 64 * 1024;
const SENDING_CHARACTERS = 256 * 1024;

/** How parts become bytes that are good for one place in one log. */
export interface BatchCodec {
  seal(key: string, position: Position, parts: readonly string[]): Buffer;
  /** Undefined for what can't be read. */
  open(key: string, position: Position, bytes: Buffer): readonly string[] | undefined;
}

/**
 * How parts are put into batches: what is there when a batch is made. Once made it stays as it is, so that its index is
 * enough to know it again.
 */
export class PartBatches {
  /** Where each batch ends. */
  private readonly ends: number[] = [];

  constructor(private readonly parts: readonly string[]) {}

  /** The batches to be sent when so many are there; none if all are, or more than were made. */
  from(index: number): readonly (readonly string[])[] {
    const batches: (readonly string[])[] = [];
    if (index > this.ends.length) return batches;
    let characters = 0;
    for (let at = index; characters < SENDING_CHARACTERS; at += 1) {
      const start = this.ends[at - 1] ?? 0;
      const end = this.ends[at] ?? this.endAfter(start);
      if (end === start) break;
      this.ends[at] = end;
      const batch = this.parts.slice(start, end);
      batches.push(batch);
      for (const part of batch) characters += part.length;
    }
    return batches;
  }

  /** Whether nothing is left to be sent when so many are there. */
  areAllIn(count: number): boolean {
    return count > this.ends.length || (this.ends[count - 1] ?? 0) === this.parts.length;
  }

  private endAfter(start: number): number {
    let characters = 0;
    let end = start;
    for (; end < this.parts.length; end += 1) {
      characters += this.parts[end]?.length ?? 0;
      if (end > start && characters > BATCH_CHARACTERS) break;
    }
    return end;
  }
}

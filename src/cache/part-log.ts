/** Called with each part, from the first one of a run on, in order. */
export type PartListener = (part: string, run: number) => void;

/** What is beyond is told to nobody: the value has it. In UTF-16 code units, with some for each part. */
const MAX_CHARACTERS = 4 * 2 ** 20;
const CHARACTERS_PER_PART = 16;

/**
 * What a running computation has told so far, for all who wait for it: who comes late is told everything from the
 * first part on. It is of one flight and ends with it.
 */
export class PartLog {
  private parts: string[] = [];
  private run = 0;
  private characters = 0;
  private hasEnded = false;
  private readonly followers = new Set<Follower>();
  private whenHeard: (() => void) | undefined;

  /** Of the current run. */
  get all(): readonly string[] {
    return this.parts;
  }

  /** Somebody follows. */
  get isHeard(): boolean {
    return this.followers.size > 0;
  }

  append(part: string): void {
    if (this.hasEnded || this.characters > MAX_CHARACTERS) return;
    this.characters += part.length + CHARACTERS_PER_PART;
    if (this.characters > MAX_CHARACTERS) return;
    this.parts.push(part);
    for (const follower of this.followers) this.tell(follower);
  }

  /** What was told is void: another run begins. Where nothing was, this is still the same one. */
  beginAnew(): void {
    this.characters = 0;
    if (this.parts.length === 0) return;
    this.parts = [];
    this.run += 1;
  }

  /** Tells the listener at once what there is, and then what comes. One that throws is told no more. */
  follow(listener: PartListener): () => void {
    const follower = { listener, run: this.run, next: 0, isBeingTold: false };
    const isFirst = !this.isHeard;
    this.followers.add(follower);
    this.tell(follower);
    if (isFirst) this.whenHeard?.();
    return () => this.followers.delete(follower);
  }

  /** Calls `wake` whenever somebody follows after nobody did. */
  onHeard(wake: () => void): void {
    this.whenHeard = wake;
  }

  end(): void {
    this.hasEnded = true;
    this.followers.clear();
  }

  /** By position, so that a listener which brings about the next part is still told all of them in order. */
  private tell(follower: Follower): void {
    if (follower.isBeingTold) return;
    follower.isBeingTold = true;
    try {
      for (;;) {
        if (follower.run !== this.run) Object.assign(follower, { run: this.run, next: 0 });
        const part = this.parts[follower.next];
        if (part === undefined || !this.followers.has(follower)) break;
        follower.next += 1;
        follower.listener(part, follower.run);
      }
    } catch {
      this.followers.delete(follower);
    } finally {
      follower.isBeingTold = false;
    }
  }
}

interface Follower {
  readonly listener: PartListener;
  run: number;
  next: number;
  isBeingTold: boolean;
}

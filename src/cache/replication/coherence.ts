/**
 * Which local entries are known to be what Redis has, so that they need no look at it. Redis tells of every change of a
 * key (redis.io/docs/latest/develop/reference/client-side-caching); a change that comes while an entry is being fetched
 * or written spoils the fetch. Own writes are told too, and before or after their reply: that costs one more look, and
 * nothing is counted or suppressed. After a gap nothing is known any more: what was missed nobody tells again.
 */
export class Coherence {
  private armed = false;
  private epoch = 0;
  private readonly checked = new Set<string>();
  private readonly fills = new Map<string, Fill>();

  /** @param maxKeys what is beyond is looked up once more. */
  constructor(private readonly maxKeys: number) {}

  /** Whether Redis tells of changes now. */
  get isArmed(): boolean {
    return this.armed;
  }

  get size(): number {
    return this.checked.size;
  }

  /** From now on every change is told. */
  arm(): void {
    this.disarm();
    this.armed = true;
  }

  /** Changes may be missed from now on. */
  disarm(): void {
    this.armed = false;
    this.epoch += 1;
    this.checked.clear();
  }

  isChecked(key: string): boolean {
    return this.checked.has(key);
  }

  /** Before Redis is asked for the key, or told to change it. Ends with `confirm` or `abandon`. */
  begin(key: string): Fill {
    const running = this.fills.get(key);
    if (running !== undefined && running.epoch === this.epoch) {
      running.users += 1;
      return running;
    }
    const fill = { key, epoch: this.epoch, users: 1, isSpoilt: false };
    this.fills.set(key, fill);
    return fill;
  }

  /** The local entry is what Redis had, and nothing has changed since `begin`. */
  confirm(fill: Fill): void {
    this.abandon(fill);
    if (!this.armed || fill.isSpoilt || fill.epoch !== this.epoch) return;
    this.checked.add(fill.key);
    if (this.checked.size <= this.maxKeys) return;
    const [oldest] = this.checked;
    if (oldest !== undefined) this.checked.delete(oldest);
  }

  abandon(fill: Fill): void {
    fill.users -= 1;
    if (fill.users === 0 && this.fills.get(fill.key) === fill) this.fills.delete(fill.key);
  }

  /** The key has changed in Redis. */
  changed(key: string): void {
    this.checked.delete(key);
    const fill = this.fills.get(key);
    if (fill === undefined) return;
    fill.isSpoilt = true;
    // Who begins after this is not concerned.
    this.fills.delete(key);
  }
}

/** A fetch or a write of one key that is under way; shared by all that are at the same time. */
export interface Fill {
  readonly key: string;
  readonly epoch: number;
  users: number;
  isSpoilt: boolean;
}

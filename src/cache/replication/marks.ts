import type { MarksRecord } from './remote.js';

/**
 * Clears and invalidated tags, as versions: an entry at or below a mark that concerns it is a miss. So both are O(1),
 * however many entries they concern, and merge by maximum. `floor` stands for all tag marks that were given up to stay
 * within the bound: every entry with a tag, at or below it, is a miss.
 */
export const CLEAR = 'clear';
export const FLOOR = 'floor';
const TAG = 'tag:';

export class Marks {
  private clearVersion = '';
  private floorVersion = '';
  private readonly tags = new Map<string, string>();
  private foldedCount = 0;

  /** @param maxTags how many tags are remembered one by one. */
  constructor(private readonly maxTags: number) {}

  /** Everything at or below it is gone; '' before the first clear. */
  get clear(): string {
    return this.clearVersion;
  }

  get size(): number {
    return this.tags.size;
  }

  /** Tag marks that were folded into the floor. */
  get folded(): number {
    return this.foldedCount;
  }

  get isEmpty(): boolean {
    return this.clearVersion === '' && this.floorVersion === '' && this.tags.size === 0;
  }

  /** Whether any entry can be dead by its tags. */
  get hasTags(): boolean {
    return this.floorVersion !== '' || this.tags.size > 0;
  }

  /** No tag mark concerns what is above it; O(marks). */
  get newestOfTags(): string {
    let newest = this.floorVersion;
    for (const version of this.tags.values()) if (version > newest) newest = version;
    return newest;
  }

  hides({ version, tags }: { readonly version: string; readonly tags: readonly string[] }): boolean {
    if (version <= this.clearVersion) return true;
    if (tags.length === 0) return false;
    if (version <= this.floorVersion) return true;
    return this.tags.size > 0 && tags.some((tag) => version <= (this.tags.get(tag) ?? ''));
  }

  setClear(version: string): void {
    this.raise(CLEAR, version);
  }

  setTags(tags: readonly string[], version: string): void {
    for (const tag of tags) this.raise(TAG + tag, version);
    this.fold();
  }

  /** True if anything was news. */
  merge(record: MarksRecord): boolean {
    let news = false;
    for (const [name, version] of record) news = this.raise(name, version) || news;
    this.fold();
    return news;
  }

  /** What a record, which was merged into this, does not have. */
  beyond(record: MarksRecord): Map<string, string> {
    return new Map([...this.record()].filter(([name, version]) => record.get(name) !== version));
  }

  record(): Map<string, string> {
    const record = new Map<string, string>();
    if (this.clearVersion !== '') record.set(CLEAR, this.clearVersion);
    if (this.floorVersion !== '') record.set(FLOOR, this.floorVersion);
    for (const [tag, version] of this.tags) record.set(TAG + tag, version);
    return record;
  }

  /** Replaces what was stamped by a clock that had not been aligned. */
  restamp(name: string, version: string): void {
    if (name === CLEAR) this.clearVersion = version;
    else if (name === FLOOR) this.floorVersion = version;
    else this.tags.set(name.slice(TAG.length), version);
  }

  /** Forgets tag marks below `version`: whatever is as old has expired by itself. */
  expire(version: string): void {
    for (const [tag, mark] of this.tags) if (mark < version) this.tags.delete(tag);
  }

  private raise(name: string, version: string): boolean {
    if (name === CLEAR) return version > this.clearVersion && ((this.clearVersion = version), true);
    if (name === FLOOR) return version > this.floorVersion && (this.raiseFloor(version), true);
    if (!name.startsWith(TAG)) return false;
    const tag = name.slice(TAG.length);
    if (version <= this.floorVersion || version <= (this.tags.get(tag) ?? '')) return false;
    // Moved to the end: the map is in the order of change, and the oldest fold first.
    this.tags.delete(tag);
    this.tags.set(tag, version);
    return true;
  }

  private raiseFloor(version: string): void {
    this.floorVersion = version;
    for (const [tag, mark] of this.tags) if (mark <= version) this.tags.delete(tag);
  }

  /** Down to three quarters of the bound, so that it is not done for each new tag. */
  private fold(): void {
    if (this.tags.size <= this.maxTags) return;
    const before = this.tags.size;
    const versions = [...this.tags.values()].sort();
    const floor = versions[before - Math.floor(this.maxTags * 0.75) - 1];
    if (floor !== undefined) this.raiseFloor(floor);
    this.foldedCount += before - this.tags.size;
  }
}

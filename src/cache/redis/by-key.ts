/** Several of each key. */
export class ByKey<T> {
  private readonly sets = new Map<string, Set<T>>();

  add(key: string, value: T): T {
    const set = this.sets.get(key) ?? new Set();
    this.sets.set(key, set.add(value));
    return value;
  }

  delete(key: string, value: T): void {
    const set = this.sets.get(key);
    set?.delete(value);
    if (set?.size === 0) this.sets.delete(key);
  }

  of(key: string): Iterable<T> {
    return this.sets.get(key) ?? [];
  }

  *all(): Iterable<T> {
    for (const set of this.sets.values()) yield* set;
  }
}

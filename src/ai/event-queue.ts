/** What one side pushes and the other pulls, in order; what waits is bounded by whoever pushes. Iterated once. */
export class EventQueue<T> implements AsyncIterable<T> {
  private waiting: T[] = [];
  private hasEnded = false;
  private wake = (): void => {};

  push(event: T): void {
    this.waiting.push(event);
    this.wake();
  }

  /** After what was pushed before. */
  end(): void {
    this.hasEnded = true;
    this.wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      const events = this.waiting;
      this.waiting = [];
      yield* events;
      if (this.waiting.length > 0) continue;
      if (this.hasEnded) return;
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }
}

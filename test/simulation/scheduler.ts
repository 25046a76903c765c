interface Event {
  readonly atMs: number;
  readonly order: number;
  run: (() => void) | undefined;
}

/** Something that was scheduled, to take it back. */
export type Handle = Event;

/**
 * Virtual time: events in the order of their time, those of one time in the order of their scheduling. After each event
 * all promises are settled before the next one runs.
 */
export class Scheduler {
  nowMs = 0;
  private order = 0;
  private readonly heap: Event[] = [];

  after(delayMs: number, run: () => void): Handle {
    const event: Event = { atMs: this.nowMs + Math.max(0, delayMs), order: (this.order += 1), run };
    this.push(event);
    return event;
  }

  cancel(event: Handle): void {
    event.run = undefined;
  }

  /** Runs everything that is due within this time. */
  async advance(ms: number): Promise<void> {
    const endMs = this.nowMs + ms;
    // From here on within a promise, whoever the caller is.
    await Promise.resolve();
    await settled();
    for (let next = this.heap[0]; next !== undefined && next.atMs <= endMs; next = this.heap[0]) {
      this.pop();
      const { run } = next;
      if (run === undefined) continue;
      this.nowMs = next.atMs;
      run();
      await settled();
    }
    this.nowMs = endMs;
  }

  private push(event: Event): void {
    const { heap } = this;
    let at = heap.length;
    while (at > 0) {
      const parent = heap[(at - 1) >> 1];
      if (parent === undefined || !isBefore(event, parent)) break;
      heap[at] = parent;
      at = (at - 1) >> 1;
    }
    heap[at] = event;
  }

  private pop(): void {
    const { heap } = this;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const child = earlierChild(heap, at);
      const event = heap[child];
      if (event === undefined || !isBefore(event, last)) break;
      heap[at] = event;
      at = child;
    }
    heap[at] = last;
  }
}

const isBefore = (a: Event, b: Event): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);

function earlierChild(heap: readonly Event[], at: number): number {
  const [left, right] = [heap[2 * at + 1], heap[2 * at + 2]];
  return left !== undefined && right !== undefined && isBefore(right, left) ? 2 * at + 2 : 2 * at + 1;
}

/** Node runs what was given to `nextTick` from within a promise when no promise has anything left to do. */
function settled(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}

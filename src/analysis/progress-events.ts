import type { BatchCounts } from './batch-result.js';
import type { EventStream } from './event-stream.js';

/** Tells how far a batch is: at once, then at most once an interval, the latest always. */
export class ProgressEvents {
  private latest: BatchCounts | undefined;
  private timer: NodeJS.Timeout | undefined;

  /**
   * @param total of the items, where it is known
   * @param intervalMs milliseconds from one event to the next
   */
  constructor(
    private readonly stream: Pick<EventStream, 'send' | 'signal'>,
    private readonly total: number | undefined,
    private readonly intervalMs = 250,
  ) {}

  report(counts: BatchCounts): void {
    this.latest = counts;
    if (this.timer === undefined) this.tell();
  }

  /** Nothing is told any more. */
  stop(): void {
    clearTimeout(this.timer);
  }

  private tell(): void {
    this.timer = undefined;
    if (this.latest === undefined || this.stream.signal.aborted) return;
    const { total: finished, failed } = this.latest;
    this.latest = undefined;
    const total = this.total === undefined ? {} : { total: this.total };
    // Who has gone needs no progress.
    this.stream.send('progress', { finished, ...total, failed }).catch(() => {});
    this.timer = setTimeout(() => this.tell(), this.intervalMs).unref();
  }
}

import { PartLog } from './part-log.js';

/**
 * One shared computation per key: whoever asks while it runs waits for the same promise. A caller that aborts
 * leaves alone; when the last one has left, the computation's own signal is aborted. A flight is forgotten the
 * moment it settles, so a failure reaches those who waited for it and nobody after them.
 */
export class SingleFlight<T> {
  private readonly flights = new Map<string, Flight<T>>();

  /** Number of computations that run now and can be joined. */
  get size(): number {
    return this.flights.size;
  }

  /** The computation of `key`, if one runs. */
  find(key: string): Flight<T> | undefined {
    return this.flights.get(key);
  }

  /** Begins the computation of `key`; the caller has made sure that none runs, and waits for it or keeps it. */
  start(key: string, compute: Compute<T>): Flight<T> {
    const flight = new Flight(compute, () => {
      // An abandoned flight may end after its successor began.
      if (this.flights.get(key) === flight) this.flights.delete(key);
    });
    this.flights.set(key, flight);
    return flight;
  }

  /** Nobody joins the computation that runs now, of one key or of all: it goes on for those who wait for it already. */
  close(key?: string): void {
    if (key === undefined) this.flights.clear();
    else this.flights.delete(key);
  }
}

type Compute<T> = (flight: Flight<T>) => Promise<T>;

export class Flight<T> {
  private readonly controller = new AbortController();
  private readonly result: Promise<T>;
  private waiting = 0;
  private hasLanded = false;
  private log: PartLog | undefined;

  constructor(
    compute: Compute<T>,
    private readonly forget: () => void,
  ) {
    // Deferred by one turn, so that the flight is registered before the computation can look for it.
    this.result = Promise.resolve()
      .then(() => compute(this))
      .finally(() => {
        this.hasLanded = true;
        this.log?.end();
        forget();
      });
    // Everybody may have left before it fails.
    this.result.catch(() => {});
  }

  async wait(signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    this.waiting += 1;
    try {
      return await (signal === undefined ? this.result : this.untilAborted(signal));
    } finally {
      this.waiting -= 1;
      if (this.waiting === 0) this.abandon();
    }
  }

  /** Aborted when the last caller has left. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Lets it go on to its end, whoever leaves. */
  keep(): void {
    this.wait().catch(() => {});
  }

  /** What the computation has told so far. Most tell nothing, so it is made for who asks. */
  get parts(): PartLog {
    return (this.log ??= new PartLog());
  }

  /** Of the computation: a part of its value. After its end nothing is told. */
  emit(part: string): void {
    if (!this.hasLanded) this.parts.append(part);
  }

  /** Of the computation: what was told until now was another's, who has not come to an end. */
  beginAnew(): void {
    this.log?.beginAnew();
  }

  private untilAborted(signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const abort = (): void => reject(signal.reason as Error);
      signal.addEventListener('abort', abort, { once: true });
      this.result.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
    });
  }

  /** After the last waiter. */
  private abandon(): void {
    if (this.hasLanded) return;
    this.forget();
    this.controller.abort(new DOMException('Every caller has left.', 'AbortError'));
  }
}

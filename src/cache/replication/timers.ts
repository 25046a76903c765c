export interface Timers {
  set(ms: number, run: () => void): unknown;
  /** Of undefined, nothing. */
  clear(handle: unknown): void;
}

/** Those of Node; what only waits does not keep the process alive. */
export const BACKGROUND_TIMERS: Timers = {
  set: (ms, run) => setTimeout(run, ms).unref(),
  clear: (timer) => clearTimeout(timer as NodeJS.Timeout),
};

/** The wall clock of one machine: wrong from the start, fast or slow, and set by somebody now and then. */
export class MachineClock {
  private stepsMs = 0;

  constructor(
    private readonly trueMs: () => number,
    private readonly skewMs: number,
    private readonly driftPpm: number,
  ) {}

  readonly now = (): number => {
    const trueMs = this.trueMs();
    return trueMs + this.skewMs + this.stepsMs + ((trueMs - EPOCH_MS) * this.driftPpm) / 1e6;
  };

  step(byMs: number): void {
    this.stepsMs += byMs;
  }
}

/** When every simulated world begins. */
export const EPOCH_MS = 1_800_000_000_000;

/** The soft time budget of one analysis: steps ask before they start and are told how long they may take. */
export class Budget {
  readonly #endsAt: number;

  constructor(timeoutMs: number) {
    this.#endsAt = performance.now() + timeoutMs;
  }

  get remainingMs(): number {
    return Math.max(0, this.#endsAt - performance.now());
  }

  allows(stepMs: number): boolean {
    return this.remainingMs >= stepMs;
  }

  /**
   * At most `wantedMs`, at most what is left, and never zero, which the isolate would take for "no limit".
   */
  slice(wantedMs: number): number {
    return Math.max(1, Math.floor(Math.min(wantedMs, this.remainingMs)));
  }
}

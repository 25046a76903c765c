/** Work that is done once for all who asked before it began, and never twice at a time. */
export class Turns {
  private isWorking = false;
  private isAsked = false;
  private hasEnded = false;

  /** `work` never rejects. */
  constructor(private readonly work: () => Promise<void>) {}

  ask(): void {
    this.isAsked = true;
    if (!this.isWorking) void this.run();
  }

  /** What runs comes to its end. */
  end(): void {
    this.hasEnded = true;
  }

  private async run(): Promise<void> {
    this.isWorking = true;
    while (this.isAsked && !this.hasEnded) {
      this.isAsked = false;
      await this.work();
    }
    this.isWorking = false;
  }
}

/**
 * A hybrid logical clock: Kulkarni, Demirbas et al., "Logical Physical Clocks and Consistent Snapshots in Globally
 * Distributed Databases", 2014. Stamps grow on one node, and exceed every stamp that the node has observed.
 *
 * A stamp is text of fixed width in lowercase hex, because Lua compares strings by the server's locale: 12 digits
 * of milliseconds, 4 of counter, 16 of node id.
 */
export const VERSION_LENGTH = 32;

const COUNTER_LIMIT = 0x1_0000;

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

export class HybridLogicalClock {
  private lastMs = 0;
  private counter = 0;

  /**
   * @param nodeId 16 lowercase hex digits, random for each process start.
   * @param now epoch milliseconds; may step backwards, the stamps do not.
   */
  constructor(
    private readonly nodeId: string,
    private readonly now: () => number = Date.now,
  ) {
    if (!/^[0-9a-f]{16}$/.test(nodeId))
      throw new RangeError(`nodeId must be 16 lowercase hex digits; got ${nodeId}`);
  }

  /** A stamp above every earlier one of this node, and above all that it observed. */
  tick(): string {
    const nowMs = Math.floor(this.now());
    if (nowMs > this.lastMs) {
      this.lastMs = nowMs;
      this.counter = 0;
    } else if (++this.counter === COUNTER_LIMIT) {
      this.lastMs += 1;
      this.counter = 0;
    }
    return hex(this.lastMs, 12) + hex(this.counter, 4) + this.nodeId;
  }

  /** Moves the clock up to a stamp of another node, so that the next tick is above it. */
  observe(version: string): void {
    const ms = Number.parseInt(version.slice(0, 12), 16);
    const counter = Number.parseInt(version.slice(12, 16), 16);
    if (ms > this.lastMs) {
      this.lastMs = ms;
      this.counter = counter;
    } else if (ms === this.lastMs && counter > this.counter) {
      this.counter = counter;
    }
  }
}

import { CLOCK_AHEAD_MS, versionMs } from './mutation.js';

/**
 * A hybrid logical clock: Kulkarni, Demirbas et al., "Logical Physical Clocks and Consistent Snapshots in Globally
 * Distributed Databases", 2014. Stamps grow on one node, and exceed every stamp that the node has observed.
 *
 * A stamp is text of fixed width in lowercase hex, because Lua compares strings by the server's locale: 12 digits
 * of milliseconds, 4 of counter, 16 of node id.
 *
 * The milliseconds are those of Redis `TIME`, as well as they are known: each heartbeat measures the difference, right
 * to half a round trip, and a worse measurement replaces a better one only when drift has made that worse. The last bit
 * of the node id is set in stamps that were made before the first measurement: they are made anew before they are sent.
 */
export const VERSION_LENGTH = 32;

/** Below every stamp. */
const NEVER = '0'.repeat(VERSION_LENGTH);
const COUNTER_LIMIT = 0x1_0000;
/** What a quartz may be off, with room: 50 ppm are 4 s a day. */
const DRIFT = 100e-6;

/** Whether the clock that made it knew Redis `TIME`. */
export const isAligned = (version: string): boolean => /[02468ace]$/.test(version);

const withLastBit = (nodeId: string, bit: 0 | 1): string =>
  nodeId.slice(0, -1) + ((Number.parseInt(nodeId.slice(-1), 16) & ~1) | bit).toString(16);

const hex = (value: number | bigint, digits: number): string => value.toString(16).padStart(digits, '0');

export class HybridLogicalClock {
  private lastMs = 0;
  private counter = 0;
  /** The greatest stamp that a clock which knew Redis `TIME` has made. */
  private possible = NEVER;
  private offsetMs = 0;
  private firstCorrection = 0;
  private alignment: { readonly errorMs: number; readonly atMs: number } | undefined;
  private nodeId: string;

  /**
   * @param nodeId 16 lowercase hex digits, random for each process start.
   * @param now epoch milliseconds; may step backwards, the stamps do not.
   */
  constructor(
    nodeId: string,
    private readonly now: () => number = Date.now,
  ) {
    if (!/^[0-9a-f]{16}$/.test(nodeId))
      throw new RangeError(`nodeId must be 16 lowercase hex digits; got ${nodeId}`);
    this.nodeId = withLastBit(nodeId, 1);
  }

  /** By how much the first measurement moved it: what was stamped before was off by that. */
  get firstCorrectionMs(): number {
    return this.firstCorrection;
  }

  get aligned(): boolean {
    return this.alignment !== undefined;
  }

  /** How far `time` may be from Redis `TIME`; 0 while nothing is known. */
  get errorMs(): number {
    if (this.alignment === undefined) return 0;
    return this.alignment.errorMs + Math.abs(this.now() - this.alignment.atMs) * DRIFT;
  }

  /** Epoch milliseconds, by this machine. */
  machineTime(): number {
    return this.now();
  }

  /** Whole epoch milliseconds, by Redis where it was asked. */
  time(): number {
    return Math.floor(this.now() + this.offsetMs);
  }

  /** Whether it is a stamp of this clock, since it was last set. */
  hasMade(version: string): boolean {
    return withLastBit(version.slice(-16), 1) === withLastBit(this.nodeId, 1);
  }

  /** By how much the machine's clock is wrong, as far as that is known. */
  get offset(): number {
    return this.offsetMs;
  }

  /** A stamp above every earlier one of this node, and above all that it observed; `aheadMs` after now. */
  tick(aheadMs = 0): string {
    return this.stampAt(Math.floor(this.time() + aheadMs));
  }

  /** Moves the clock up to a stamp of another node, so that the next tick is above it. Ignores an impossible one. */
  observe(version: string): void {
    if (this.isPossible(version)) this.resumeAbove(version);
  }

  /** Whether a clock that is right can have made it by now. Without Redis `TIME` nobody knows. */
  isPossible(version: string): boolean {
    return !this.aligned || versionMs(version) <= this.time() + CLOCK_AHEAD_MS;
  }

  /** `observe`, for stamps that are believed: of this instance's own past, and those by which Redis refused one. */
  resumeAbove(version: string): void {
    if (version > this.possible && isAligned(version)) this.possible = version;
    const ms = versionMs(version);
    const counter = Number.parseInt(version.slice(12, 16), 16);
    if (ms < this.lastMs || (ms === this.lastMs && counter <= this.counter)) return;
    this.lastMs = ms;
    this.counter = counter;
  }

  /**
   * Takes a reading of Redis `TIME` whose question was sent at `sentMs` of this machine's clock, and answered now.
   * Returns by how many milliseconds the clock was corrected.
   */
  align(redisMs: number, sentMs: number): number {
    const atMs = this.now();
    if (this.aligned && this.lastMs <= redisMs + CLOCK_AHEAD_MS) this.possible = this.last();
    const errorMs = Math.max(0, atMs - sentMs) / 2 + 1;
    const offsetMs = redisMs + errorMs - atMs;
    const consistent = Math.abs(offsetMs - this.offsetMs) <= errorMs + this.errorMs;
    if (this.alignment !== undefined && consistent && errorMs > this.errorMs) return 0;
    const correctionMs = offsetMs - this.offsetMs;
    if (this.alignment === undefined) this.firstCorrection = correctionMs;
    this.offsetMs = offsetMs;
    this.alignment = { errorMs, atMs };
    this.nodeId = withLastBit(this.nodeId, 0);
    return correctionMs;
  }

  /**
   * Forgets how far it had come, to the last stamp that is not wrong: after the first alignment, and after stamps of
   * this node were refused. It has another name from then on, so that no stamp is made twice.
   */
  rewind(isWrong: (version: string) => boolean): void {
    this.lastMs = 0;
    this.counter = 0;
    if (isWrong(this.possible)) this.possible = NEVER;
    else this.resumeAbove(this.possible);
    this.nodeId = hex(BigInt.asUintN(64, BigInt(`0x${this.nodeId}`) + 2n), 16);
  }

  /** The greatest stamp made or observed, whoever made it; nothing later is below it. */
  last(): string {
    return hex(this.lastMs, 12) + hex(this.counter, 4) + 'f'.repeat(16);
  }

  /** A stamp for something that happened at `ms`, above every earlier one. */
  stampAt(ms: number): string {
    if (ms > this.lastMs) {
      this.lastMs = ms;
      this.counter = 0;
    } else if (++this.counter === COUNTER_LIMIT) {
      this.lastMs += 1;
      this.counter = 0;
    }
    return hex(this.lastMs, 12) + hex(this.counter, 4) + this.nodeId;
  }
}

import { LEASE_MS } from '../../src/cache/replication/lease.js';
import type { ProcessRecord, WriteRecord } from './history.js';
import { endedBefore } from './history.js';
import { COMMAND_TIMEOUT_MS } from './simulated-network.js';

/** Somebody who wants the value of a key that is newer than what there is: computed by himself, or by another. */
export interface Flight {
  readonly process: ProcessRecord;
  readonly key: string;
  readonly token: string;
  readonly begunAt: number;
  readonly begunMs: number;
  /** The version that there was. */
  seen: string;
  /** When he asked for the lease last. */
  askedMs: number;
  /** How far his clock may have been off then, if he knew. */
  errorMs: number | undefined;
  redisClock: number;
  /** His own computation. */
  run: WriteRecord | undefined;
  /** When Redis gave him the lease, while he had not ended. */
  grantedMs: number | undefined;
  endedMs: number | undefined;
}

interface Disturbance {
  /** Undefined: all are concerned. */
  readonly node: number | undefined;
  readonly fromMs: number;
  readonly toMs: number;
}

export interface FlightView {
  readonly nowMs: () => number;
  readonly next: () => number;
  readonly redisClock: () => number;
  /** Nobody has changed the key since, or marked anything. */
  readonly isUntouched: (key: string, sinceAt: number, but: WriteRecord) => boolean;
  readonly isLive: (record: WriteRecord) => boolean;
  readonly fail: (promise: string, detail: string) => void;
}

/** After a fault it takes a while until all are connected, and told of everything. */
const RECOVERY_MS = 5000;
/** The longest look for a lease, and what it takes to ask. */
const LOOK_MS = 1100 + 4 * COMMAND_TIMEOUT_MS;

/** Knows who computes what, and for whom; and when there was no reason to. */
export class FlightOracle {
  private readonly byKey = new Map<string, Flight[]>();
  private readonly byToken = new Map<string, Flight>();
  private readonly disturbances: Disturbance[] = [];
  private readonly diedMs = new Map<ProcessRecord, number>();
  private readonly waiting = new Map<ProcessRecord, Map<string, Set<object>>>();

  constructor(private readonly view: FlightView) {}

  /** A fault, for so long. Of a node, or of all. */
  disturbed(node: number | undefined, forMs: number): void {
    const fromMs = this.view.nowMs();
    this.disturbances.push({ node, fromMs, toMs: fromMs + forMs + RECOVERY_MS });
  }

  died(process: ProcessRecord): void {
    this.diedMs.set(process, this.view.nowMs());
  }

  begin(process: ProcessRecord, key: string, token: string): Flight {
    const flight: Flight = {
      process,
      key,
      token,
      begunAt: this.view.next(),
      begunMs: this.view.nowMs(),
      seen: '',
      askedMs: 0,
      errorMs: undefined,
      redisClock: 0,
      run: undefined,
      grantedMs: undefined,
      endedMs: undefined,
    };
    const flights = this.byKey.get(key) ?? [];
    flights.push(flight);
    this.byKey.set(key, flights);
    this.byToken.set(token, flight);
    return flight;
  }

  asks(flight: Flight, errorMs: number | undefined): void {
    flight.askedMs = this.view.nowMs();
    flight.errorMs = errorMs;
    flight.redisClock = this.view.redisClock();
  }

  /** Redis gave the lease to this token. */
  leased(key: string, token: string): void {
    const flight = this.byToken.get(token);
    if (flight === undefined) return;
    const nowMs = this.view.nowMs();
    const { askedMs, errorMs = Infinity, redisClock, process } = flight;
    const lateMs = nowMs - askedMs - COMMAND_TIMEOUT_MS - errorMs;
    if (lateMs > 5 && !process.stepped && redisClock === this.view.redisClock())
      this.fail('P6 late', `${key}: node ${process.node} was given a lease ${lateMs} ms after its deadline`);
    if (flight.endedMs !== undefined) return;
    flight.grantedMs ??= nowMs;
    for (const other of this.byKey.get(key) ?? []) {
      if (other === flight || other.grantedMs === undefined || other.endedMs !== undefined) continue;
      if (other.process.endedAt !== undefined || this.isDisturbed(other.grantedMs, other, flight)) continue;
      this.fail('P6 one', `${key}: node ${process.node} computes, and so does node ${other.process.node}`);
    }
  }

  computes(flight: Flight, run: WriteRecord): void {
    flight.run = run;
    this.checkTakeover(flight);
    if (flight.grantedMs === undefined) return;
    for (const other of this.byKey.get(flight.key) ?? []) {
      const { run: former, grantedMs } = other;
      if (former === undefined || grantedMs === undefined || former.outcome !== 'redis') continue;
      if (other.process === flight.process || endedBefore(former, flight.begunAt)) continue;
      if (former.version <= flight.seen || !this.view.isLive(former)) continue;
      if (this.isDisturbed(Math.min(grantedMs, flight.begunMs), other, flight)) continue;
      if (this.view.isUntouched(flight.key, former.begunAt, former))
        this.fail(
          'P6 twice',
          `${flight.key}: node ${flight.process.node} computes what ${former.version} is`,
        );
    }
  }

  joined(flight: Flight): void {
    this.checkTakeover(flight);
    this.end(flight);
  }

  end(flight: Flight): void {
    flight.endedMs = this.view.nowMs();
  }

  /** Waits until another has ended. */
  waits(flight: Flight): () => void {
    const all = this.waiting.get(flight.process) ?? new Map<string, Set<object>>();
    this.waiting.set(flight.process, all);
    const ofKey = all.get(flight.key) ?? new Set();
    all.set(flight.key, ofKey);
    const wait = {};
    ofKey.add(wait);
    return () => void ofKey.delete(wait);
  }

  /** Those who wait when it is told that the lease has changed: none of them may wait any more in a moment. */
  waitersAtPush(process: ProcessRecord, key: string): () => void {
    const ofKey = this.waiting.get(process)?.get(key);
    const waiters = [...(ofKey ?? [])];
    return () => {
      if (waiters.some((wait) => ofKey?.has(wait)) && process.endedAt === undefined)
        this.fail('P6 woken', `${key}: node ${process.node} was told that the lease has changed, and waits`);
    };
  }

  /** Nobody waits for nobody: not for longer than a lease, and no longer than one look if the last one could end it. */
  private checkTakeover(flight: Flight): void {
    if (this.isDisturbed(flight.begunMs, flight)) return;
    const nowMs = this.view.nowMs();
    let idleSinceMs = flight.begunMs;
    const before: Flight[] = [];
    for (const other of this.byKey.get(flight.key) ?? []) {
      if (other === flight || other.grantedMs === undefined) continue;
      const endMs = Math.min(other.endedMs ?? nowMs, this.diedMs.get(other.process) ?? nowMs);
      idleSinceMs = Math.max(idleSinceMs, endMs);
      if (endMs > flight.begunMs - LEASE_MS) before.push(other);
    }
    const isReleased = !this.isDisturbed(flight.begunMs - LEASE_MS, ...before);
    const waitedMs = nowMs - idleSinceMs;
    if (waitedMs > LOOK_MS + (isReleased ? 0 : LEASE_MS))
      this.fail('P6 takeover', `${flight.key}: node ${flight.process.node} waited ${waitedMs} ms for nobody`);
  }

  private isDisturbed(sinceMs: number, ...flights: readonly Flight[]): boolean {
    const nodes = new Set(flights.map(({ process }) => process.node));
    const isMeant = ({ node, toMs }: Disturbance): boolean =>
      toMs >= sinceMs && (node === undefined || nodes.has(node));
    return this.disturbances.some(isMeant);
  }

  private fail(promise: string, detail: string): void {
    this.view.fail(promise, detail);
  }
}

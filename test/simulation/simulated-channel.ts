import { Canary } from '../../src/cache/replication/canary.js';
import type { Random } from './random.js';
import type { Handle, Scheduler } from './scheduler.js';
import type { Push, Server } from './simulated-network.js';

/** Whom the channel tells. */
export interface ChannelOwner {
  /** By the other connection. */
  touch(name: string): Promise<unknown>;
  /** Every change is told from now on. */
  armed(): void;
  disarmed(): void;
  told(push: Push): void;
}

export const CHANNEL_HEARTBEAT_MS = 1000;
export const CHANNEL_TIMEOUT_MS = 1000;
const RECONNECT_MS = 150;
const CANARY = '~canary:';
const isCanary = (name: string): boolean => name.startsWith(CANARY);

/**
 * The connection by which Redis tells one instance what has changed, as `InvalidationChannel` keeps it. What is told
 * arrives in order, and however late; what is on its way when the connection ends does not arrive at all.
 */
export class Channel {
  /** At most. */
  delayMs = 3;
  /** It is open, and nothing arrives. */
  frozen = false;
  private readonly canary: Canary;
  private readonly underway: Push[] = [];
  private unsubscribe: (() => void) | undefined;
  private connecting: Handle | undefined;
  private lastArrivalMs = 0;
  private socket = 0;
  private isArmed = false;
  /** The other end is gone, and nothing says so here. */
  private isDead = false;
  private closed = false;

  constructor(
    private readonly scheduler: Scheduler,
    private readonly server: Server,
    private readonly random: Random,
    private readonly owner: ChannelOwner,
    private readonly name: string,
  ) {
    this.canary = new Canary({
      nameOf: (beat) => `${CANARY}${name}:${beat}`,
      touch: (place) => owner.touch(place),
      heartbeatMs: CHANNEL_HEARTBEAT_MS,
      timeoutMs: CHANNEL_TIMEOUT_MS,
      timers: {
        set: (ms, run) => scheduler.after(ms, run),
        clear: (handle) => handle !== undefined && scheduler.cancel(handle as Handle),
      },
      now: () => scheduler.nowMs,
      onHeard: () => this.hear(),
      onMissed: () => this.reset(),
    });
  }

  open(): void {
    this.connectSoon();
  }

  close(): void {
    this.closed = true;
    this.hangUp();
  }

  /** The connection ends, and its owner knows. */
  reset(): void {
    this.hangUp();
    if (this.isArmed) {
      this.isArmed = false;
      this.owner.disarmed();
    }
    this.connectSoon();
  }

  /** The other connection is there again. */
  retry(): void {
    if (this.canary.isAwaited && !this.isArmed) this.canary.send();
  }

  /** What was held up arrives. */
  thaw(): void {
    this.frozen = false;
    if (this.isDead) return this.reset();
    for (const push of this.underway.splice(0)) this.arrive(push);
  }

  private hangUp(): void {
    this.socket += 1;
    this.isDead = false;
    this.canary.stop();
    this.unsubscribe?.();
    this.unsubscribe = undefined;
    this.underway.length = 0;
  }

  private connectSoon(): void {
    if (this.connecting !== undefined || this.closed) return;
    this.connecting = this.scheduler.after(this.random.between(1, RECONNECT_MS), () => {
      this.connecting = undefined;
      if (this.closed) return;
      if (this.server.state === 'up' && !this.frozen) this.connect();
      else this.connectSoon();
    });
  }

  private connect(): void {
    const { server } = this;
    const socket = (this.socket += 1);
    this.unsubscribe = server.subscribe({
      push: (push) => this.send(push, socket),
      reset: () => {
        if (this.frozen) this.isDead = true;
        else this.reset();
      },
    });
    this.canary.send();
  }

  private send(push: Push, socket: number): void {
    const { scheduler, random } = this;
    // It would be most of all events.
    if (push.names?.every((name) => isCanary(name) && !name.includes(this.name)) === true) return;
    this.lastArrivalMs = Math.max(this.lastArrivalMs, scheduler.nowMs + random.next() * this.delayMs);
    scheduler.after(this.lastArrivalMs - scheduler.nowMs, () => {
      if (socket !== this.socket) return;
      if (this.frozen) this.underway.push(push);
      else this.arrive(push);
    });
  }

  private arrive(push: Push): void {
    if (this.closed) return;
    if (push.names !== undefined) this.canary.told(push.names);
    this.owner.told(push);
  }

  private hear(): void {
    if (this.isArmed || this.closed) return;
    this.isArmed = true;
    this.owner.armed();
  }
}

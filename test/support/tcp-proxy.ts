import { once } from 'node:events';
import type { Server, Socket } from 'node:net';
import { createConnection, createServer } from 'node:net';
import { freePort } from './free-port.js';

/** What happens to the bytes of one direction. */
interface Flow {
  /** Nothing is read or passed on; what comes waits, as in front of a stopped process or behind a silent cut. */
  readonly held?: boolean;
  readonly lost?: boolean;
  readonly delayMs?: number;
  readonly bytesPerSecond?: number;
}

type Direction = 'requests' | 'replies';
type Flows = Readonly<Record<Direction, Flow>>;

const PASSING: Flows = { requests: {}, replies: {} };
const FROZEN: Flows = { requests: { held: true }, replies: { held: true } };
const QUEUE_LIMIT_BYTES = 1024 * 1024;
/** What a client is for, it says at first. */
const HEARD_CHARACTERS = 1024;
const SLICES_PER_SECOND = 50;

/** Stands between a client and a server, and fails the way networks fail; switched while connections are open. */
export class TcpProxy {
  private readonly links = new Set<Link>();
  private server: Server | undefined;
  private flows = PASSING;
  private mention = '';

  private constructor(
    readonly port: number,
    private readonly targetPort: number,
  ) {}

  /** Listens on a free port of the loopback interface. */
  static async start(targetPort: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(await freePort(), targetPort);
    await proxy.listen();
    return proxy;
  }

  get connections(): number {
    return this.links.size;
  }

  /** Everything passes again. What was held comes late; a connection that has lost bytes is reset, as TCP would. */
  async pass(): Promise<void> {
    this.switch(PASSING);
    await this.listen();
  }

  /** Resets every open connection; new ones pass. */
  cut(): void {
    for (const link of this.links) link.reset();
  }

  /** Resets every open connection, and nothing listens. */
  async refuse(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    this.cut();
    if (server === undefined) return;
    server.close();
    await once(server, 'close');
  }

  /**
   * Connections are accepted and stay open, and nothing passes: no data, no FIN. With `mention` only those whose first
   * requests have this text, also where it is yet to come; the others pass.
   */
  freeze(mention = ''): void {
    this.switch(FROZEN, mention);
  }

  /** Ends every open connection in one direction only: the receiver reads to its end, and may still write. */
  halfClose(direction: Direction): void {
    for (const link of this.links) link.finish(direction);
  }

  delay(ms: number): void {
    this.switch({ requests: { delayMs: ms }, replies: { delayMs: ms } });
  }

  /** Requests arrive and are executed; no reply comes back. */
  loseReplies(): void {
    this.switch({ requests: {}, replies: { lost: true } });
  }

  loseRequests(): void {
    this.switch({ requests: { lost: true }, replies: {} });
  }

  throttle(bytesPerSecond: number): void {
    this.switch({ requests: { bytesPerSecond }, replies: { bytesPerSecond } });
  }

  async close(): Promise<void> {
    await this.refuse();
  }

  private switch(flows: Flows, mention = ''): void {
    this.flows = flows;
    this.mention = mention;
    for (const link of this.links) link.apply(flows, mention);
  }

  private async listen(): Promise<void> {
    if (this.server !== undefined) return;
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.accept(client));
    this.server = server;
    server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
  }

  private accept(client: Socket): void {
    const upstream = createConnection({
      port: this.targetPort,
      host: '127.0.0.1',
      allowHalfOpen: true,
      noDelay: true,
    });
    const link = new Link(client, upstream, () => this.links.delete(link));
    this.links.add(link);
    link.apply(this.flows, this.mention);
  }
}

/** One connection through the proxy. */
class Link {
  private readonly pipes: Readonly<Record<Direction, Pipe>>;
  private open = true;
  private heard = '';
  private flows = PASSING;
  private mention = '';

  constructor(
    private readonly client: Socket,
    private readonly upstream: Socket,
    private readonly onClosed: () => void,
  ) {
    // Before the pipe takes it: what makes it one that is frozen is held itself.
    client.on('data', (bytes) => this.hear(bytes));
    this.pipes = { requests: new Pipe(client, upstream), replies: new Pipe(upstream, client) };
    upstream.once('error', () => this.reset());
    client.once('error', () => upstream.end());
    const settle = (): void => {
      if (client.destroyed && upstream.destroyed) this.forget();
    };
    client.once('close', settle);
    upstream.once('close', settle);
  }

  apply(flows: Flows, mention: string): void {
    const pipes = Object.values(this.pipes);
    const heals = !Object.values(flows).some(({ lost }) => lost === true);
    if (heals && pipes.some(({ incomplete }) => incomplete)) return this.reset();
    this.flows = flows;
    this.mention = mention;
    this.direct();
  }

  finish(direction: Direction): void {
    (direction === 'requests' ? this.upstream : this.client).end();
  }

  reset(): void {
    this.forget();
    // libuv resets nothing that is shutting down, and Node then waits for that handle at its exit, for ever.
    if (this.client.writableEnded) this.client.destroy();
    else this.client.resetAndDestroy();
    this.upstream.destroy();
  }

  private hear(bytes: Buffer): void {
    if (this.heard.length >= HEARD_CHARACTERS) return;
    this.heard += bytes.toString('latin1');
    if (this.mention !== '') this.direct();
  }

  private direct(): void {
    const { requests, replies } = this.heard.includes(this.mention) ? this.flows : PASSING;
    this.pipes.requests.apply(requests);
    this.pipes.replies.apply(replies);
  }

  private forget(): void {
    if (!this.open) return;
    this.open = false;
    for (const pipe of Object.values(this.pipes)) pipe.stop();
    this.onClosed();
  }
}

interface Chunk {
  readonly bytes: Buffer;
  readonly dueAt: number;
}

/** One direction of a link: keeps the order, whatever is switched. */
class Pipe {
  /** Bytes were lost: nothing that follows may arrive, for TCP never skips. */
  incomplete = false;
  private flow: Flow = {};
  private queue: Chunk[] = [];
  private queued = 0;
  private ended = false;
  private budgetAt = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly from: Socket,
    private readonly to: Socket,
  ) {
    from.on('data', (bytes) => this.take(bytes));
    from.once('end', () => this.end());
    from.once('close', () => this.end());
    // Backpressure: the queue waits for the receiver as it waits for the fault.
    to.on('drain', () => this.pump());
  }

  apply(flow: Flow): void {
    this.flow = flow;
    const now = performance.now();
    this.queue = this.queue.map(({ bytes, dueAt }) => ({
      bytes,
      dueAt: Math.min(dueAt, now + (flow.delayMs ?? 0)),
    }));
    this.budgetAt = now;
    this.pump();
  }

  stop(): void {
    clearTimeout(this.timer);
    this.queue = [];
    this.queued = 0;
  }

  private take(bytes: Buffer): void {
    if (this.flow.lost === true || this.incomplete) {
      this.incomplete = true;
      return;
    }
    this.queue.push({ bytes, dueAt: performance.now() + (this.flow.delayMs ?? 0) });
    this.queued += bytes.length;
    this.pump();
  }

  private end(): void {
    this.ended = true;
    this.pump();
  }

  private pump(): void {
    clearTimeout(this.timer);
    const waitMs = this.passOn();
    if (waitMs !== undefined) this.timer = setTimeout(() => this.pump(), waitMs);
    if (this.flow.held === true || this.queued > QUEUE_LIMIT_BYTES) this.from.pause();
    else this.from.resume();
    const passes = this.flow.held !== true && this.flow.lost !== true;
    if (this.ended && this.queue.length === 0 && passes) this.to.end();
  }

  /** Passes on what may pass now; the time until more may, if that is a matter of time. */
  private passOn(): number | undefined {
    if (this.flow.held === true) return undefined;
    for (;;) {
      const head = this.queue[0];
      if (head === undefined || this.to.writableNeedDrain) return undefined;
      const waitMs = Math.max(head.dueAt, this.budgetAt) - performance.now();
      if (waitMs > 0) return waitMs;
      this.send(head);
    }
  }

  private send({ bytes, dueAt }: Chunk): void {
    const { bytesPerSecond = Number.POSITIVE_INFINITY } = this.flow;
    const slice = bytes.subarray(0, Math.max(1, Math.floor(bytesPerSecond / SLICES_PER_SECOND)));
    const rest = bytes.subarray(slice.length);
    if (rest.length > 0) this.queue[0] = { bytes: rest, dueAt };
    else this.queue.shift();
    this.queued -= slice.length;
    this.budgetAt = performance.now() + (slice.length / bytesPerSecond) * 1000;
    if (this.to.writable) this.to.write(slice);
  }
}

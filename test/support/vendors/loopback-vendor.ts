import { EventEmitter, once } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import { setTimeout as sleepFor } from 'node:timers/promises';
import { ZodError } from 'zod';
import type { Behaviour } from './behaviour.js';
import { Exchange } from './exchange.js';
import type { Sleep } from './reply.js';
import { ConnectionGone, Reply } from './reply.js';
import { sampleAnswer } from './sample-answer.js';
import { answerStatus } from './status.js';
import type { TokenUsage } from './token-usage.js';
import type { Open, VendorKind } from './vendor-kind.js';
import { APIS } from './vendor-kind.js';
import type { Stamp, Wire } from './wire.js';

/** One request, and what has become of it. */
export interface Call {
  /** 0-based. */
  readonly index: number;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Parsed; `undefined` where it is no JSON. */
  readonly body: unknown;
  /** The last text of the user. */
  readonly prompt: string;
  /** When it was read, in ms since 1970. */
  readonly atMs: number;
  /** The client has left before it had the whole answer. */
  readonly aborted: boolean;
  /** What a complete answer has cost; `undefined` as long as there is none. */
  readonly billed: TokenUsage | undefined;
  /** Resolves when nothing more will be sent, for whatever reason. */
  readonly closed: Promise<void>;
}

export interface VendorOptions {
  readonly kind: VendorKind;
  /** What each request meets. Default: an answer. */
  readonly script?: (call: Call) => Behaviour;
  /** The text of an answer. Default: an analysis of the sample that is in the prompt. */
  readonly answer?: (prompt: string, body: unknown) => string;
  /** ms since 1970. */
  readonly now?: () => number;
  readonly sleep?: Sleep;
}

const realSleep: Sleep = (ms, signal) => sleepFor(ms, undefined, { signal });

/** An AI vendor on the loopback interface: speaks its API over real HTTP, and misbehaves on command. */
export class LoopbackVendor implements AsyncDisposable {
  /** In the order in which they were read. */
  readonly calls: Call[] = [];
  /** What the next request meets; may be replaced at any time. */
  script: (call: Call) => Behaviour;
  private readonly news = new EventEmitter().setMaxListeners(0);
  private readonly sockets = new Set<Socket>();
  private readonly server: Server;
  private closed: Promise<void> | undefined;
  private failure: unknown;

  private constructor(private readonly options: VendorOptions) {
    this.script = options.script ?? (() => ({ kind: 'answer' }));
    // A connection is never closed for being idle: a client that is about to use it would see a reset.
    this.server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
      void this.handle(request, response);
    });
    this.server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
    });
  }

  /** Listens on a free port. */
  static async start(options: VendorOptions): Promise<LoopbackVendor> {
    const vendor = new LoopbackVendor(options);
    vendor.server.listen(0, '127.0.0.1');
    await once(vendor.server, 'listening');
    return vendor;
  }

  /** The base URL for the SDK's provider. */
  get url(): string {
    return `http://127.0.0.1:${this.port}${APIS[this.options.kind].base}`;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** How many are open now. */
  get connections(): number {
    return this.sockets.size;
  }

  /** Of all calls; tokens of complete answers only. */
  get totals(): { readonly calls: number } & TokenUsage {
    const billed = this.calls.flatMap((call) => call.billed ?? []);
    return {
      calls: this.calls.length,
      inputTokens: billed.reduce((sum, { inputTokens }) => sum + inputTokens, 0),
      outputTokens: billed.reduce((sum, { outputTokens }) => sum + outputTokens, 0),
    };
  }

  /** Until so many requests have been read, answered or not. */
  async awaitCalls(count: number): Promise<void> {
    while (this.calls.length < count) await once(this.news, 'call');
  }

  /** Breaks every connection, and nothing listens. Fails with the first mistake of a script. */
  async close(): Promise<void> {
    this.closed ??= this.shut();
    await this.closed;
    if (this.failure !== undefined) throw this.failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private async shut(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { answer = sampleAnswer, now = Date.now, sleep = realSleep, kind } = this.options;
    const { paths, error: shape } = APIS[kind];
    const closed = Promise.withResolvers<void>();
    const state: Progress = { aborted: false, billed: undefined };
    const reply = new Reply(response, sleep, (aborted) => {
      state.aborted = aborted && this.closed === undefined;
      closed.resolve();
    });
    const text = await readText(request).catch(() => undefined);
    if (text === undefined) return;
    const body = parse(text);
    const atMs = now();
    const path = (request.url ?? '').replace(/\?.*$/, '');
    const index = this.calls.length;
    const opened = open(paths[path], body, { index, created: Math.floor(atMs / 1000) });
    const call: Call = {
      index,
      path,
      headers: request.headers,
      body,
      prompt: opened.wire?.prompt ?? '',
      atMs,
      get aborted() {
        return state.aborted;
      },
      get billed() {
        return state.billed;
      },
      closed: closed.promise,
    };
    this.calls.push(call);
    this.news.emit('call');
    try {
      const { wire, status } = opened;
      // A request the vendor does not understand it declines by itself.
      if (wire === undefined) return await answerStatus(reply, { status }, shape);
      const parts = { wire, reply, shape, text: answer(wire.prompt, body) };
      const exchange = new Exchange({ ...parts, onComplete: (usage) => (state.billed = usage) });
      await exchange.play(this.script(call));
    } catch (error) {
      reply.break();
      if (!(error instanceof ConnectionGone)) this.failure ??= error;
    }
  }
}

/** What a call does not know when it is read. */
interface Progress {
  aborted: boolean;
  billed: TokenUsage | undefined;
}

type Opened =
  { readonly wire: Wire; readonly status?: never } | { readonly wire?: undefined; readonly status: number };

function open(path: Open | undefined, body: unknown, stamp: Stamp): Opened {
  if (path === undefined) return { status: 404 };
  try {
    return { wire: path(body, stamp) };
  } catch (error) {
    if (error instanceof ZodError) return { status: 400 };
    throw error;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

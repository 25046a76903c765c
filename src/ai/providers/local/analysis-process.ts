import { spawn, type ChildProcess } from 'node:child_process';
import { Socket } from 'node:net';
import { encodeFrame, FrameReader } from './frames.js';
import { MAX_REPLY_BYTES, MEMORY_LIMIT_NOTICE, REPLY_FD } from './protocol.js';

/** How a child is confined. */
export interface Confinement {
  /** The script to run. */
  readonly modulePath: string;
  /** Files and folders (with a trailing separator) that the child may read. It may write none. */
  readonly readablePaths: readonly string[];
  /** Limit of the JavaScript heap; the engine aborts the process beyond it. */
  readonly maxHeapMb: number;
}

export interface ProcessExit {
  /** For people: exit code or signal, and the cause where it is known. */
  readonly reason: string;
  /** The end of what it wrote to stderr. May quote hostile input: for the operator's log only. */
  readonly stderrTail: string;
}

export interface ProcessEvents {
  onMessage(message: unknown): void;
  /** Bytes arrived that are not a message; nothing more will be read. */
  onGarbage(reason: string): void;
  /** Once, after everything that the process had written was read. */
  onExit(exit: ProcessExit): void;
}

const STDERR_TAIL_CHARS = 4_096;
/** Pipes normally end with the process; this bounds the wait for those that somebody else still holds. */
const PIPE_DRAIN_MS = 500;

/** One confined child process and its pipes. It never keeps the parent alive by itself. */
export class AnalysisProcess {
  readonly #child: ChildProcess;
  readonly #exited = Promise.withResolvers<void>();
  #stderrTail = '';
  #ended = false;

  constructor(
    confinement: Confinement,
    private readonly events: ProcessEvents,
  ) {
    this.#child = spawn(process.execPath, [...nodeFlags(confinement), confinement.modulePath], {
      env: {},
      stdio: ['pipe', 'ignore', 'pipe', 'pipe'],
      windowsHide: true,
    });
    this.#child.unref();
    const started = this.#child.pid !== undefined;
    this.#child.on('error', (error) => {
      if (!started) this.#end(`could not be started: ${error.message}`);
    });
    // Where the system has no processes or files left there are no pipes either, only that error to come.
    if (!started) return;
    this.#child.once('exit', (code, signal) => {
      const drain = setTimeout(() => this.#end(this.#describe(code, signal)), PIPE_DRAIN_MS);
      this.#child.once('close', () => {
        clearTimeout(drain);
        this.#end(this.#describe(code, signal));
      });
    });
    this.#readReplies();
    this.#keepStderrTail();
    // A write to a process that has just died fails; its exit is reported anyway.
    this.#child.stdin?.on('error', () => undefined);
    if (this.#child.stdin instanceof Socket) this.#child.stdin.unref();
  }

  send(message: unknown): void {
    this.#child.stdin?.write(encodeFrame(message));
  }

  /** SIGKILL: a process that spins in native code hears nothing else. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Waits for the end, and keeps the parent alive while it does. */
  async exited(): Promise<void> {
    if (this.#ended) return;
    this.#child.ref();
    await this.#exited.promise;
  }

  #readReplies(): void {
    const replies = this.#child.stdio[REPLY_FD];
    if (!(replies instanceof Socket)) return;
    const reader = new FrameReader(MAX_REPLY_BYTES);
    replies.unref();
    replies.on('error', () => undefined);
    replies.on('data', (chunk: Buffer) => {
      let messages: unknown[];
      try {
        messages = reader.push(chunk);
      } catch (error) {
        replies.destroy();
        this.events.onGarbage(error instanceof Error ? error.message : 'unreadable');
        return;
      }
      for (const message of messages) this.events.onMessage(message);
    });
  }

  #keepStderrTail(): void {
    const { stderr } = this.#child;
    if (stderr === null) return;
    if (stderr instanceof Socket) stderr.unref();
    stderr.setEncoding('utf8');
    stderr.on('error', () => undefined);
    stderr.on('data', (text: string) => {
      this.#stderrTail = (this.#stderrTail + text).slice(-STDERR_TAIL_CHARS);
    });
  }

  #describe(code: number | null, signal: NodeJS.Signals | null): string {
    const how = signal === null ? `exit code ${code ?? 'unknown'}` : signal;
    const cause = causeOf(this.#stderrTail);
    return cause === undefined ? how : `${cause} (${how})`;
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#child.unref();
    this.#exited.resolve();
    this.events.onExit({ reason, stderrTail: this.#stderrTail });
  }
}

function causeOf(stderr: string): string | undefined {
  if (/out of memory|Allocation failed|invalid array length Allocation/i.test(stderr)) return 'out of memory';
  if (stderr.includes(MEMORY_LIMIT_NOTICE)) return 'out of memory';
  if (/Fatal error in|Check failed|Assertion .{0,200} failed|FATAL ERROR/.test(stderr))
    return 'fatal engine error';
  return undefined;
}

/**
 * Node's permission model: no writes, no processes, no reads beyond the program itself. Addons are needed by
 * the isolate that evaluates samples, the worker thread by the watchdog. Network access is not covered by it:
 * samples run only inside an isolate, which has none.
 */
function nodeFlags({ maxHeapMb, readablePaths }: Confinement): string[] {
  return [
    `--max-old-space-size=${maxHeapMb}`,
    '--no-warnings',
    '--permission',
    '--allow-addons',
    '--allow-worker',
    ...readablePaths.map((path) => `--allow-fs-read=${path}`),
  ];
}

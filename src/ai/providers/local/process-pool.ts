import { z } from 'zod';
import {
  AnalysisCrashedError,
  AnalysisTimeoutError,
  InvalidAnswerError,
  ProviderBusyError,
  ProviderUnavailableError,
} from '../../ai.errors.js';
import { AnalysisProcess, type Confinement, type ProcessExit } from './analysis-process.js';
import { harmless } from './harmless-text.js';
import type { Assignment, Reply } from './protocol.js';

/**
 * A few warm child processes that do one job at a time.
 *
 * Processes, because nothing less contains hostile code: a fatal error of the engine, or a worker thread that
 * reaches its limits while it holds an isolate, ends the whole process that it happens in. A child that hangs
 * is killed, one that dies is replaced, and what a child says is data that is checked.
 */
export interface ProcessPoolOptions extends Confinement {
  /** Named in errors. */
  readonly name: string;
  /** Children that are kept warm, and jobs that run at once. 1 to 64. */
  readonly processes: number;
  /** A job that runs longer is killed; waiting in the queue does not count. 10 to 600 000. */
  readonly timeoutMs: number;
  /** Jobs that may wait; one more is refused. 0 to 10 000. */
  readonly queueLimit: number;
  /** A child is replaced after this many jobs. Default 200. */
  readonly maxJobsPerProcess?: number;
  /** A child that reports more resident memory after a job is replaced. Default 400 MiB. */
  readonly maxIdleRssBytes?: number;
  /** A child that is not ready by then is killed. Default 20 000. */
  readonly startTimeoutMs?: number;
  /** The first pause after a child died at once; it doubles up to 30 s. Default 100. */
  readonly respawnDelayMs?: number;
  readonly log?: (event: PoolEvent) => void;
}

export type PoolEvent =
  | { readonly event: 'child_ready'; readonly startMs: number }
  | { readonly event: 'child_start_failed'; readonly failures: number; readonly exit: ProcessExit }
  | { readonly event: 'child_crashed'; readonly exit: ProcessExit }
  | {
      readonly event: 'child_killed';
      readonly cause: 'timeout' | 'abort' | 'garbage';
      readonly detail?: string;
    }
  | { readonly event: 'child_recycled'; readonly jobs: number; readonly rssBytes: number };

export interface ProcessPoolStats {
  readonly processes: number;
  /** Children that could take a job now or are doing one. */
  readonly ready: number;
  readonly busy: number;
  readonly queued: number;
  readonly queueLimit: number;
  /** Children started in place of another. */
  readonly restarts: number;
  readonly timeouts: number;
  readonly crashes: number;
  /** False when every child keeps dying before it is ready. */
  readonly startable: boolean;
}

export interface RunOptions<Answer> {
  /** Checks what the child answered; throws when it is not an answer. */
  readonly parse: (value: unknown) => Answer;
  readonly signal: AbortSignal;
  /** In place of the pool's. */
  readonly timeoutMs?: number;
  /** Takes what the child has so far, before it tries something that it may not survive. Checked by `parse`. */
  readonly onPartial?: (answer: Answer) => void;
}

interface Task {
  readonly id: number;
  readonly job: unknown;
  readonly timeoutMs: number;
  readonly keepPartial: (value: unknown) => void;
  hasPartial: boolean;
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
  /** Set while it occupies a slot. */
  deadline?: { readonly epochMs: number; readonly timer: NodeJS.Timeout };
}

/** A place for one child, whether it lives or not. */
interface Slot {
  process?: AnalysisProcess;
  state: 'empty' | 'starting' | 'ready' | 'dying';
  task?: Task;
  jobs: number;
  /** When it began to be in this state, for `starting` and `ready`. */
  sinceMs: number;
  /** Children in a row that died before they were of use. */
  failures: number;
  spawned: number;
  timer?: NodeJS.Timeout;
}

const MAX_RESPAWN_DELAY_MS = 30_000;
const START_FAILURES_UNTIL_UNAVAILABLE = 3;
/** An idle child that dies younger than this counts as one that failed to start. */
const EARLY_DEATH_MS = 5_000;
const DEFAULTS = {
  maxJobsPerProcess: 200,
  maxIdleRssBytes: 400 * 1024 * 1024,
  startTimeoutMs: 20_000,
  respawnDelayMs: 100,
} as const;

const replySchema: z.ZodType<Reply> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('ready') }),
  z.strictObject({
    kind: z.literal('answer'),
    id: z.int(),
    rssBytes: z.number().nonnegative(),
    value: z.unknown(),
  }),
  z.strictObject({ kind: z.literal('partial'), id: z.int(), value: z.unknown() }),
  z.strictObject({
    kind: z.literal('failure'),
    id: z.int(),
    rssBytes: z.number().nonnegative(),
    message: z.string().max(1_000),
  }),
]);

export class ProcessPool<Job> {
  readonly #options: ProcessPoolOptions & Required<Pick<ProcessPoolOptions, keyof typeof DEFAULTS>>;
  readonly #slots: Slot[];
  readonly #queue: Task[] = [];
  #started = false;
  #closing: Promise<void> | undefined;
  #nextId = 1;
  #restarts = 0;
  #timeouts = 0;
  #crashes = 0;
  /** Resolves `close` when the last running job is done. */
  #onDrained: (() => void) | undefined;

  constructor(options: ProcessPoolOptions) {
    requireIntegers(options, {
      processes: [1, 64],
      timeoutMs: [10, 600_000],
      queueLimit: [0, 10_000],
      maxHeapMb: [16, 16_384],
      maxJobsPerProcess: [1, 1_000_000],
      maxIdleRssBytes: [1, Number.MAX_SAFE_INTEGER],
      startTimeoutMs: [10, 600_000],
      respawnDelayMs: [1, MAX_RESPAWN_DELAY_MS],
    });
    this.#options = { ...DEFAULTS, ...options };
    this.#slots = Array.from({ length: options.processes }, () => ({
      state: 'empty',
      jobs: 0,
      sinceMs: 0,
      failures: 0,
      spawned: 0,
    }));
  }

  /** Starts the children, so that the first job need not wait for one. The first job does it otherwise. */
  start(): void {
    if (this.#started || this.#closing !== undefined) return;
    this.#started = true;
    for (const slot of this.#slots) this.#spawn(slot);
  }

  /**
   * Does one job in a child.
   * @throws ProviderBusyError, ProviderUnavailableError, AnalysisTimeoutError, AnalysisCrashedError,
   *   InvalidAnswerError, or the signal's reason.
   */
  async run<Answer>(job: Job, options: RunOptions<Answer>): Promise<Answer> {
    const { signal, parse, onPartial, timeoutMs = this.#options.timeoutMs } = options;
    signal.throwIfAborted();
    this.start();
    if (this.#closing !== undefined || !this.#startable()) throw this.#unavailable();
    if (this.#freeSlot() === undefined && this.#queue.length >= this.#options.queueLimit) {
      throw new ProviderBusyError(this.#options.name, this.#options.queueLimit);
    }
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const task: Task = {
      id: this.#nextId++,
      job,
      timeoutMs,
      reject,
      // Checked inside the pool, so that a child whose answer is nonsense is known as such and replaced.
      resolve: (value) => resolve(parse(value)),
      keepPartial: (value) => onPartial?.(parse(value)),
      hasPartial: false,
    };
    const abort = (): void => this.#abort(task, signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    try {
      this.#queue.push(task);
      this.#dispatch();
      return (await promise) as Answer;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  stats(): ProcessPoolStats {
    return {
      processes: this.#slots.length,
      ready: this.#slots.filter((slot) => slot.state === 'ready').length,
      busy: this.#slots.filter((slot) => slot.task !== undefined).length,
      queued: this.#queue.length,
      queueLimit: this.#options.queueLimit,
      restarts: this.#restarts,
      timeouts: this.#timeouts,
      crashes: this.#crashes,
      startable: this.#startable(),
    };
  }

  /** Refuses what is new or waits, gives what runs its time-out to finish, then ends every child. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const task of this.#queue.splice(0)) task.reject(this.#unavailable());
    // Ends by itself: every running job has a timer. One that waits for a child has none coming.
    for (const slot of this.#slots) {
      if (slot.task !== undefined && slot.state !== 'ready') this.#release(slot)?.reject(this.#unavailable());
    }
    if (this.#slots.some((slot) => slot.task !== undefined)) {
      await new Promise<void>((resolve) => (this.#onDrained = resolve));
    }
    for (const slot of this.#slots) {
      clearTimeout(slot.timer);
      slot.state = 'dying';
      slot.process?.kill();
    }
    await Promise.all(this.#slots.map((slot) => slot.process?.exited()));
  }

  // Queue

  #dispatch(): void {
    while (this.#queue.length > 0) {
      const slot = this.#freeSlot();
      if (slot === undefined) return;
      const task = this.#queue.shift();
      if (task !== undefined) this.#assign(slot, task);
    }
    this.#moveToReady();
  }

  /** A task that waits for its child to start goes to one that has become free meanwhile. */
  #moveToReady(): void {
    const to = this.#slots.find((slot) => slot.state === 'ready' && slot.task === undefined);
    const from = this.#slots.find((slot) => slot.state !== 'ready' && slot.task !== undefined);
    const task = from?.task;
    if (to === undefined || from === undefined || task === undefined) return;
    delete from.task;
    to.task = task;
    this.#send(to, task);
  }

  /** A free slot, the warmest first; one whose child is still to come is better than waiting for another's job. */
  #freeSlot(): Slot | undefined {
    const free = this.#slots.filter((slot) => slot.task === undefined && slot.failures === 0);
    const willing = free.length > 0 ? free : this.#slots.filter((slot) => slot.task === undefined);
    return (
      willing.find((slot) => slot.state === 'ready') ??
      willing.find((slot) => slot.state === 'starting') ??
      willing[0]
    );
  }

  #assign(slot: Slot, task: Task): void {
    slot.task = task;
    task.deadline = {
      epochMs: Date.now() + task.timeoutMs,
      timer: setTimeout(() => this.#timeOut(task), task.timeoutMs),
    };
    if (slot.state === 'ready') this.#send(slot, task);
  }

  #send(slot: Slot, task: Task): void {
    const deadlineEpochMs = task.deadline?.epochMs ?? Date.now();
    slot.process?.send({ id: task.id, deadlineEpochMs, job: task.job } satisfies Assignment<unknown>);
  }

  /** Takes the task off its slot; whoever calls settles it. */
  #release(slot: Slot): Task | undefined {
    const { task } = slot;
    if (task === undefined) return undefined;
    delete slot.task;
    clearTimeout(task.deadline?.timer);
    if (this.#slots.every((other) => other.task === undefined)) this.#onDrained?.();
    return task;
  }

  #timeOut(task: Task): void {
    const slot = this.#slots.find((candidate) => candidate.task === task);
    if (slot === undefined) return;
    this.#timeouts += 1;
    this.#release(slot);
    // A child that is still starting has not seen the task and is not to blame: it goes on.
    if (slot.state === 'ready') this.#kill(slot, { event: 'child_killed', cause: 'timeout' });
    task.reject(new AnalysisTimeoutError(this.#options.name, task.timeoutMs));
    this.#dispatch();
  }

  #abort(task: Task, reason: unknown): void {
    const position = this.#queue.indexOf(task);
    if (position >= 0) this.#queue.splice(position, 1);
    const slot = this.#slots.find((candidate) => candidate.task === task);
    if (slot !== undefined) {
      this.#release(slot);
      if (slot.state === 'ready') this.#kill(slot, { event: 'child_killed', cause: 'abort' });
    }
    task.reject(reason);
    this.#dispatch();
  }

  // Children

  #spawn(slot: Slot): void {
    if (slot.spawned > 0) this.#restarts += 1;
    slot.spawned += 1;
    slot.state = 'starting';
    slot.sinceMs = Date.now();
    slot.jobs = 0;
    const process = new AnalysisProcess(this.#options, {
      onMessage: (message) => this.#receive(slot, process, message),
      onGarbage: (reason) => this.#refuseGarbage(slot, process, reason),
      onExit: (exit) => this.#exited(slot, process, exit),
    });
    slot.process = process;
    slot.timer = setTimeout(() => process.kill(), this.#options.startTimeoutMs).unref();
  }

  #receive(slot: Slot, process: AnalysisProcess, message: unknown): void {
    if (slot.process !== process || slot.state === 'dying') return;
    const { data: reply, success } = replySchema.safeParse(message);
    if (!success) return this.#refuseGarbage(slot, process, 'not a reply');
    if (reply.kind === 'ready') return this.#ready(slot, process);
    if (slot.state !== 'ready' || slot.task?.id !== reply.id) {
      return this.#refuseGarbage(slot, process, 'a reply to something that was not asked');
    }
    try {
      this.#settle(slot.task, reply);
    } catch (error) {
      const reason = error instanceof Error ? error.message : 'not an answer';
      return this.#refuseGarbage(slot, process, harmless(reason.slice(0, 500)));
    }
    if (reply.kind === 'partial') return;
    this.#release(slot);
    slot.jobs += 1;
    slot.failures = 0;
    this.#recycleIfWorn(slot, reply.rssBytes);
    this.#dispatch();
  }

  /** @throws what makes the reply garbage. */
  #settle(task: Task, reply: Exclude<Reply, { kind: 'ready' }>): void {
    switch (reply.kind) {
      case 'answer':
        return task.resolve(reply.value);
      case 'failure':
        return task.reject(new AnalysisCrashedError(this.#options.name, harmless(reply.message)));
      case 'partial':
        if (task.hasPartial) throw new Error('a second partial answer');
        task.hasPartial = true;
        return task.keepPartial(reply.value);
    }
  }

  #ready(slot: Slot, process: AnalysisProcess): void {
    if (slot.state !== 'starting') return this.#refuseGarbage(slot, process, 'ready twice');
    clearTimeout(slot.timer);
    slot.state = 'ready';
    const startMs = Date.now() - slot.sinceMs;
    slot.sinceMs = Date.now();
    this.#options.log?.({ event: 'child_ready', startMs });
    if (slot.task === undefined) this.#moveToReady();
    else this.#send(slot, slot.task);
  }

  #refuseGarbage(slot: Slot, process: AnalysisProcess, reason: string): void {
    if (slot.process !== process || slot.state === 'dying') return;
    const wasReady = slot.state === 'ready';
    this.#kill(slot, { event: 'child_killed', cause: 'garbage', detail: reason });
    if (!wasReady) slot.failures += 1;
    this.#release(slot)?.reject(new InvalidAnswerError(this.#options.name, reason));
    this.#dispatch();
  }

  #recycleIfWorn(slot: Slot, rssBytes: number): void {
    const { maxJobsPerProcess, maxIdleRssBytes } = this.#options;
    if (slot.jobs < maxJobsPerProcess && rssBytes <= maxIdleRssBytes) return;
    this.#kill(slot, { event: 'child_recycled', jobs: slot.jobs, rssBytes });
  }

  /** The slot is refilled when the process has gone, so that there are never more than were asked for. */
  #kill(slot: Slot, event: PoolEvent): void {
    slot.state = 'dying';
    slot.process?.kill();
    this.#options.log?.(event);
  }

  #exited(slot: Slot, process: AnalysisProcess, exit: ProcessExit): void {
    if (slot.process !== process) return;
    clearTimeout(slot.timer);
    delete slot.process;
    const { state } = slot;
    slot.state = 'empty';
    if (state === 'starting') this.#startFailed(slot, exit);
    else if (state === 'ready') this.#crashed(slot, exit);
    if (this.#closing !== undefined) return;
    const delayMs = slot.failures === 0 ? 0 : this.#options.respawnDelayMs * 2 ** (slot.failures - 1);
    slot.timer = setTimeout(() => this.#spawn(slot), Math.min(delayMs, MAX_RESPAWN_DELAY_MS)).unref();
  }

  #crashed(slot: Slot, exit: ProcessExit): void {
    this.#crashes += 1;
    const task = this.#release(slot);
    const early = task === undefined && slot.jobs === 0 && Date.now() - slot.sinceMs < EARLY_DEATH_MS;
    slot.failures = early ? slot.failures + 1 : 0;
    this.#options.log?.({ event: 'child_crashed', exit });
    task?.reject(new AnalysisCrashedError(this.#options.name, exit.reason));
  }

  /** Its task had not begun, so it keeps its place for the next child, unless there is little hope for one. */
  #startFailed(slot: Slot, exit: ProcessExit): void {
    slot.failures += 1;
    this.#options.log?.({ event: 'child_start_failed', failures: slot.failures, exit });
    if (slot.failures >= START_FAILURES_UNTIL_UNAVAILABLE) this.#release(slot)?.reject(this.#unavailable());
    if (this.#startable()) return;
    for (const task of this.#queue.splice(0)) task.reject(this.#unavailable());
  }

  #startable(): boolean {
    return this.#slots.some(
      ({ state, failures }) => state === 'ready' || failures < START_FAILURES_UNTIL_UNAVAILABLE,
    );
  }

  #unavailable(): ProviderUnavailableError {
    return new ProviderUnavailableError(this.#options.name, []);
  }
}

function requireIntegers(
  options: ProcessPoolOptions,
  ranges: Record<string, readonly [number, number]>,
): void {
  const values: Record<string, unknown> = { ...options };
  for (const [option, [least, most]] of Object.entries(ranges)) {
    const value = values[option];
    if (value === undefined && option in DEFAULTS) continue;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
      throw new RangeError(
        `${option} must be an integer from ${least} to ${most}, received ${String(value)}`,
      );
    }
  }
}

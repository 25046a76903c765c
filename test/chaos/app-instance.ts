import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';
import type { CacheModuleOptions } from '../../src/cache/cache.options.js';
import type { Life } from './history.js';

const DIST = process.env['CHAOS_DIST'] ?? join(import.meta.dirname, '../../dist');

export interface Answer {
  readonly result?: unknown;
  readonly error?: string;
  readonly durationMs: number;
  readonly stalledMs: number;
}

interface Message extends Answer {
  readonly call?: number;
  readonly event?: string;
  readonly started?: true;
  readonly supports?: { readonly invalidateTags: boolean };
}

/** The instance ended, or was killed, before it answered. */
export class InstanceDied extends Error {}

/** One instance of the application as a process of its own, which can be killed and started again. */
export class AppInstance {
  readonly deaths: string[] = [];
  supports = { invalidateTags: false };
  private process: ChildProcess | undefined;
  private readonly events = new EventEmitter().setMaxListeners(0);
  private readonly calls = new Map<number, { answer: (answer: Answer) => void; die: () => void }>();
  private callCount = 0;
  private lives: { life: Life; alive: boolean }[] = [];

  constructor(
    readonly index: number,
    readonly options: CacheModuleOptions,
  ) {}

  get life(): Life {
    const last = this.lives.at(-1);
    if (last === undefined) throw new Error('The instance was never started.');
    return last.life;
  }

  get running(): boolean {
    return this.process !== undefined;
  }

  async start(): Promise<void> {
    const env = {
      PATH: process.env['PATH'],
      CHAOS_INSTANCE: JSON.stringify({ dist: DIST, options: this.options }),
    };
    const child = fork(
      process.env['CHAOS_INSTANCE_SCRIPT'] ?? join(import.meta.dirname, 'instance.mjs'),
      [],
      {
        env,
        execArgv: ['--no-warnings'],
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      },
    );
    this.watch(child);
    await this.event('started');
    this.process = child;
    this.beginLife();
    this.events.emit('running');
  }

  /** Waits until it runs, if it does not. */
  async up(): Promise<void> {
    while (!this.running) await once(this.events, 'running');
  }

  /** @throws InstanceDied */
  call(name: string, input: object = {}): Promise<Answer> {
    const { process: child } = this;
    if (child === undefined) return Promise.reject(new InstanceDied());
    const call = (this.callCount += 1);
    return new Promise((resolve, reject) => {
      this.calls.set(call, { answer: resolve, die: () => reject(new InstanceDied()) });
      child.send({ call, name, input }, (error) => {
        if (error !== null) this.calls.get(call)?.die();
      });
    });
  }

  /** The result of a call that has to succeed. */
  async ask<T>(name: string, input: object = {}): Promise<T> {
    const { result, error } = await this.call(name, input);
    if (error !== undefined) throw new Error(`${name}: ${error}`);
    return result as T;
  }

  /** Resolves with the next event of that name: `redis.ready` and the like. */
  async event(...names: string[]): Promise<void> {
    const stop = new AbortController();
    const waiting = [...names, 'died'].map((name) =>
      once(this.events, name, { signal: stop.signal }).then(() => name),
    );
    try {
      if ((await Promise.race(waiting)) === 'died') throw new InstanceDied(this.deaths.at(-1));
    } finally {
      stop.abort();
      await Promise.allSettled(waiting);
    }
  }

  /** SIGSTOP, SIGCONT. */
  signal(signal: NodeJS.Signals): void {
    this.process?.kill(signal);
  }

  /** kill -9. */
  async kill(): Promise<void> {
    const { process: child } = this;
    if (child === undefined) return;
    this.process = undefined;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  }

  async close(): Promise<void> {
    const { process: child } = this;
    if (child === undefined) return;
    const exit = once(child, 'exit');
    await this.call('close').catch(() => {});
    if (child.exitCode === null && child.signalCode === null) await exit;
  }

  private watch(child: ChildProcess): void {
    let stderr = '';
    child.stderr?.on('data', (chunk) => (stderr = (stderr + String(chunk)).slice(-4000)));
    child.on('message', (message) => this.receive(message as Message));
    child.once('exit', (code, signal) => {
      if (signal !== 'SIGKILL' && code !== 0)
        this.deaths.push(`instance ${this.index} ended with ${code ?? signal}: ${stderr}`);
      if (this.process === child) this.process = undefined;
      this.endLife();
      this.events.emit('died');
    });
  }

  private receive(message: Message): void {
    const { call, event, started, supports } = message;
    if (supports !== undefined) this.supports = supports;
    if (started) this.events.emit('started');
    if (event !== undefined) this.events.emit(event);
    if (call === undefined) return;
    this.calls.get(call)?.answer(message);
    this.calls.delete(call);
  }

  private beginLife(): void {
    const state = { alive: true };
    const life: Life = {
      instance: this.index,
      start: this.lives.length,
      durable: () => state.alive || this.options.local === 'disk',
    };
    this.lives.push(Object.assign(state, { life }));
  }

  private endLife(): void {
    const last = this.lives.at(-1);
    if (last !== undefined) last.alive = false;
    for (const { die } of this.calls.values()) die();
    this.calls.clear();
  }
}

import type { ChildProcess } from 'node:child_process';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './free-port.js';

const LOCAL_COPY = join(import.meta.dirname, '../../node_modules/.cache/athena/redis-server');

/** Also of a sentinel. */
export function redisExecutable(): string {
  const named = process.env['REDIS_SERVER'] ?? 'redis-server';
  return spawnSync(named, ['--version']).status === 0 || !existsSync(LOCAL_COPY) ? named : LOCAL_COPY;
}

/** A real Redis server of a test's own, to be killed, stopped and brought back. */
export class RedisServer {
  private process: ChildProcess | undefined;
  private frozen = false;

  private constructor(
    readonly port: number,
    private readonly directory: string,
    private readonly args: readonly string[],
    private readonly variables: Readonly<Record<string, string>> = {},
  ) {}

  /**
   * Starts a server on a free port of the loopback interface; append-only unless `args` say otherwise. `variables` are
   * added to its environment.
   */
  static async start(
    args: readonly string[] = [],
    variables: Readonly<Record<string, string>> = {},
  ): Promise<RedisServer> {
    const directory = await mkdtemp(join(tmpdir(), 'athena-redis-'));
    const server = new RedisServer(await freePort(), directory, args, variables);
    await server.up();
    return server;
  }

  /** A port where nothing listens, and a server that can be started there later. */
  static async absent(args: readonly string[] = []): Promise<RedisServer> {
    return new RedisServer(await freePort(), await mkdtemp(join(tmpdir(), 'athena-redis-')), args);
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  get pid(): number {
    if (this.process?.pid === undefined) throw new Error('The server is not running.');
    return this.process.pid;
  }

  /** Neither killed nor stopped. */
  get running(): boolean {
    return this.process !== undefined && !this.frozen;
  }

  /** Starts it, with the data it had; resolves when it answers. */
  async up(): Promise<void> {
    const fixed = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.directory, '--save', ''];
    const args = [...fixed, '--appendonly', 'yes', '--appendfsync', 'always', ...this.args];
    const env = { ...process.env, ...this.variables };
    this.frozen = false;
    this.process = spawn(redisExecutable(), args, { stdio: 'ignore', env });
    await this.answers();
  }

  /** kill -9. */
  async kill(): Promise<void> {
    await this.end('SIGKILL');
  }

  /** Deletes the data of a server that is down. */
  async wipe(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
    await mkdir(this.directory);
  }

  /** SIGSTOP: sockets stay open and nothing answers. */
  freeze(): void {
    process.kill(this.pid, 'SIGSTOP');
    this.frozen = true;
  }

  thaw(): void {
    process.kill(this.pid, 'SIGCONT');
    this.frozen = false;
  }

  async close(): Promise<void> {
    await this.end('SIGKILL');
    await rm(this.directory, { recursive: true, force: true });
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const { process: running } = this;
    this.process = undefined;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const exit = once(running, 'exit');
    running.kill(signal);
    await exit;
  }

  private async answers(): Promise<void> {
    for (;;) {
      if (this.process?.exitCode != null)
        throw new Error(`redis-server exited with ${this.process.exitCode}.`);
      if (await this.pings()) return;
      // Nothing can be awaited that tells when another process has begun to listen.
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  private pings(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = createConnection(this.port, '127.0.0.1');
      socket.once('connect', () => socket.write('PING\r\n'));
      socket.once('data', (reply) => {
        resolve(!reply.toString().startsWith('-LOADING'));
        socket.destroy();
      });
      socket.once('error', () => resolve(false));
    });
  }
}

import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const MAIN = join(import.meta.dirname, '../../dist/main.js');

export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly event?: string;
  readonly [field: string]: unknown;
}

/** A real Athena: the built application in a process of its own, on a free port, with only the variables given. */
export class Athena {
  readonly logs: LogLine[] = [];
  private readonly lines = new EventEmitter();
  private stderr = '';
  private base = '';

  private constructor(
    private readonly process: ChildProcess,
    readonly directory: string,
  ) {
    const { stdout, stderr } = process;
    if (stdout === null || stderr === null) throw new Error('The process has no output.');
    createInterface({ input: stdout }).on('line', (text) => {
      const line = parseLine(text);
      this.logs.push(line);
      this.lines.emit('line', line);
    });
    stderr.on('data', (chunk) => (this.stderr += String(chunk)));
    process.once('exit', () => this.lines.emit('exit'));
  }

  /** Starts it and waits until it listens. */
  static async start(variables: Readonly<Record<string, string>> = {}): Promise<Athena> {
    const athena = await Athena.spawn(variables);
    const line = await athena.log(({ msg }) => msg.startsWith('Athena listens on'));
    athena.base = line.msg.slice('Athena listens on '.length);
    return athena;
  }

  /** Starts it where it is not expected to come up; resolves with its exit code and what it said. */
  static async fails(variables: Readonly<Record<string, string>>): Promise<{ code: number; stderr: string }> {
    const athena = await Athena.spawn(variables);
    if (athena.process.exitCode === null) await once(athena.process, 'close');
    await rm(athena.directory, { recursive: true, force: true });
    return { code: athena.process.exitCode ?? -1, stderr: athena.stderr };
  }

  private static async spawn(variables: Readonly<Record<string, string>>): Promise<Athena> {
    const directory = await mkdtemp(join(tmpdir(), 'athena-app-'));
    const { PATH = '' } = process.env;
    const env = { PATH, PORT: '0', LOG_FORMAT: 'json', ...variables };
    return new Athena(spawn(process.execPath, [MAIN], { cwd: directory, env }), directory);
  }

  get url(): string {
    return this.base;
  }

  get pid(): number {
    return this.process.pid ?? -1;
  }

  get running(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  fetch(path: string, init?: RequestInit): Promise<Response> {
    return fetch(`${this.base}${path}`, init);
  }

  /** A POST of JSON. */
  post(body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
    return this.fetch('/v1/analyses', {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  }

  /** The first log line that fits, of those to come and those that were. */
  async log(fits: (line: LogLine) => boolean, from = 0): Promise<LogLine> {
    for (;;) {
      const line = this.logs.slice(from).find(fits);
      if (line !== undefined) return line;
      if (!this.running) throw new Error(`Athena ended before it logged that. ${this.stderr}`);
      await Promise.race([once(this.lines, 'line'), once(this.lines, 'exit')]);
    }
  }

  /** SIGTERM, and waits for the end; the exit code. */
  async stop(): Promise<number | null> {
    return this.signal('SIGTERM');
  }

  async kill(): Promise<void> {
    await this.signal('SIGKILL');
  }

  async remove(): Promise<void> {
    await this.stop();
    await rm(this.directory, { recursive: true, force: true });
  }

  private async signal(signal: NodeJS.Signals): Promise<number | null> {
    if (this.running) {
      const exit = once(this.process, 'exit');
      this.process.kill(signal);
      await exit;
    }
    return this.process.exitCode;
  }
}

function parseLine(text: string): LogLine {
  try {
    return JSON.parse(text) as LogLine;
  } catch {
    return { level: 0, msg: text };
  }
}

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { killedAtTheEnd } from './cleanup.js';

/** Longer than any command should take: a process that hangs is a result too. */
const CALL_LIMIT_MS = 90_000;
const WORKER = join(import.meta.dirname, 'worker.js');

/** A process with a cache, as its parent sees it. Its death is a result: what was asked of it fails with the reason. */
export class Application {
  #child;
  #calls = new Map();
  #lastId = 0;
  #stderr = '';
  #killed = false;
  /** Why and when it ended, unless it was killed from here. */
  died;
  diedAt;

  constructor(configuration, port, directory) {
    const args = [configuration.name, String(port), directory];
    const options = { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], execArgv: ['--expose-gc'] };
    this.#child = killedAtTheEnd(fork(WORKER, args, options));
    this.started = this.#expect('ready', 'start');
    this.#child.stderr.on('data', (data) => (this.#stderr += data));
    this.#child.on('message', (message) => this.#receive(message));
    this.#child.on('exit', (code, signal) => this.#end(code ?? signal));
  }

  call(command, args = {}) {
    if (this.died !== undefined) return Promise.reject(new Error(this.died));
    const id = (this.#lastId += 1);
    const answer = this.#expect(id, command);
    this.#child.send({ id, command, args });
    return answer;
  }

  /** As `kill -9` does. */
  async kill() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#killed = true;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }

  #expect(id, command) {
    const { promise, resolve, reject } = Promise.withResolvers();
    const timer = setTimeout(() => reject(new Error(`${command} did not end`)), CALL_LIMIT_MS);
    this.#calls.set(id, { resolve, reject, timer });
    return promise;
  }

  #receive({ id, result, error }) {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    clearTimeout(call?.timer);
    if (error === undefined) call?.resolve(result);
    else call?.reject(new Error(error));
  }

  #end(status) {
    const reason = /^\S*Error.*$/m.exec(this.#stderr)?.[0] ?? '';
    const death = `the process ended with ${status} ${reason}`.trim();
    if (!this.#killed) {
      this.diedAt = Date.now();
      this.died = death;
    }
    for (const { reject, timer } of this.#calls.values()) {
      clearTimeout(timer);
      reject(new Error(death));
    }
    this.#calls.clear();
  }
}

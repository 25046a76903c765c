import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { killedAtTheEnd } from './cleanup.js';
import { fromProduct, ROOT } from './product.js';

const { Redis } = await fromProduct('ioredis');
const START_LIMIT_MS = 10_000;

/** Where `scripts/ensure-redis-server.js` looks for a server, and leaves the one that it had to fetch. */
const NAMED = process.env.REDIS_SERVER ?? 'redis-server';
const LOCAL_COPY = join(ROOT, 'node_modules/.cache/athena/redis-server');
let executable = NAMED;

/** To be called once, before the first server. Returns its version. */
export function findRedisServer() {
  const script = join(ROOT, 'scripts/ensure-redis-server.js');
  if (spawnSync(process.execPath, [script], { stdio: 'inherit' }).status !== 0)
    throw new Error('there is no redis-server');
  if (spawnSync(NAMED, ['--version']).status !== 0) executable = LOCAL_COPY;
  return /v=(\S+)/.exec(execFileSync(executable, ['--version'], { encoding: 'utf8' }))?.[1];
}

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** A real server that can be killed and stopped. */
export class RedisServer {
  #process;

  constructor(port, directory, { keepsData = true } = {}) {
    this.port = port;
    this.directory = directory;
    this.keepsData = keepsData;
    mkdirSync(directory, { recursive: true });
  }

  async start() {
    const settings = {
      port: this.port,
      bind: '127.0.0.1',
      dir: this.directory,
      save: '',
      appendonly: this.keepsData ? 'yes' : 'no',
    };
    const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
    this.#process = killedAtTheEnd(spawn(executable, args, { stdio: 'ignore' }));
    await once(this.#process, 'spawn');
    await this.#answers();
  }

  /** `kill -9`: gone, sockets closed. `SIGSTOP`: sockets stay open and nothing answers. */
  async breakDown(mode) {
    if (mode === 'stop') this.#process.kill('SIGSTOP');
    else await this.kill();
  }

  async restore(mode) {
    if (mode === 'stop') this.#process.kill('SIGCONT');
    else await this.start();
  }

  async kill() {
    if (this.#process?.pid === undefined) return;
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill('SIGKILL');
    await once(this.#process, 'exit');
  }

  /** How many values of a name lie in Redis, under whatever key and in whatever form: one question to every cache. */
  async countValues(name) {
    const pattern = new RegExp(String.raw`(?<![a-z.])${RegExp.escape(name)}-(\d{6})`, 'g');
    const found = new Set();
    for (const value of await this.#values())
      for (const [, index] of value.matchAll(pattern)) found.add(index);
    return found.size;
  }

  async #values() {
    const client = this.#client();
    try {
      const values = [];
      for await (const keys of client.scanStream({ count: 1000 }))
        if (keys.length > 0) values.push(...(await client.mgetBuffer(keys)));
      return values.filter((value) => value !== null).map((value) => value.toString('latin1'));
    } finally {
      client.disconnect();
    }
  }

  async #answers() {
    const deadline = Date.now() + START_LIMIT_MS;
    for (;;) {
      const client = this.#client();
      try {
        return await client.ping();
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await sleep(25);
      } finally {
        client.disconnect();
      }
    }
  }

  #client() {
    const client = new Redis({
      host: '127.0.0.1',
      port: this.port,
      retryStrategy: null,
      maxRetriesPerRequest: 0,
    });
    client.on('error', () => {});
    return client;
  }
}

import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freePort } from './free-port.js';
import { redisExecutable, RedisServer } from './redis-server.js';

const POLL_MS = 20;
const NAME = 'athena-main';

/** A master, its replicas and the sentinels that watch them: real ones of a test's own, on free ports. */
export class RedisSentinelServers {
  readonly name = NAME;

  private constructor(
    readonly servers: readonly RedisServer[],
    private readonly sentinels: readonly SentinelProcess[],
    private readonly admins: readonly Redis[],
  ) {}

  static async start({ replicas = 2, sentinels = 3, downAfterMs = 800 } = {}): Promise<RedisSentinelServers> {
    const fast = ['--appendonly', 'no', '--repl-diskless-sync-delay', '0'];
    const master = await RedisServer.start(fast);
    const followers = await Promise.all(
      Array.from({ length: replicas }, () =>
        RedisServer.start([...fast, '--replicaof', '127.0.0.1', String(master.port)]),
      ),
    );
    const members = await Promise.all(
      Array.from({ length: sentinels }, async () => ({
        port: await freePort(),
        id: randomBytes(20).toString('hex'),
      })),
    );
    const started = await Promise.all(
      members.map((member) =>
        SentinelProcess.start(member.port, [
          `sentinel myid ${member.id}`,
          `sentinel monitor ${NAME} 127.0.0.1 ${master.port} ${Math.floor(sentinels / 2) + 1}`,
          `sentinel down-after-milliseconds ${NAME} ${downAfterMs}`,
          `sentinel failover-timeout ${NAME} 2000`,
          // They would find each other by themselves, in a few seconds.
          ...followers.map(({ port }) => `sentinel known-replica ${NAME} 127.0.0.1 ${port}`),
          ...members
            .filter(({ id }) => id !== member.id)
            .map(({ port, id }) => `sentinel known-sentinel ${NAME} 127.0.0.1 ${port} ${id}`),
        ]),
      ),
    );
    const ports = [...members.map(({ port }) => port), master.port, ...followers.map(({ port }) => port)];
    const admins = ports.map((port) => {
      const admin = new Redis({
        port,
        retryStrategy: () => POLL_MS,
        disconnectTimeout: 50,
        maxRetriesPerRequest: null,
      });
      admin.on('error', () => {});
      return admin;
    });
    // They look every 10 s, which would be most of the time of a test (redis.io/docs/latest/operate/oss_and_stack/
    // management/sentinel, "SENTINEL DEBUG").
    const often = ['info-period', '300', 'ping-period', '200', 'ask-period', '200', 'publish-period', '300'];
    await Promise.all(admins.slice(0, sentinels).map((admin) => admin.call('SENTINEL', 'DEBUG', ...often)));
    const group = new RedisSentinelServers([master, ...followers], started, admins);
    await group.until(async () => {
      const infos = await Promise.all(admins.map((admin) => admin.info()));
      const [watching, working] = [infos.slice(0, sentinels), infos.slice(sentinels + 1)];
      return (
        watching.every((info) =>
          info.includes(`status=ok,address=127.0.0.1:${master.port},slaves=${replicas}`),
        ) && working.every((info) => info.includes('master_link_status:up'))
      );
    });
    return group;
  }

  /** What a client is told. */
  get addresses(): { host: string; port: number }[] {
    return this.sentinels.map(({ port }) => ({ host: '127.0.0.1', port }));
  }

  /** Of the test itself. */
  admin(server: RedisServer): Redis {
    const found = this.admins.find(({ options }) => options.port === server.port);
    if (found === undefined) throw new RangeError(`No server listens at ${server.port}.`);
    return found;
  }

  /** As the first sentinel sees it. */
  async master(): Promise<RedisServer> {
    const reply = await this.admins[0]?.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME);
    const [, port] = reply as [string, string];
    const found = this.servers.find((server) => server.port === Number(port));
    if (found === undefined) throw new Error(`The sentinels name ${port}.`);
    return found;
  }

  /** Until another one is the master, and takes writes; how long that took. */
  async failedOver(from: RedisServer): Promise<number> {
    const begun = performance.now();
    await this.until(async () => {
      const master = await this.master();
      return master !== from && (await this.admin(master).info('replication')).includes('role:master');
    });
    return performance.now() - begun;
  }

  /** Until so many clients of each sentinel wait for its news. */
  async listening(count: number): Promise<void> {
    await this.until(async () => {
      const lists = this.admins
        .slice(0, this.sentinels.length)
        .map((admin) => admin.client('LIST') as Promise<string>);
      // A sentinel listens to the servers, not to other sentinels.
      return (await Promise.all(lists)).every((list) => list.split(' sub=1 ').length > count);
    });
  }

  /** Until a server that was the master follows the new one. */
  async follows(server: RedisServer): Promise<void> {
    await this.until(async () => {
      const info = await this.admin(server).info('replication');
      return info.includes('role:slave') && info.includes('master_link_status:up');
    });
  }

  async close(): Promise<void> {
    for (const admin of this.admins) admin.disconnect();
    await Promise.all([...this.sentinels, ...this.servers].map((each) => each.close()));
  }

  private async until(condition: () => Promise<boolean>): Promise<void> {
    const limit = performance.now() + 20_000;
    while (!(await condition())) {
      if (performance.now() > limit) throw new Error('The sentinels did not come to that state within 20 s.');
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }
}

/** It keeps what it learns in its configuration file, so it has one. */
class SentinelProcess {
  private constructor(
    readonly port: number,
    private readonly directory: string,
    private readonly process: ChildProcess,
  ) {}

  static async start(port: number, lines: readonly string[]): Promise<SentinelProcess> {
    const directory = await mkdtemp(join(tmpdir(), 'athena-sentinel-'));
    const file = join(directory, 'sentinel.conf');
    const text = [`port ${port}`, 'bind 127.0.0.1', `dir ${directory}`, ...lines].join('\n');
    await writeFile(file, `${text}\n`);
    const process = spawn(redisExecutable(), [file, '--sentinel'], { stdio: 'ignore' });
    return new SentinelProcess(port, directory, process);
  }

  async close(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const exit = once(this.process, 'exit');
      this.process.kill('SIGKILL');
      await exit;
    }
    await rm(this.directory, { recursive: true, force: true });
  }
}

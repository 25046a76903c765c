import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import type { Examination } from '../src/cache/redis/examination.js';
import { RedisServer } from './support/redis-server.js';

const PROGRAM = join(import.meta.dirname, '../dist/redis-check.js');
const PASSWORD = 'a-secret-of-the-test';

type Variables = Readonly<Record<string, string>>;
type Report = Examination & { readonly enabled: boolean; readonly faults?: readonly string[] };

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

let directory = '';
const servers: RedisServer[] = [];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'athena-redis-check-'));
});

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

afterAll(() => rm(directory, { recursive: true, force: true }));

async function serverWith(...args: string[]): Promise<RedisServer> {
  const server = await RedisServer.start(args);
  servers.push(server);
  return server;
}

/** The built program in a process of its own, in an empty directory, with only the variables given. */
async function run(variables: Variables, ...args: string[]): Promise<Outcome> {
  const { PATH = '' } = process.env;
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    cwd: directory,
    env: { PATH, ...variables },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code: child.exitCode ?? -1, stdout, stderr };
}

async function report(variables: Variables): Promise<Report & { readonly code: number }> {
  const { code, stdout } = await run(variables, '--json');
  return { code, ...(JSON.parse(stdout) as Report) };
}

const at = ({ port }: RedisServer): Variables => ({ REDIS_HOST: '127.0.0.1', REDIS_PORT: String(port) });

async function asClient(
  { port }: RedisServer,
  work: (client: Redis) => Promise<unknown>,
  password?: string,
): Promise<void> {
  const client = new Redis({ port, host: '127.0.0.1', ...(password === undefined ? {} : { password }) });
  client.on('error', () => {});
  try {
    await work(client);
  } finally {
    client.disconnect();
  }
}

describe('redis:check', () => {
  it('finds a good server fit, and says what there is to know of it', async () => {
    const server = await serverWith('--maxmemory', '64mb', '--maxmemory-policy', 'allkeys-lru');
    const found = await report({ ...at(server), REDIS_ENABLED: 'true', REDIS_KEY_PREFIX: 'mine:' });
    expect(found).toMatchObject({
      code: 0,
      ok: true,
      enabled: true,
      address: `127.0.0.1:${server.port}`,
      tls: false,
      database: 0,
      keyPrefix: 'mine:',
      notes: [],
      server: {
        version: expect.stringMatching(/^\d+\.\d+\.\d+/),
        mode: 'standalone',
        role: 'master',
        maxMemoryBytes: 64 * 1024 * 1024,
        evictionPolicy: 'allkeys-lru',
        evictionMeaning: expect.stringContaining('any key may be dropped'),
        persistence: { aof: 'on, fsync always', rdb: 'off' },
      },
      latency: { pings: 200 },
    });
    expect(found.steps.map(({ name }) => name)).toEqual([
      'connect',
      'inspect',
      'set',
      'get',
      'delete',
      'expire',
      'changes',
      'ping',
    ]);
    expect(found.latency?.p50Ms).toBeGreaterThan(0);
    expect(found.latency?.p99Ms).toBeGreaterThanOrEqual(found.latency?.p50Ms ?? Infinity);
  });

  it('measures that a time to live of 300 ms really ends', async () => {
    const { steps } = await report(at(await serverWith()));
    const step = steps.find(({ name }) => name === 'expire');
    if (step?.ok !== true) throw new Error('The expiry was not tried.');
    const [, goneMs] = /^300 ms asked, gone after (\d+) ms$/.exec(step.detail) ?? [];
    expect(Number(goneMs)).toBeGreaterThanOrEqual(299);
    expect(Number(goneMs)).toBeLessThan(800);
  });

  it('leaves nothing behind and touches no other key', async () => {
    const server = await serverWith();
    await asClient(server, (client) => client.set('athena:theirs', 'kept'));
    expect((await run(at(server))).code).toBe(0);
    await asClient(server, async (client) => {
      expect(await client.keys('*')).toEqual(['athena:theirs']);
    });
  });

  it('checks the address while Redis is off, and says that it is off', async () => {
    const server = await serverWith();
    const { code, stdout } = await run({ ...at(server), REDIS_ENABLED: 'false' });
    expect(code).toBe(0);
    expect(stdout).toContain('REDIS_ENABLED is false');
    expect(stdout).toContain(`Redis at 127.0.0.1:${server.port}, database 0, without TLS`);
    expect(stdout).toContain('Redis is fit for Athena.');
  });

  it('reads .env of the working directory, and lets the environment win', async () => {
    const server = await serverWith();
    await writeFile(join(directory, '.env'), 'REDIS_HOST=127.0.0.1\nREDIS_PORT=1\nREDIS_DB="3" # three\n');
    try {
      const found = await report({ REDIS_PORT: String(server.port) });
      expect(found).toMatchObject({ code: 0, address: `127.0.0.1:${server.port}`, database: 3 });
    } finally {
      await rm(join(directory, '.env'));
    }
  });

  it('explains an absent server', async () => {
    const server = await RedisServer.absent();
    servers.push(server);
    const { code, stdout } = await run(at(server));
    expect(code).toBe(1);
    expect(stdout).toMatch(/FAILED {2}connect .*ECONNREFUSED/);
    expect(stdout).toContain('Nothing listens at this address');
    expect(stdout).toContain('What to do: Start Redis');
    expect(stdout).toContain('Athena starts and serves all the same');
  });

  it('explains a host name that does not exist', async () => {
    const { code, steps } = await report({ REDIS_HOST: 'no-such-host.invalid' });
    expect(code).toBe(1);
    expect(steps).toMatchObject([{ ok: false, problem: 'The host name cannot be resolved.' }]);
  });

  it.each([
    ['wrong', { REDIS_PASSWORD: `${PASSWORD}-not` }, 'refuses this user name or password'],
    ['missing', {}, 'asks for a password, and none is configured'],
  ])('explains a %s password, and never prints one', async (_, variables, problem) => {
    const server = await serverWith('--requirepass', PASSWORD);
    const { code, stdout, stderr } = await run({ ...at(server), ...variables });
    expect(code).toBe(1);
    expect(stdout).toContain(problem);
    expect(stdout + stderr).not.toContain(PASSWORD);
  });

  it('never prints the password of REDIS_URL', async () => {
    const server = await serverWith('--requirepass', PASSWORD);
    const { code, stdout, stderr } = await run({
      REDIS_URL: `redis://:${PASSWORD}@127.0.0.1:${server.port}/2`,
    });
    expect(code).toBe(0);
    expect(stdout).toContain(`Redis at 127.0.0.1:${server.port}, database 2`);
    expect(stdout + stderr).not.toContain(PASSWORD);
  });

  it('finds a user fit that has the rights which it recommends, and explains one that has not', async () => {
    const server = await serverWith();
    await asClient(server, async (client) => {
      const recommended = `ACL SETUSER athena on >${PASSWORD} ~athena:* &* +@all -@dangerous +info`.split(
        ' ',
      );
      await client.call(recommended[0] ?? '', ...recommended.slice(1));
      await client.call(
        'ACL',
        'SETUSER',
        'reader',
        'on',
        `>${PASSWORD}`,
        '~*',
        '+@read',
        '+@connection',
        '+info',
        '+time',
      );
    });
    const athena = await report({ ...at(server), REDIS_USERNAME: 'athena', REDIS_PASSWORD: PASSWORD });
    expect(athena).toMatchObject({ code: 0, server: { persistence: { rdb: 'unknown' } } });
    const reader = await report({ ...at(server), REDIS_USERNAME: 'reader', REDIS_PASSWORD: PASSWORD });
    expect(reader.code).toBe(1);
    expect(reader.steps).toContainEqual(
      expect.objectContaining({
        name: 'set',
        ok: false,
        advice: expect.stringContaining('+@all -@dangerous +info'),
      }),
    );
  });

  it('says how instances learn of changes where a right is missing, and that this is fit all the same', async () => {
    const server = await serverWith();
    const found = async (...rights: string[]): Promise<Report & { readonly code: number }> => {
      const user = ['reset', 'on', `>${PASSWORD}`, '~*', '&*', '+@all', ...rights];
      await asClient(server, (client) => client.call('ACL', 'SETUSER', 'athena', ...user));
      return report({ ...at(server), REDIS_USERNAME: 'athena', REDIS_PASSWORD: PASSWORD });
    };
    const untracked = await found('-client|tracking');
    expect(untracked).toMatchObject({ code: 0, changes: { state: 'notices' } });
    expect(untracked.notes).toEqual([expect.stringMatching(/NOPERM.*tell each other.*athena:~notices:0/)]);
    const deaf = await found('-client|tracking', '-subscribe');
    expect(deaf).toMatchObject({ code: 0, changes: { state: 'refused' } });
    expect(deaf.notes).toEqual([expect.stringMatching(/every hit costs a round trip/)]);
    const mute = await found('-publish');
    expect(mute).toMatchObject({ code: 0, changes: { state: 'armed', unpublished: expect.any(String) } });
    expect(mute.notes).toEqual([expect.stringMatching(/may not publish/)]);
  });

  it('explains a server that is stopped', async () => {
    const server = await serverWith();
    server.freeze();
    const begun = performance.now();
    const { code, steps } = await report({ ...at(server), REDIS_CONNECT_TIMEOUT_MS: '500' });
    server.thaw();
    expect(code).toBe(1);
    expect(steps).toMatchObject([
      { name: 'connect', ok: false, problem: expect.stringContaining('no answer comes in time') },
    ]);
    expect(performance.now() - begun).toBeLessThan(5000);
  });

  it('explains a server that is still loading', async () => {
    const server = await serverWith(
      '--key-load-delay',
      '20000',
      '--loading-process-events-interval-bytes',
      '1024',
      '--rdbcompression',
      'no',
    );
    await asClient(server, async (client) => {
      for (let key = 0; key < 500; key += 1) await client.set(`key-${key}`, 'x'.repeat(2048));
      // The delay is one of reading snapshots, which a rewritten append-only file begins with.
      await client.bgrewriteaof();
      while (!/aof_rewrite_in_progress:0/.test(await client.info('persistence'))) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    });
    await server.kill();
    const up = server.up();
    const found = await waitForLoading(server);
    expect(found.steps).toMatchObject([
      { name: 'connect', ok: false, problem: expect.stringContaining('still reading its data') },
    ]);
    const impatient = new Redis({ port: server.port, host: '127.0.0.1', enableReadyCheck: false });
    await impatient.config('SET', 'key-load-delay', '0');
    impatient.disconnect();
    await up;
  });

  it('explains a read-only replica', async () => {
    const primary = await serverWith();
    const replica = await serverWith('--replicaof', '127.0.0.1', String(primary.port));
    const { code, steps, server } = await report(at(replica));
    expect(code).toBe(1);
    expect(server?.role).toBe('slave');
    expect(steps.find(({ name }) => name === 'set')).toMatchObject({
      ok: false,
      problem: expect.stringContaining('read-only replica'),
    });
    expect(steps.map(({ name }) => name)).not.toContain('get');
  });

  it('explains too few replicas', async () => {
    const { code, steps } = await report(at(await serverWith('--min-replicas-to-write', '1')));
    expect(code).toBe(1);
    expect(steps).toContainEqual(
      expect.objectContaining({ name: 'set', problem: expect.stringContaining('too few replicas') }),
    );
  });

  it('explains a full server that may drop nothing', async () => {
    const server = await serverWith('--maxmemory', '1', '--maxmemory-policy', 'noeviction');
    const { code, steps } = await report(at(server));
    expect(code).toBe(1);
    expect(steps).toContainEqual(
      expect.objectContaining({ name: 'set', ok: false, problem: expect.stringContaining('Redis is full') }),
    );
  });

  it('explains a database that does not exist', async () => {
    const { code, steps } = await report({ ...at(await serverWith('--databases', '2')), REDIS_DB: '7' });
    expect(code).toBe(1);
    expect(steps).toMatchObject([{ ok: false, reply: 'ERR DB index is out of range' }]);
  });

  it('explains TLS against a server that speaks none', async () => {
    const server = await serverWith();
    const { code, steps } = await report({
      ...at(server),
      REDIS_TLS: 'true',
      REDIS_CONNECT_TIMEOUT_MS: '500',
    });
    expect(code).toBe(1);
    expect(steps).toMatchObject([{ ok: false, advice: expect.stringContaining('REDIS_TLS=false') }]);
  });

  it('notes a variable that is misspelled', async () => {
    const { code, notes } = await report({ ...at(await serverWith()), REDIS_PASWORD: PASSWORD });
    expect(code).toBe(0);
    expect(notes).toContain('REDIS_PASWORD is set, but Athena has no such variable.');
  });

  it('lists every fault of the configuration', async () => {
    const variables = { REDIS_PORT: '0', REDIS_TLS: 'yes', CACHE_ENCRYPTION_KEYS: PASSWORD };
    const outcome = await run(variables);
    expect(outcome).toMatchObject({ code: 2, stdout: '' });
    expect(outcome.stderr).toContain('3 fault(s)');
    for (const name of Object.keys(variables)) expect(outcome.stderr).toContain(name);
    expect(outcome.stderr).not.toContain(PASSWORD);
    const asJson = await run(variables, '--json');
    expect(asJson.code).toBe(2);
    expect(JSON.parse(asJson.stdout)).toMatchObject({ ok: false, faults: { length: 3 } });
  });

  it('explains itself, and refuses an option that it has not', async () => {
    const help = await run({}, '--help');
    expect(help.code).toBe(0);
    expect(help.stdout).toContain('npm run redis:check');
    const unknown = await run({}, '--verbose');
    expect(unknown.code).toBe(2);
    expect(unknown.stderr).toContain('--verbose');
  });
});

/** The server first has to listen; then it loads for seconds. */
async function waitForLoading(server: RedisServer): Promise<Report> {
  for (;;) {
    const found = await report({ ...at(server), REDIS_CONNECT_TIMEOUT_MS: '500' });
    const [step] = found.steps;
    if (step?.ok !== false || !step.reply.includes('ECONNREFUSED')) return found;
  }
}

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, sep } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import {
  AnalysisCrashedError,
  AnalysisTimeoutError,
  InvalidAnswerError,
  ProviderBusyError,
  ProviderUnavailableError,
} from '../../../../src/ai/ai.errors.js';
import {
  ProcessPool,
  type PoolEvent,
  type ProcessPoolOptions,
} from '../../../../src/ai/providers/local/process-pool.js';

const FIXTURES = join(process.cwd(), 'test/ai/providers/local/fixtures', sep);
const DIST = join(process.cwd(), 'dist/ai/providers/local', sep);

const WATCHDOG = join(DIST, 'watchdog.js');

type Job = { readonly deed: string } & Readonly<Record<string, unknown>>;

const pools: ProcessPool<Job>[] = [];

function poolOf(fixture: string, options: Partial<ProcessPoolOptions> = {}): ProcessPool<Job> {
  const pool = new ProcessPool<Job>({
    name: 'local',
    modulePath: join(FIXTURES, fixture),
    readablePaths: [FIXTURES, DIST],
    maxHeapMb: 64,
    processes: 1,
    timeoutMs: 10_000,
    queueLimit: 8,
    ...options,
  });
  pools.push(pool);
  return pool;
}

interface RunOverrides {
  signal?: AbortSignal;
  timeoutMs?: number;
}

function run(pool: ProcessPool<Job>, job: Job, overrides: RunOverrides = {}): Promise<unknown> {
  return pool.run(job, { parse: (value) => value, signal: new AbortController().signal, ...overrides });
}

function refuse(): never {
  throw new TypeError('not what was asked for');
}

/** A log that can be waited for. */
function eventLog(): { log: (event: PoolEvent) => void; seen: PoolEvent[]; next: () => Promise<PoolEvent> } {
  const seen: PoolEvent[] = [];
  const waiting: ((event: PoolEvent) => void)[] = [];
  return {
    seen,
    log: (event) => {
      seen.push(event);
      waiting.shift()?.(event);
    },
    next: () => new Promise((resolve) => waiting.push(resolve)),
  };
}

afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()));
});

describe('ProcessPool: jobs', () => {
  it('answers, and uses one child for many jobs', async () => {
    const pool = poolOf('obedient.mjs');
    const pid = await run(pool, { deed: 'pid' });
    expect(await run(pool, { deed: 'echo', value: { a: [1, 'é\u0000'] } })).toEqual({ a: [1, 'é\u0000'] });
    expect(await run(pool, { deed: 'pid' })).toBe(pid);
    expect(pool.stats()).toMatchObject({ busy: 0, queued: 0, restarts: 0, ready: 1 });
  });

  it('does as many at once as it has children, the others in order', async () => {
    const pool = poolOf('obedient.mjs', { processes: 2 });
    const blocker = new AbortController();
    const blocked = run(pool, { deed: 'silence' }, { signal: blocker.signal });
    const order: unknown[] = [];
    const jobs = [1, 2, 3].map((value) =>
      run(pool, { deed: 'echo', value }).then((echo) => order.push(echo)),
    );
    expect(pool.stats()).toMatchObject({ busy: 2, queued: 2 });
    await Promise.all(jobs);
    expect(order).toEqual([1, 2, 3]);
    expect(pool.stats()).toMatchObject({ busy: 1, queued: 0 });
    blocker.abort();
    await expect(blocked).rejects.toThrow(/abort/i);
  });

  it('refuses a job beyond the queue', async () => {
    const pool = poolOf('obedient.mjs', { queueLimit: 1 });
    const accepted = [run(pool, { deed: 'pid' }), run(pool, { deed: 'pid' })];
    const error = await run(pool, { deed: 'pid' }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ProviderBusyError);
    expect(error).toMatchObject({ provider: 'local', queueLimit: 1 });
    await Promise.all(accepted);
    await expect(run(pool, { deed: 'pid' })).resolves.toEqual(expect.any(Number));
  });

  it('does not count waiting in the queue as time of the job', async () => {
    const pool = poolOf('obedient.mjs');
    const first = run(pool, { deed: 'silence' }, { timeoutMs: 700 });
    const second = run(pool, { deed: 'echo', value: 2 }, { timeoutMs: 600 });
    await expect(first).rejects.toThrow(AnalysisTimeoutError);
    expect(await second).toBe(2);
  });

  it('passes on what the child has so far, and still waits for the rest', async () => {
    const pool = poolOf('obedient.mjs');
    const partials: unknown[] = [];
    const answer = await pool.run(
      { deed: 'partial', first: 'half', value: 'whole' },
      {
        parse: (value) => value,
        signal: new AbortController().signal,
        onPartial: (value) => partials.push(value),
      },
    );
    expect([partials, answer]).toEqual([['half'], 'whole']);
  });

  it('reports an error that the child reports, and keeps the child', async () => {
    const pool = poolOf('obedient.mjs');
    const pid = await run(pool, { deed: 'pid' });
    await expect(run(pool, { deed: 'fail' })).rejects.toThrow(/as told/);
    expect(await run(pool, { deed: 'pid' })).toBe(pid);
  });
});

describe('ProcessPool: hostile children', () => {
  it('kills a child that loops, and goes on with another', async () => {
    const pool = poolOf('obedient.mjs');
    const pid = await run(pool, { deed: 'pid' });
    const error = await run(pool, { deed: 'loop' }, { timeoutMs: 300 }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(AnalysisTimeoutError);
    expect(error).toMatchObject({ provider: 'local', timeoutMs: 300 });
    expect(await run(pool, { deed: 'pid' })).not.toBe(pid);
    expect(pool.stats()).toMatchObject({ timeouts: 1, crashes: 0, restarts: 1 });
  });

  it.each([
    [{ deed: 'exit', code: 3 }, /exit code 3/],
    [{ deed: 'abort' }, /SIGABRT/],
    [{ deed: 'exhaust' }, /out of memory/],
    [{ deed: 'swellBesideWatchdog', watchdog: WATCHDOG }, /out of memory \(SIGKILL\)/],
  ])('says how a child died: %j', async (job, reason) => {
    const pool = poolOf('obedient.mjs');
    const error = await run(pool, job).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(AnalysisCrashedError);
    expect(String(error)).toMatch(reason);
    expect(await run(pool, { deed: 'echo', value: 'next' })).toBe('next');
    expect(pool.stats()).toMatchObject({ crashes: 1 });
  });

  it.each(['notJson', 'notAReply', 'otherId', 'announceTooMuch', 'twoPartials'])(
    'kills a child that sends garbage: %s',
    async (deed) => {
      const { log, seen } = eventLog();
      const pool = poolOf('obedient.mjs', { log });
      await expect(run(pool, { deed })).rejects.toThrow(InvalidAnswerError);
      expect(seen.at(-1)).toMatchObject({ event: 'child_killed', cause: 'garbage' });
      expect(await run(pool, { deed: 'echo', value: 'next' })).toBe('next');
    },
  );

  it('kills a child whose answer the caller does not accept', async () => {
    const pool = poolOf('obedient.mjs');
    const pid = await run(pool, { deed: 'pid' });
    const { signal } = new AbortController();
    const refused = pool.run({ deed: 'pid' }, { parse: refuse, signal });
    await expect(refused).rejects.toThrow(InvalidAnswerError);
    expect(await run(pool, { deed: 'pid' })).not.toBe(pid);
  });

  it('gives a child no rights and no environment', async () => {
    const pool = poolOf('obedient.mjs');
    const target = join(tmpdir(), `athena-pool-${process.pid}`);
    expect(await run(pool, { deed: 'write', path: target })).toBe('ERR_ACCESS_DENIED');
    expect(await run(pool, { deed: 'read', path: '/etc/hostname' })).toBe('ERR_ACCESS_DENIED');
    expect(await run(pool, { deed: 'spawn', command: '/bin/true' })).toBe('ERR_ACCESS_DENIED');
    expect(await run(pool, { deed: 'environment' })).toEqual([]);
    expect(existsSync(target)).toBe(false);
  });
});

describe('ProcessPool: abort', () => {
  it('takes a waiting job out of the queue at once', async () => {
    const pool = poolOf('obedient.mjs');
    const running = run(pool, { deed: 'pid' });
    const controller = new AbortController();
    const waiting = run(pool, { deed: 'pid' }, { signal: controller.signal });
    controller.abort(new Error('changed my mind'));
    await expect(waiting).rejects.toThrow('changed my mind');
    expect(pool.stats().queued).toBe(0);
    await running;
  });

  it('kills the child of a running job', async () => {
    const pool = poolOf('obedient.mjs');
    const pid = await run(pool, { deed: 'pid' });
    const controller = new AbortController();
    const running = run(pool, { deed: 'loop' }, { signal: controller.signal });
    controller.abort(new Error('changed my mind'));
    await expect(running).rejects.toThrow('changed my mind');
    expect(await run(pool, { deed: 'pid' })).not.toBe(pid);
    expect(pool.stats()).toMatchObject({ timeouts: 0, crashes: 0, restarts: 1 });
  });

  it('does not begin what was aborted before', async () => {
    const pool = poolOf('obedient.mjs');
    await expect(run(pool, { deed: 'pid' }, { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
    expect(pool.stats().ready).toBe(0);
  });
});

describe('ProcessPool: renewal', () => {
  it('replaces a child after its share of jobs', async () => {
    const pool = poolOf('obedient.mjs', { maxJobsPerProcess: 3 });
    const pids: unknown[] = [];
    for (let job = 0; job < 7; job += 1) pids.push(await run(pool, { deed: 'pid' }));
    expect(new Set(pids.slice(0, 3)).size).toBe(1);
    expect(new Set(pids).size).toBe(3);
  });

  it('replaces a child that has grown', async () => {
    const pool = poolOf('obedient.mjs', { maxIdleRssBytes: 1_000 });
    const pid = await run(pool, { deed: 'pid' });
    expect(await run(pool, { deed: 'pid', rssBytes: 1_001 })).toBe(pid);
    expect(await run(pool, { deed: 'pid' })).not.toBe(pid);
  });

  it('starts all children ahead when it is told to', async () => {
    const { log, next } = eventLog();
    const pool = poolOf('obedient.mjs', { processes: 2, log });
    const started = Promise.all([next(), next()]);
    pool.start();
    expect((await started).map(({ event }) => event)).toEqual(['child_ready', 'child_ready']);
    expect(pool.stats()).toMatchObject({ ready: 2, restarts: 0 });
  });

  it('does not become a fork bomb when children die at once, and says that it is unavailable', async () => {
    const { log, seen } = eventLog();
    const pool = poolOf('dies-at-start.mjs', { log, respawnDelayMs: 20 });
    await expect(run(pool, { deed: 'pid' })).rejects.toThrow(ProviderUnavailableError);
    expect(pool.stats()).toMatchObject({ startable: false, busy: 0 });
    await expect(run(pool, { deed: 'pid' })).rejects.toThrow(ProviderUnavailableError);
    expect(seen).toHaveLength(3);
    expect(seen[2]).toMatchObject({ failures: 3, exit: { reason: 'exit code 7', stderrTail: 'no good\n' } });
  });

  it('recovers when children start again', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'athena-pool-'));
    const modulePath = join(folder, 'child.mjs');
    writeFileSync(modulePath, 'process.exit(1);');
    const ready = Promise.withResolvers<void>();
    const log = ({ event }: PoolEvent): void => (event === 'child_ready' ? ready.resolve() : undefined);
    const readablePaths = [join(folder, sep), FIXTURES];
    const pool = poolOf('', { modulePath, readablePaths, log, respawnDelayMs: 20 });
    await expect(run(pool, { deed: 'pid' })).rejects.toThrow(ProviderUnavailableError);
    writeFileSync(modulePath, `import ${JSON.stringify(join(FIXTURES, 'obedient.mjs'))};`);
    await ready.promise;
    expect(await run(pool, { deed: 'echo', value: 'well' })).toBe('well');
    rmSync(folder, { recursive: true });
  });

  it('gives up on a child that is never ready', async () => {
    const { log, next } = eventLog();
    const pool = poolOf('never-ready.mjs', { log, startTimeoutMs: 200 });
    const failed = next();
    await expect(run(pool, { deed: 'pid' }, { timeoutMs: 50 })).rejects.toThrow(AnalysisTimeoutError);
    expect(await failed).toMatchObject({ event: 'child_start_failed' });
  });
});

describe('ProcessPool: the end', () => {
  it('lets what runs finish, refuses what waits and what comes, and leaves no child', async () => {
    const pool = poolOf('obedient.mjs');
    const pid = await run(pool, { deed: 'pid' });
    const running = run(pool, { deed: 'echo', value: 'done' });
    const waiting = run(pool, { deed: 'pid' });
    const refused = expect(waiting).rejects.toThrow(ProviderUnavailableError);
    const closed = pool.close();
    await expect(run(pool, { deed: 'pid' })).rejects.toThrow(ProviderUnavailableError);
    expect(await running).toBe('done');
    await Promise.all([refused, closed, pool.close()]);
    expect(isAlive(Number(pid))).toBe(false);
  });

  it('waits no longer than the time of the job that runs', async () => {
    const pool = poolOf('obedient.mjs');
    const pid = await run(pool, { deed: 'pid' });
    const running = run(pool, { deed: 'loop' }, { timeoutMs: 300 });
    const failed = expect(running).rejects.toThrow(AnalysisTimeoutError);
    await pool.close();
    await failed;
    expect(isAlive(Number(pid))).toBe(false);
  });

  it.each([
    ['idle', { deed: 'pid' }],
    ['looping', { deed: 'loopBesideWatchdog', watchdog: WATCHDOG }],
  ])('leaves no orphan when the parent is killed: %s', async (_, job) => {
    const readable = [FIXTURES, DIST].join(',');
    const parent = spawn(
      process.execPath,
      [
        join(FIXTURES, 'parent.mjs'),
        join(DIST, 'process-pool.js'),
        join(FIXTURES, 'obedient.mjs'),
        readable,
        JSON.stringify(job),
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const [output] = (await once(parent.stdout, 'data')) as [Buffer];
    const pid = Number(output.toString());
    expect(isAlive(pid)).toBe(true);
    parent.kill('SIGKILL');
    await once(parent, 'exit');
    // Another's child: there is no event to wait for.
    while (isAlive(pid)) await delay(20);
  });
});

describe('ProcessPool: options', () => {
  it.each([
    ['processes', 0],
    ['processes', 1.5],
    ['timeoutMs', Number.NaN],
    ['queueLimit', -1],
    ['maxHeapMb', 1],
    ['maxJobsPerProcess', 0],
  ])('refuses %s = %p and says what it wants', (option, value) => {
    expect(() => poolOf('obedient.mjs', { [option]: value })).toThrow(RangeError);
    expect(() => poolOf('obedient.mjs', { [option]: value })).toThrow(
      new RegExp(`${option} must be an integer from \\d+ to \\d+, received ${String(value)}`),
    );
  });
});

/** A zombie whose parent has not reaped it yet still has a process id. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

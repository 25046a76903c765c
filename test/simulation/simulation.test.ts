import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { hunt } from './hunt.js';
import { ModelRedis } from './model-redis.js';
import { mutantNamed } from './mutants.js';
import { KINDS, scheduleOf } from './schedule.js';
import { shrink } from './shrink.js';
import { runSeed, simulate } from './simulate.js';

const execute = promisify(execFile);
const SCHEDULES = 10_000;
/** The others take longer; see `npm run simulate -- --mutants`. */
const SOON_KILLED = [
  'no-version-check',
  'no-tombstone',
  'short-tombstone',
  'late-set-skipped',
  'stamp-at-end',
  'marks-at-connect-only',
  'serves-before-marks',
  'no-read-merge',
  'no-restamp-of-live',
  'no-incarnation-check',
  'journal-not-loaded',
  'cold-joiner-believes',
  'told-and-served',
  'fill-survives-a-push',
  'checked-for-ever',
  'checked-while-armed',
  'echoes-suppressed',
  'lease-for-all',
  'lease-not-renewed',
  'lease-not-released',
  'release-not-told',
  'held-without-a-look',
];

describe('the replication core, simulated', () => {
  // In a process of its own: within Jest's own contexts it takes more than twice the time.
  it(`keeps its promises in ${SCHEDULES} schedules, in which everything happens that can`, async () => {
    const script = join(import.meta.dirname, '../../scripts/simulate.js');
    const args = ['--no-warnings', script, '--seed', '1', '--seeds', String(SCHEDULES)];
    const { stdout } = await execute(process.execPath, args).catch((error: Error) => error as never);
    expect(stdout).toContain(`No promise was broken in ${SCHEDULES} schedules`);
    const happened = new Map(
      [...stdout.matchAll(/^ {2}(.+?) +(\d+)$/gm)].map(([, kind, count]) => [kind, Number(count)]),
    );
    expect(KINDS.filter((kind) => (happened.get(kind) ?? 0) < SCHEDULES / 10)).toEqual([]);
  }, 240_000);

  it.each(SOON_KILLED)('sees that a rule is missing: %s', async (name) => {
    const { promise } = await hunt(mutantNamed(name), { firstSeed: 1, maxSeeds: 1000 });
    expect(promise).toBeDefined();
  });

  it('plays a seed the same way each time', async () => {
    const runs = [await runSeed(7, { traced: true }), await runSeed(7, { traced: true })];
    expect(runs[0]?.trace.length).toBeGreaterThan(100);
    expect(runs[0]).toEqual(runs[1]);
  });

  it('finds what is broken, and the least that shows it', async () => {
    const { redis = ModelRedis } = mutantNamed('no-version-check');
    const { failure } = await simulate({ firstSeed: 1, seeds: 1000, redis });
    const schedule = scheduleOf(failure?.seed ?? 0);
    const { violation = { promise: '', detail: '' } } = failure ?? {};
    const shrunk = await shrink(schedule, violation, { redis });
    expect(shrunk.run.violation?.promise).toBe(violation.promise);
    expect(shrunk.schedule.steps.length).toBeLessThan(10);
  });
});

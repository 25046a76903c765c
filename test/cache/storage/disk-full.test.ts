import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from '@jest/globals';

const MIB = 1024 * 1024;
const DONE = 'done';
const REFUSED = 'cache_storage_unavailable';
/** Mounts that nobody else sees, and that end with the process. */
const ISOLATED = process.getuid?.() === 0 ? ['--mount'] : ['--user', '--map-root-user', '--mount'];

interface Report {
  /** How many writes of entries and of the journal ended how, in each phase. */
  readonly before: Record<string, number>;
  readonly full: Record<string, number>;
  readonly after: Record<string, number>;
  readonly again: Record<string, number>;
  readonly diedBefore: number;
  readonly exits: string[];
  readonly reopened: {
    readonly opened: boolean;
    readonly lost: unknown[];
    readonly corrupt: number;
    readonly damaged: number;
    readonly entries: number;
    readonly sets: string[];
    readonly journal: string;
    readonly removal: string;
    readonly withRoom: string;
  };
}

const canMount = spawnSync('unshare', [...ISOLATED, 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).status === 0;
if (!canMount) process.stderr.write('SKIPPED: no disk can be mounted here, so none is filled.\n');

(canMount ? describe : describe.skip)('DiskCacheStorage on a disk that others fill', () => {
  const directories: string[] = [];
  afterEach(async () => {
    for (const directory of directories.splice(0)) await rm(directory, { recursive: true });
  });

  async function onSmallDisk(bytes: number, phaseMs: number): Promise<Report> {
    const path = await mkdtemp(join(tmpdir(), 'athena-full-'));
    directories.push(path);
    const script = join(import.meta.dirname, 'disk-full-rounds.fixture.mjs');
    const numbers = [bytes, 64 * MIB, phaseMs].map(String);
    // The arguments of the shell: the program, the fixture, the disk, and the numbers.
    const mount = `mount -t tmpfs -o size=${128 * MIB} tmpfs "$2" && exec "$0" "$@"`;
    const command = ['sh', '-c', mount, process.execPath, script, path, ...numbers];
    const disk = spawn('unshare', [...ISOLATED, ...command], { stdio: ['ignore', 'pipe', 'inherit'] });
    return JSON.parse(await text(disk.stdout)) as Report;
  }

  const outcomesOf = (counts: Record<string, number>, kind: string): string[] =>
    Object.keys(counts).flatMap((name) => (name.startsWith(kind) ? [name.slice(kind.length + 1)] : []));

  it.each([
    ['small', 2000, 100],
    ['large', 400_000, 100],
    ['of some megabytes', 2_500_000, 200],
  ])('lives on, with values that are %s', async (_name, bytes, phaseMs) => {
    const { before, full, after, again, exits, diedBefore, reopened } = await onSmallDisk(bytes, phaseMs);
    expect({ diedBefore, exits }).toEqual({ diedBefore: 0, exits: ['SIGKILL'] });
    for (const phase of [before, full, after, again]) {
      expect(outcomesOf(phase, 'wrong')).toEqual([]);
      for (const kind of ['entry', 'journal']) {
        const outcomes = outcomesOf(phase, kind);
        expect(outcomes.filter((outcome) => outcome !== DONE && outcome !== REFUSED)).toEqual([]);
      }
    }
    expect(outcomesOf(full, 'journal')).toContain(DONE);
    expect(outcomesOf(after, 'entry')).toEqual([DONE]);
    expect(outcomesOf(after, 'journal')).toEqual([DONE]);
    expect(reopened).toMatchObject({ opened: true, lost: [], corrupt: 0, damaged: 0 });
    for (const outcome of [...reopened.sets, reopened.journal]) expect([DONE, REFUSED]).toContain(outcome);
    expect(reopened).toMatchObject({ removal: DONE, withRoom: DONE });
  });
});

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';

const ROOT = join(import.meta.dirname, '..');
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');

interface Instruction {
  readonly name: string;
  readonly rest: string;
}

/** The instructions of the Dockerfile, continued lines joined, split by stage. */
function stages(): { from: string; instructions: Instruction[] }[] {
  const logical = read('Dockerfile')
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, ' ');
  const found: { from: string; instructions: Instruction[] }[] = [];
  for (const line of logical.split('\n').filter((text) => text.trim() !== '')) {
    const [, name = '', rest = ''] = /^([A-Z]+) +(.*)$/.exec(line) ?? [];
    expect(name).not.toBe('');
    if (name === 'FROM') found.push({ from: rest, instructions: [] });
    else found.at(-1)?.instructions.push({ name, rest });
  }
  return found;
}

const all = (instructions: readonly Instruction[], name: string): string[] =>
  instructions.filter((instruction) => instruction.name === name).map(({ rest }) => rest);

describe('the Dockerfile', () => {
  const [build, runtime, ...others] = stages();
  if (build === undefined || runtime === undefined) throw new Error('The Dockerfile has two stages.');

  it('pins the major of Node that package.json asks for, in both stages', () => {
    const { engines } = JSON.parse(read('package.json')) as { engines: { node: string } };
    const [, major] = /^>=(\d+) </.exec(engines.node) ?? [];
    expect(others).toEqual([]);
    expect([build.from, runtime.from]).toEqual([`node:${major}-slim AS build`, `node:${major}-slim`]);
  });

  it('copies what exists and what .dockerignore lets through', () => {
    const sources = all(build.instructions, 'COPY').flatMap((rest) => rest.split(' ').slice(0, -1));
    expect(sources).toEqual(['package.json', 'package-lock.json', '.swcrc', 'src']);
    for (const source of sources) expect(existsSync(join(ROOT, source))).toBe(true);
    const [everything, ...allowed] = read('.dockerignore')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
    expect(everything).toBe('*');
    expect(allowed.sort()).toEqual(sources.map((source) => `!${source}`).sort());
  });

  it('runs what the build makes, as process 1, and not as root', () => {
    const [command = ''] = all(runtime.instructions, 'CMD');
    const [program, ...args] = JSON.parse(command) as string[];
    expect(program).toBe('node');
    expect(existsSync(join(ROOT, args.at(-1) ?? ''))).toBe(true);
    expect(all(runtime.instructions, 'ENTRYPOINT')).toEqual([]);
    expect(all(runtime.instructions, 'USER')).toEqual(['node']);
    expect(all(runtime.instructions, 'ENV').join(' ')).toContain('NODE_ENV=production');
  });

  it('has a health check that is a program, and fails where nothing answers', () => {
    const [check = ''] = all(runtime.instructions, 'HEALTHCHECK');
    const [, command = ''] = /CMD (\[.*\])$/.exec(check) ?? [];
    const [program, ...args] = JSON.parse(command) as string[];
    expect(program).toBe('node');
    expect(args.join(' ')).toContain('/health/ready');
    // Port 1 of loopback: nobody listens.
    expect(spawnSync(process.execPath, args, { env: { PORT: '1' } }).status).toBe(1);
  });
});

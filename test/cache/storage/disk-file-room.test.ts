import { mkdtemp, open, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { FileRoom } from '../../../src/cache/storage/file-room.js';

const MIB = 1024 * 1024;
const BLOCK = 4096;

describe('FileRoom', () => {
  let directory: string;
  let path: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'athena-room-'));
    path = join(directory, 'file');
  });
  afterEach(() => rm(directory, { recursive: true }));

  async function grown(bytes: number): Promise<number> {
    const room = await FileRoom.open(path);
    expect(await room.growTo(bytes)).toBe(true);
    const end = room.bytes;
    await room.close();
    return end;
  }

  it('grows by whole steps, and keeps what is there', async () => {
    await writeFile(path, Buffer.alloc(3 * BLOCK, 'x'));
    expect(await grown(MIB + 1)).toBe(2 * MIB);
    const { size, blocks } = await stat(path);
    expect(size).toBe(2 * MIB);
    expect(blocks * 512).toBeGreaterThanOrEqual(size);
    const content = await readFile(path);
    expect(content.subarray(0, 3 * BLOCK)).toEqual(Buffer.alloc(3 * BLOCK, 'x'));
    expect(content.subarray(3 * BLOCK).every((byte) => byte === 0)).toBe(true);
  });

  it('fills the holes of a file', async () => {
    await writeFile(path, '');
    await truncate(path, 3 * MIB);
    const file = await open(path, 'r+');
    await file.write('island', MIB + BLOCK);
    await file.close();
    const before = await stat(path);
    expect(before.blocks * 512).toBeLessThan(before.size);
    await grown(3 * MIB);
    const { size, blocks } = await stat(path);
    expect(blocks * 512).toBeGreaterThanOrEqual(size);
    expect((await readFile(path)).toString('latin1', MIB + BLOCK, MIB + BLOCK + 6)).toBe('island');
  });

  it('takes nothing where it has enough', async () => {
    await writeFile(path, Buffer.alloc(2 * MIB, 'x'));
    expect(await grown(MIB)).toBe(2 * MIB);
    expect((await stat(path)).size).toBe(2 * MIB);
  });
});

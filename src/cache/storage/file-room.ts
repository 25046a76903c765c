import { writeSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';

const MIB = 1024 * 1024;
const STEP = MIB;
const BLOCK = 4096;
/** Of what is written in larger pieces, Linux writes more than what changed, each time that a part of it changes. */
const PIECE = 4 * BLOCK;
const STAT_BLOCK = 512;
const ZEROS = Buffer.alloc(PIECE);
const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/**
 * The part of a file that has its blocks on the disk, so that it can be written where the disk is full. It grows by
 * zeros, written: a file that is only made longer has holes, and they take blocks when it is too late.
 */
export class FileRoom {
  private constructor(
    private readonly file: FileHandle,
    private end: number,
  ) {}

  static async open(path: string): Promise<FileRoom> {
    const file = await open(path, 'r+');
    const { size, blocks } = await file.stat();
    return new FileRoom(file, blocks * STAT_BLOCK < size ? 0 : size - (size % BLOCK));
  }

  /** Up to here there are no holes. */
  get bytes(): number {
    return this.end;
  }

  /** Not while someone else writes to the file. False if the disk is full; what was had of it is kept. */
  async growTo(bytes: number): Promise<boolean> {
    if (this.end >= bytes) return true;
    const goal = Math.ceil(bytes / STEP) * STEP;
    try {
      while (this.end < goal) await this.fill();
    } catch (error) {
      if (!FULL.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
    return this.end >= bytes;
  }

  close(): Promise<void> {
    return this.file.close();
  }

  /** A step, or a part of it. A write of a small piece costs less here than on its way to another thread. */
  private async fill(): Promise<void> {
    const found = Buffer.allocUnsafe(STEP);
    const { bytesRead } = await this.file.read(found, 0, STEP, this.end);
    const end = this.end - (this.end % STEP) + STEP;
    for (let at = 0; at + BLOCK <= bytesRead; at += BLOCK) {
      const isHole = found.compare(ZEROS, 0, BLOCK, at, at + BLOCK) === 0;
      if (isHole) writeSync(this.file.fd, ZEROS, 0, BLOCK, this.end);
      this.end += BLOCK;
    }
    if (bytesRead >= BLOCK) return;
    while (this.end < end) {
      const written = writeSync(this.file.fd, ZEROS, 0, Math.min(PIECE, end - this.end), this.end);
      this.end += written - (written % BLOCK);
      if (written < BLOCK) return;
    }
  }
}

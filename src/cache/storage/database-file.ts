import { closeSync, existsSync, fstatSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { writeInPlace } from './write-in-place.js';

const DATA = 'data.mdb';
const READERS = 'lock.mdb';
const STATE = 'state';
/** LMDB makes its table of readers that long, and what is longer it leaves. */
const READERS_BYTES = 16_384;

/** Of the two meta pages of LMDB's format, as lmdb-js writes it. */
const META = { bytes: 160, magic: 24, version: 28, pageSize: 48, lastPage: 144, transaction: 152 } as const;
const META_MAGIC = 0xbeefc0de;

/** How the last process left the database: `opening` means that it died of opening it. */
type State = 'opening' | 'open' | 'damaged' | 'closed';

/**
 * The file of an LMDB database, seen from outside. LMDB maps it and trusts it: a file that is cut short or overwritten
 * kills the process by a signal, and would again after each restart. So the file is examined before it is opened, and
 * a note of the state says if the one before did not survive that.
 */
export class DatabaseFile {
  readonly path: string;
  private readonly statePath: string;

  constructor(private readonly directory: string) {
    this.path = join(directory, DATA);
    this.statePath = join(directory, STATE);
  }

  /** Whether the last process closed the database in good order. */
  get closedCleanly(): boolean {
    return this.state === 'closed';
  }

  get damaged(): boolean {
    return this.state === 'opening' || this.state === 'damaged' || !hasSoundMeta(this.path);
  }

  note(state: State): void {
    writeInPlace(this.statePath, Buffer.from(state));
  }

  /**
   * LMDB maps its table of readers, makes it of holes, and is killed by a signal if a hole can't be filled.
   * @throws the error of the system if the disk is full
   */
  fillReaders(): void {
    writeInPlace(join(this.directory, READERS), Buffer.alloc(READERS_BYTES));
  }

  /** Puts the database out of the way and returns where it is; the one before it is deleted. */
  moveAside(time: number): string | undefined {
    if (!existsSync(this.path)) return undefined;
    for (const name of readdirSync(this.directory)) {
      if (name.startsWith(`${DATA}.corrupt-`)) rmSync(join(this.directory, name));
    }
    const aside = `${this.path}.corrupt-${new Date(time).toISOString().replaceAll(':', '')}`;
    renameSync(this.path, aside);
    rmSync(join(this.directory, READERS), { force: true });
    return aside;
  }

  private get state(): string {
    return existsSync(this.statePath) ? readFileSync(this.statePath, 'latin1') : 'closed';
  }
}

/** True also for no file, and an empty one: LMDB begins there. */
function hasSoundMeta(path: string): boolean {
  if (!existsSync(path)) return true;
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    if (size === 0) return true;
    const first = readMeta(file, 0);
    const second = first && readMeta(file, first.pageSize);
    if (first === undefined || second === undefined) return false;
    const newest = first.transaction > second.transaction ? first : second;
    return (newest.lastPage + 1) * first.pageSize <= size;
  } finally {
    closeSync(file);
  }
}

function readMeta(
  file: number,
  offset: number,
): { pageSize: number; lastPage: number; transaction: bigint } | undefined {
  const page = Buffer.alloc(META.bytes);
  if (readSync(file, page, 0, META.bytes, offset) < META.bytes) return undefined;
  const pageSize = page.readUInt32LE(META.pageSize);
  if (page.readUInt32LE(META.magic) !== META_MAGIC || pageSize < 512 || pageSize > 65_536) return undefined;
  return {
    pageSize,
    lastPage: Number(page.readBigUInt64LE(META.lastPage)),
    transaction: page.readBigUInt64LE(META.transaction),
  };
}

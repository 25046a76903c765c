import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { CacheDirectoryLockedError } from '../cache.errors.js';
import { writeInPlace } from './write-in-place.js';

const SQLITE_BUSY = 5;

/**
 * A lock on a directory that the kernel releases when its process ends, however that ends: no stale lock, no process
 * id to be mistaken for another's. Node has no call for it, but SQLite locks a file that way (fcntl; two storages of
 * one process exclude each other too). Nothing is ever written to that file; who holds it stands in another one.
 */
export class DirectoryLock {
  private constructor(private readonly database: DatabaseSync) {}

  /** @throws CacheDirectoryLockedError, or the error of SQLite if the directory can't be written */
  static acquire(directory: string): DirectoryLock {
    const holder = join(directory, 'owner.pid');
    const database = new DatabaseSync(join(directory, 'owner.lock'));
    try {
      // Without it the lock begins with a journal, for which a full disk has no room.
      database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    } catch (error) {
      database.close();
      if ((error as { errcode?: unknown }).errcode !== SQLITE_BUSY) throw error;
      throw new CacheDirectoryLockedError(directory, readPid(holder));
    }
    try {
      writeInPlace(holder, Buffer.from(`${process.pid}\n`));
    } catch (error) {
      database.close();
      throw error;
    }
    return new DirectoryLock(database);
  }

  release(): void {
    this.database.close();
  }
}

/** 0 in the moment between the lock and the note of its holder. */
function readPid(file: string): number {
  try {
    return Number.parseInt(readFileSync(file, 'utf8'), 10) || 0;
  } catch {
    return 0;
  }
}

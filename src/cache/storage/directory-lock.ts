import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { realpathSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { Server } from 'node:net';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { CacheDirectoryLockedError } from '../cache.errors.js';

/** Longer paths cannot name a socket (`sun_path`, unix(7)). */
const MAX_SOCKET_PATH = 100;
const ATTEMPTS = 3;

/**
 * A lock on a directory that ends with its process, however that ends: a listening Unix socket. Its file may outlive
 * the process, but nobody answers there any more, so it is taken over; a process id in a file could by then be
 * somebody else's. Who is asked answers with its process id and a random name.
 */
export class DirectoryLock {
  private constructor(
    private readonly server: Server,
    private readonly path: string,
  ) {}

  /** @throws CacheDirectoryLockedError while another process, or another storage of this one, holds it */
  static async acquire(directory: string): Promise<DirectoryLock> {
    const path = socketPathOf(directory);
    const name = `${process.pid} ${randomUUID()}`;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const server = createServer((socket) => socket.on('error', () => {}).end(name));
      server.listen(path);
      const outcome = await Promise.race([
        once(server, 'listening').then(() => undefined),
        once(server, 'error').then(([error]) => error as NodeJS.ErrnoException),
      ]);
      if (outcome !== undefined && outcome.code !== 'EADDRINUSE') throw outcome;
      const holder = await ask(path);
      if (holder === name) {
        server.unref();
        return new DirectoryLock(server, path);
      }
      server.close();
      if (holder !== undefined) throw new CacheDirectoryLockedError(directory, Number.parseInt(holder, 10));
      await rm(path, { force: true });
    }
    throw new CacheDirectoryLockedError(directory, Number.NaN);
  }

  async release(): Promise<void> {
    this.server.close();
    await rm(this.path, { force: true });
  }
}

function socketPathOf(directory: string): string {
  const real = realpathSync(directory);
  const path = join(real, 'lock.sock');
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH) return path;
  return join(tmpdir(), `athena-${createHash('sha256').update(real).digest('hex').slice(0, 32)}.sock`);
}

/** Who holds the socket; undefined where nobody answers. */
async function ask(path: string): Promise<string | undefined> {
  const socket = createConnection(path);
  try {
    return (await text(socket)) || undefined;
  } catch {
    return undefined;
  }
}

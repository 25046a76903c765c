import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Below what a system gives to outgoing connections and to who asks for any port (from 32768 on Linux, 49152 elsewhere):
 * such a port could be taken before its server listens, or while it is down.
 */
const FIRST = 10_000;
const WORKERS = 10;
const EACH = 2_000;

/** Two test files that run at once do not ask for the same. */
const first = FIRST + (Number(process.env['JEST_WORKER_ID'] ?? 0) % WORKERS) * EACH;
let tried = Math.floor(Math.random() * EACH);

/** A port of the loopback interface that was free a moment ago. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = first + (tried++ % EACH);
    if (await isFree(port)) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return false;
    throw error;
  }
  server.close();
  await once(server, 'close');
  return true;
}

import { mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';

/** Nothing outlives the bench, however it ends: a stopped server does not hear Ctrl-C, a busy child not at once. */
const children = new Set();
const directory = mkdtempSync(join(tmpdir(), 'athena-outage-'));

process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => process.exit(128 + constants.signals[signal]));

export function killedAtTheEnd(child) {
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

export const newDirectory = (name) => mkdtempSync(join(directory, `${name}-`));

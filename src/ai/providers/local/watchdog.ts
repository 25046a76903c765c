import { writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';
import { MEMORY_LIMIT_NOTICE } from './protocol.js';

/**
 * A thread beside the analysis, which may spin for as long as it likes: it ends the process when the parent has
 * died, or when the process has taken more memory than the heap's own limit accounts for.
 */

export interface WatchdogData {
  readonly parentPid: number;
  readonly maxRssBytes: number;
}

const CHECK_EVERY_MS = 200;
const STDERR_FD = 2;

/** The parent's id is handed over: by the time that this thread runs, the parent may already be another. */
const { parentPid, maxRssBytes } = workerData as WatchdogData;

setInterval(() => {
  if (process.ppid !== parentPid) process.kill(process.pid, 'SIGKILL');
  if (process.memoryUsage.rss() <= maxRssBytes) return;
  writeSync(STDERR_FD, `${MEMORY_LIMIT_NOTICE}\n`);
  process.kill(process.pid, 'SIGKILL');
}, CHECK_EVERY_MS);

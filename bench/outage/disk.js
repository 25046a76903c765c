import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { newDirectory } from './cleanup.js';

const TIMES = 100;

/** What a synced write costs where the databases are: the part of `disk` that no cache can save. */
export function syncedWriteMs() {
  const file = openSync(join(newDirectory('sync'), 'file'), 'w');
  const page = Buffer.alloc(4096);
  const times = Array.from({ length: TIMES }, () => {
    const begun = performance.now();
    writeSync(file, page);
    fdatasyncSync(file);
    return performance.now() - begun;
  });
  closeSync(file);
  return times.sort((a, b) => a - b)[TIMES / 2];
}

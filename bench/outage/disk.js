import { setTimeout as sleep } from 'node:timers/promises';
import { newDirectory } from './cleanup.js';
import { fromProduct } from './product.js';

const { open } = await fromProduct('lmdb');
const EVERY_MS = 250;
const RECORDS = 10;
const RECORD = Buffer.alloc(300);
/** As Athena opens it: each commit is synced before it resolves. */
const SYNCED = { noSubdir: false, overlappingSync: false, eventTurnBatching: false, encoding: 'binary' };

/**
 * What a synced transaction of LMDB alone takes while all that is measured is measured: the part of `disk` that no cache
 * can save. To be called again for the median, in milliseconds.
 */
export function watchDisk() {
  const database = open({ path: newDirectory('disk'), ...SYNCED });
  const times = [];
  const end = new AbortController();
  const { signal } = end;
  const watching = (async () => {
    for (let round = 0; !signal.aborted; round += 1) {
      const begun = performance.now();
      await database.transaction(() => {
        for (let i = 0; i < RECORDS; i += 1) void database.put(`${round}:${i}`, RECORD);
      });
      times.push(performance.now() - begun);
      await sleep(EVERY_MS, undefined, { ref: false, signal }).catch(() => {});
    }
    await database.close();
  })();
  return async () => {
    end.abort();
    await watching;
    return times.sort((a, b) => a - b)[Math.floor(times.length / 2)];
  };
}

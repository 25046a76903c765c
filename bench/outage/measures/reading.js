import { DELETES, nameIn, WRITES } from '../workload.js';

export const WRITTEN = nameIn('during', 'write');
export const DELETED = nameIn('during', 'deleted');
/** What an application reads at its source where the cache has nothing. */
export const TRUTH = 'truth';

export const howMany = (reads, name) => reads.filter((read) => read === name).length;

/** How many values of a name a process finds, reading as applications do. */
export async function findable(process, name, count) {
  return howMany(await process.call('read', { name, count, truth: TRUTH }), name);
}

/** What another process misses of the writes, and finds of what was deleted. */
export async function lossesSeenBy(process) {
  const reads = await process.call('read', { name: WRITTEN, count: WRITES, truth: TRUTH });
  const lost = [...reads.keys()].filter((index) => reads[index] !== WRITTEN);
  return { lost, undone: await findable(process, DELETED, DELETES) };
}

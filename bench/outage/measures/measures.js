import { measureBoot } from './boot.js';
import { measureMemory } from './memory.js';
import { measureOutage } from './outage.js';
import { measureRefill } from './refill.js';
import { measureRestart } from './restart.js';

export const MODES = { kill9: 'kill -9', stop: 'SIGSTOP' };
const BOTH = Object.keys(MODES);

/** In the order in which they run; each is done once for every mode. */
export const measures = [
  {
    name: 'outage',
    says: 'times, lost writes, undone deletes, stale readers',
    run: measureOutage,
    modes: BOTH,
  },
  { name: 'restart', says: 'the application restarts during the outage', run: measureRestart, modes: BOTH },
  { name: 'refill', says: 'Redis comes back empty', run: measureRefill, modes: ['kill9'] },
  { name: 'boot', says: 'Redis is away when the application starts', run: measureBoot, modes: BOTH },
  { name: 'memory', says: '100 000 writes while Redis is away', run: measureMemory, modes: BOTH },
];

/** What Redis adds to a call in each of its states: `npm run bench:faults -- --help`. */
import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import '../../scripts/typescript.js';
import { findRedisServer } from '../outage/redis-server.js';
import { plainText } from '../outage/report/format.js';
import { states } from './states.js';

const HELP = `npm run bench:faults -- [options]

  --seconds <n>     how long each state lasts (default 6, from 3 to 10)
  --only <names>    comma-separated states; docs/latency.md is then left as it is
  --help            this text

states: ${states.map(({ name }) => name).join(', ')}`;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '6' },
    only: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

async function main() {
  if (values.help) return console.log(HELP);
  const seconds = Number(values.seconds);
  if (!(seconds >= 3 && seconds <= 10)) throw new Error('--seconds: from 3 to 10');
  const names = values.only?.split(',');
  const chosen = states.filter(({ name }) => names?.includes(name) ?? true);
  if (chosen.length < (names?.length ?? 0)) throw new Error('--only: no state is named so');
  const redis = findRedisServer();
  const [loadBefore] = loadavg();
  // Only now: they import TypeScript.
  const [{ round }, { tablesOf }, { asDocument }] = await Promise.all([
    import('./round.js'),
    import('./report.js'),
    import('./document.js'),
  ]);
  const rounds = [];
  for (const state of chosen) {
    console.error(state.label);
    rounds.push(await round(state, seconds));
  }
  const tables = tablesOf(rounds);
  console.log(plainText(tables));
  if (names !== undefined)
    return console.error('docs/latency.md is left as it was: this is a part of the run');
  writeFileSync(
    join(import.meta.dirname, '../../docs/latency.md'),
    await asDocument(tables, { seconds, redis, loadBefore }),
  );
  return console.error('written: docs/latency.md');
}

await main();

/** What an outage of Redis costs, with Athena and with its peers: `npm run bench:outage -- --help`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { configurations, isAthena } from './caches/configurations.js';
import { watchDisk } from './disk.js';
import { measures, MODES } from './measures/measures.js';
import { installPeers, versions } from './peers.js';
import { ROOT } from './product.js';
import { findRedisServer } from './redis-server.js';
import { asDocument } from './report/document.js';
import { plainText } from './report/format.js';
import { plot } from './report/plot.js';
import { failuresOf } from './report/results.js';
import { summaryTable } from './report/summary.js';
import { tablesOf } from './report/tables.js';
import { targetsTable } from './report/targets.js';

const DEFAULT_SECONDS = 20;
const HELP = `npm run bench:outage -- [options]

  --seconds <n>     how long the main outage lasts (default ${DEFAULT_SECONDS}, from 5 to 60)
  --only <names>    comma-separated measures or configurations; docs/ is then left as it is
  --save <file>     also write what was measured, as JSON
  --from <file>     measure nothing: report what was saved
  --help            this text

measures:
${measures.map(({ name, says }) => `  ${name.padEnd(24)}${says}`).join('\n')}

configurations:
${configurations.map(({ name, label }) => `  ${name.padEnd(24)}${label}`).join('\n')}

Needs a redis-server on PATH, or named by REDIS_SERVER. The peers are installed into bench/outage at first use.`;

const OPTIONS = {
  seconds: { type: 'string', default: String(DEFAULT_SECONDS) },
  only: { type: 'string' },
  save: { type: 'string' },
  from: { type: 'string' },
  help: { type: 'boolean', short: 'h', default: false },
};

function optionsOf(args) {
  const { values } = parseArgs({ args, options: OPTIONS });
  const seconds = Number(values.seconds);
  if (!(seconds >= 5 && seconds <= 60)) throw new Error('--seconds: from 5 to 60');
  const only = values.only?.split(',');
  const known = new Set([...measures, ...configurations].map(({ name }) => name));
  const unknown = (only ?? []).filter((name) => !known.has(name));
  if (unknown.length > 0)
    throw new Error(`--only: no measure or configuration is named ${unknown.join(', ')}`);
  return { ...values, seconds, only };
}

/** Those of `all` that `--only` names; if it names none of them, it is about something else. */
function chosen(all, only) {
  const named = all.filter(({ name }) => only?.includes(name));
  return named.length > 0 ? named : all;
}

async function measureAll({ seconds, only }) {
  const redis = findRedisServer();
  const [loadBefore] = loadavg();
  const subjects = chosen(configurations, only);
  if (!subjects.every(isAthena)) installPeers();
  const medianOfDisk = watchDisk();
  const begun = Date.now();
  const results = {};
  for (const { name, says, run, modes } of chosen(measures, only)) {
    results[name] = {};
    for (const mode of modes) {
      const elapsed = String(Math.round((Date.now() - begun) / 1000)).padStart(4);
      console.error(`${elapsed} s  ${name}, ${MODES[mode]}: ${says}`);
      results[name][mode] = await run(subjects, mode, { seconds });
    }
  }
  const environment = {
    date: new Date().toISOString().slice(0, 10),
    node: process.versions.node,
    redis,
    cores: availableParallelism(),
    loadBefore,
    syncedMs: await medianOfDisk(),
    ...versions(),
  };
  return { seconds, tookMs: Date.now() - begun, environment, results };
}

async function report(measured, isWhole) {
  console.log(plainText(tablesOf(measured)));
  console.log(`\n${plainText([summaryTable(measured), targetsTable(measured)])}`);
  for (const failure of failuresOf(measured)) console.log(`could not be measured: ${failure}`);
  if (!isWhole) return console.error('docs/outage.md is left as it was: this is a part of the run');
  writeFileSync(join(ROOT, 'docs/outage.md'), await asDocument(measured));
  writeFileSync(join(ROOT, 'docs/outage.svg'), plot(measured));
  return console.error('written: docs/outage.md, docs/outage.svg');
}

async function main() {
  const options = optionsOf(process.argv.slice(2));
  if (options.help) return console.log(HELP);
  const { from, save, only } = options;
  const measured = from === undefined ? await measureAll(options) : JSON.parse(readFileSync(from, 'utf8'));
  if (save !== undefined) writeFileSync(save, JSON.stringify(measured));
  return report(measured, only === undefined);
}

await main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});

/** Chaos for as long as you like; see HELP. `npm test` has a short run of the same. */
import { parseArgs } from 'node:util';
import './typescript.js';

const HELP = `Usage: npm run chaos -- [options]

Starts a real Redis and three instances of the cache as processes, each behind a TCP proxy of its own; writes, deletes
and reads known keys through all of them; breaks the network, Redis and the instances, alone and two at once; and checks
after each fault, once the instances have merged, that no caller saw an error, no accepted write is lost, nothing
deleted came back, and all instances and Redis agree. Between, the connections that tell of changes are killed and frozen
while all read and write: no read may be staler than the bound, and no memory differ from Redis at the end.

  --minutes M   how long, default 5
  --seed S      repeats the choices of a run (not its timing); default: random, and printed
  --only TEXT   only faults whose name contains TEXT
  --list        prints the names of the faults
  --help        this text

Exits with 1 if anything was found; the seed, what was found and the history of the keys are printed at once.
Redis runs with the locales C and en_US.UTF-8 in turn, where the machine has both.`;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    only: { type: 'string', default: '' },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
const minutes = Number(values.minutes);
const seed = Number(values.seed);
if (values.help) {
  console.log(HELP);
  process.exit(0);
}
if (!(minutes > 0) || !Number.isSafeInteger(seed)) {
  console.error('--minutes must be a number above 0, and --seed an integer.\n');
  console.error(HELP);
  process.exit(1);
}

const [{ campaign }, { FAULTS }, { coherenceLine, failure, table, summary }] = await Promise.all([
  import('../test/chaos/campaign.js'),
  import('../test/chaos/faults.js'),
  import('../test/chaos/report.js'),
]);
if (values.list) {
  for (const { name } of FAULTS) console.log(name);
  process.exit(0);
}

console.log(`Chaos for ${minutes} minutes, seed ${seed}`);
const reports = [];
const drains = [];
let incoherent = 0;
const begun = performance.now();
await campaign({
  minutes,
  seed,
  only: values.only,
  onNotice: (text) => console.log(text),
  onDrain: (drain) => drains.push(drain),
  onCoherence(report) {
    incoherent += report.tooStale.length + report.differing.length;
    console.log(coherenceLine(report));
  },
  onRound(report, locale) {
    reports.push(report);
    const at = `${((performance.now() - begun) / 60_000).toFixed(1)} of ${minutes} min`;
    const verdict = report.findings.length === 0 ? 'ok' : `${report.findings.length} FINDINGS`;
    console.log(`${at}  ${verdict}  ${report.fault} (${locale}, ${report.operations} calls)`);
    if (report.findings.length > 0) console.log(failure(report));
  },
});
console.log(`\n${table(reports)}\n\n${summary(reports, drains)}`);
console.log(`coherence: ${incoherent} findings\nseed ${seed}`);
const isSound =
  reports.every(({ findings }) => findings.length === 0) && drains.every(({ missing }) => missing === 0);
process.exitCode = isSound && incoherent === 0 ? 0 : 1;

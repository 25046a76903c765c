/** The simulator of the replication core for as long as you like; see HELP. `npm test` has 10 000 schedules of it. */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { format } from 'prettier';
import './typescript.js';

const HELP = `Usage: npm run simulate -- [options]

Plays schedules of several instances and a model of Redis in virtual time: calls, faults of the network, of Redis, of
clocks and of processes; then heals everything and checks that nothing accepted is lost, that nothing deleted came back,
and that all agree. A seed is one schedule, always the same. Ends at the first that fails, shrinks it to the fewest
steps that still fail, and prints what happened in it.

  --seeds N      how many schedules; default 100 000, or with --minutes as many as fit
  --minutes M    ends after that time
  --seed S       the first one; default 1. With --seeds 1: that schedule alone
  --trace        prints what happens in the schedule --seed, failing or not
  --mutant NAME  with one rule of the core removed: it should fail soon. --mutant list prints the names
  --mutants      all of them, and writes what kills each to docs/simulation-mutants.md
  --help         this text

Exits with 1 if a schedule failed (with --mutant: if none did).`;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    minutes: { type: 'string' },
    seed: { type: 'string', default: '1' },
    trace: { type: 'boolean', default: false },
    mutant: { type: 'string' },
    mutants: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(HELP);
  process.exit(0);
}
const firstSeed = Number(values.seed);
const maxMs = Number(values.minutes ?? Infinity) * 60_000;
const seeds = Number(values.seeds ?? (values.minutes === undefined ? 100_000 : Infinity));
if (!Number.isSafeInteger(firstSeed) || !(seeds > 0) || !(maxMs > 0)) {
  console.error('--seed must be an integer, --seeds and --minutes must be above 0.\n');
  console.error(HELP);
  process.exit(2);
}

const [{ simulate, explain, runSeed }, { MUTANTS, mutantNamed }, { hunt, tableOf }] = await Promise.all([
  import('../test/simulation/simulate.js'),
  import('../test/simulation/mutants.js'),
  import('../test/simulation/hunt.js'),
]);

process.on('unhandledRejection', (error) => {
  console.error('A rejection that nobody handles:', error);
  process.exit(1);
});

const rate = ({ schedules, ms }) =>
  `${schedules} schedules, ${Math.round((schedules / ms) * 1000)} per second`;

async function campaign(mutant) {
  const undo = mutant?.apply?.();
  const options = { firstSeed, seeds, maxMs, redis: mutant?.redis };
  const report = await simulate({ ...options, onProgress: (figures) => console.log(rate(figures)) });
  console.log(rate(report));
  for (const [kind, count] of [...report.actions].sort()) console.log(`  ${kind.padEnd(12)} ${count}`);
  if (report.failure === undefined) console.log(`No promise was broken in ${report.schedules} schedules.`);
  else console.log(await explain(report.failure, options));
  undo?.();
  return (report.failure !== undefined) === (mutant === undefined) ? 1 : 0;
}

async function allMutants() {
  const kills = [];
  for (const mutant of MUTANTS) {
    // What nothing depends on is looked for in vain.
    const most = mutant.reason === undefined ? 20_000 : 2000;
    const kill = await hunt(mutant, { firstSeed, maxSeeds: values.seeds === undefined ? most : seeds });
    const how =
      kill.seed === undefined ? `survives ${kill.schedules} schedules` : `seed ${kill.seed}, ${kill.promise}`;
    console.log(`${mutant.name}: ${how}`);
    kills.push(kill);
  }
  const page = new URL('../docs/simulation-mutants.md', import.meta.url);
  writeFileSync(page, await format(tableOf(kills), { parser: 'markdown' }));
  return kills.every(({ mutant, seed }) => (seed === undefined) === (mutant.reason !== undefined)) ? 0 : 1;
}

async function trace() {
  const { violation, trace: lines } = await runSeed(firstSeed, { traced: true });
  console.log(lines.join('\n'));
  console.log(violation === undefined ? 'Nothing is wrong.' : `${violation.promise}: ${violation.detail}`);
  return violation === undefined ? 0 : 1;
}

if (values.mutant === 'list') for (const { name, rule } of MUTANTS) console.log(`${name.padEnd(34)} ${rule}`);
else if (values.mutants) process.exitCode = await allMutants();
else if (values.trace) process.exitCode = await trace();
else process.exitCode = await campaign(values.mutant === undefined ? undefined : mutantNamed(values.mutant));

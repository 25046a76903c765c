/** Three instances against vendors that misbehave: `npm run bench:ai -- --help`. */
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import '../../scripts/typescript.js';

const HELP = `npm run bench:ai -- [options]

  --requests <n>   of the mixed load (default 10000)
  --seed <n>       of its dice (default 1)
  --help           this text

Three instances of Athena, one Redis and four vendors on the loopback interface, in one run:
  mixed    JSON, event streams and batches for known and new files, while a quarter of the vendors' calls fail in one
           of fifteen ways; then every stored answer is looked at
  burst    200 listeners for one file: one call, every byte to everybody
  latency  a hit and a miss beside the bare call of the vendor`;

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '1' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

async function main() {
  if (values.help) return console.log(HELP);
  const [requests, seed] = [Number(values.requests), Number(values.seed)];
  if (!(requests >= 100 && requests <= 1_000_000)) throw new Error('--requests: from 100 to 1000000');
  // Only now: they import TypeScript.
  const { withFleet } = await import('../../test/chaos/vendor-fleet.js');
  const { vendorLoad } = await import('../../test/chaos/vendor-load.js');
  const { burst } = await import('./burst.js');
  const { latency } = await import('./latency.js');
  const [loadBefore] = loadavg();
  const faults = [];
  let nextNews = 1000;
  const onProgress = (sent) => {
    if (sent < nextNews) return;
    nextNews += 1000;
    console.error(`${sent} of ${requests}`);
  };
  await withFleet(async (fleet) => {
    for (const [name, part] of Object.entries({
      mixed: () => vendorLoad(fleet, { requests, seed, onProgress }),
      burst: () => burst(fleet),
      latency: () => latency(fleet),
    })) {
      console.error(name);
      const { figures, faults: found } = await part();
      console.log(`\n## ${name}\n`);
      for (const [label, value] of Object.entries(figures)) console.log(`${label.padEnd(44)}${value}`);
      for (const fault of found) console.log(`FAULT ${fault}`);
      faults.push(...found);
    }
  });
  console.log(`\nload average before: ${loadBefore.toFixed(1)}`);
  process.exitCode = faults.length === 0 ? 0 : 1;
}

await main();

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Cluster } from './cluster.js';
import { measureDrain } from './drain.js';
import { FAULTS } from './faults.js';
import { hostileLocale, HOSTILE_LOCALE } from './locale.js';
import { drainLine, failure, table } from './report.js';
import type { RoundReport } from './round.js';
import { playRound } from './round.js';

const SEED = Number(process.env['CHAOS_SEED'] ?? Date.now() % 1_000_000);
const FAULT_MS = 500;
const ENTRIES = 3000;

const locale = hostileLocale();
const ENVIRONMENTS = {
  C: { LC_ALL: 'C' },
  ...(locale === undefined ? {} : { [HOSTILE_LOCALE]: locale }),
};

if (locale === undefined) {
  process.stderr.write(
    `\nSKIPPED: chaos under ${HOSTILE_LOCALE}, which this machine does not have and could not make ` +
      '(apt-get install locales).\n\n',
  );
}

describe.each(Object.entries(ENVIRONMENTS))('Redis with the locale %s', (name, redisVariables) => {
  let cluster: Cluster;
  const reports: RoundReport[] = [];

  beforeAll(async () => {
    cluster = await Cluster.start({ redisVariables });
  });

  afterAll(async () => {
    process.stdout.write(`\nLocale ${name}\n${table(reports)}\n\n`);
    await cluster.close();
  });

  it('orders text as the locale says', async () => {
    const byBytes = await cluster.admin.eval(`return ('a' < 'B') and 1 or 0`, 0);
    expect(byBytes).toBe(name === 'C' ? 0 : 1);
  });

  it.each(FAULTS.map((fault, n) => [fault.name, fault, n] as const))('%s', async (_, fault, n) => {
    const report = await playRound(cluster, fault, { name: `r${n}`, seed: SEED + n, faultMs: FAULT_MS });
    reports.push(report);
    expect(report.findings.length === 0 ? '' : failure(report)).toBe('');
    expect(report.operations).toBeGreaterThan(100);
  });

  it('sends what an outage has left, fast', async () => {
    const drain = await measureDrain(cluster, ENTRIES, 'drain');
    process.stdout.write(`${drainLine(drain)}
`);
    const { entries, missing } = drain;
    expect({ entries, missing }).toEqual({ entries: ENTRIES, missing: 0 });
  });
});

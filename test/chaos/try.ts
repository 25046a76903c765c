import { Cluster } from './cluster.js';
import { FAULTS } from './faults.js';
import { playRound } from './round.js';
import { failure, table } from './report.js';
export async function tryAll(filter: string, seed: number, faultMs: number, verbose: boolean) {
  const cluster = await Cluster.start();
  const reports = [];
  let n = 0;
  for (const fault of FAULTS.filter(({ name }) => name.includes(filter))) {
    const report = await playRound(cluster, fault, { name: `r${n++}`, seed: seed + n, faultMs });
    reports.push(report);
    if (report.findings.length) process.stdout.write((verbose ? failure(report) : table([report])) + '\n');
  }
  process.stdout.write(table(reports) + '\n');
  await cluster.close();
}

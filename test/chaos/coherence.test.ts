import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Cluster } from './cluster.js';
import { playCoherence } from './coherence.js';
import { coherenceLine } from './report.js';

const SEED = Number(process.env['CHAOS_SEED'] ?? Date.now() % 1_000_000);
const KILLING_MS = 4000;
const FREEZING_MS = 9000;

describe('the memories of processes', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start();
  });
  afterAll(() => cluster.close());

  it('have what Redis has, whatever becomes of the connections that tell of changes', async () => {
    const report = await playCoherence(cluster, {
      seed: SEED,
      killingMs: KILLING_MS,
      freezingMs: FREEZING_MS,
    });
    process.stdout.write(`\n${coherenceLine(report)}\n\n`);
    const { tooStale, differing, reads, hits, cutOff, kills, freezes, losses, stalestMs } = report;
    expect({ tooStale, differing }).toEqual({ tooStale: [], differing: [] });
    // Otherwise there was little to be seen.
    expect(Math.min(reads - cutOff, hits, report.writes, report.compared)).toBeGreaterThan(500);
    expect(Math.min(kills, freezes)).toBeGreaterThan(5);
    expect(Math.min(...losses)).toBeGreaterThan(2);
    expect(stalestMs).toBeGreaterThan(500);
  }, 60_000);
});

import { Cluster } from './cluster.js';
import type { CoherenceReport } from './coherence.js';
import { playCoherence } from './coherence.js';
import type { DrainReport } from './drain.js';
import { measureDrain } from './drain.js';
import type { Fault } from './faults.js';
import { both, combine, FAULTS } from './faults.js';
import { hostileLocale, HOSTILE_LOCALE } from './locale.js';
import { Random } from './random.js';
import type { RoundReport } from './round.js';
import { playRound } from './round.js';

export interface CampaignOptions {
  readonly minutes: number;
  readonly seed: number;
  /** Only faults whose name contains this. */
  readonly only?: string;
  readonly onRound: (report: RoundReport, locale: string) => void;
  readonly onDrain: (report: DrainReport) => void;
  readonly onCoherence: (report: CoherenceReport) => void;
  readonly onNotice: (text: string) => void;
}

const ROUNDS_PER_CLUSTER = 40;
const DRAINED_ENTRIES = 10_000;
const COHERENCE = { killingMs: 10_000, freezingMs: 20_000 };

/** Faults, alone and in pairs, on one cluster after another, for so many minutes. */
export async function campaign(options: CampaignOptions): Promise<void> {
  const { minutes, seed, only = '', onNotice } = options;
  const random = new Random(seed);
  const faults = FAULTS.filter(({ name }) => name.includes(only));
  if (faults.length === 0) throw new RangeError(`No fault has "${only}" in its name.`);
  const deadline = performance.now() + minutes * 60_000;
  const locales = environments(onNotice);
  for (let turn = 0; performance.now() < deadline; turn += 1) {
    const [locale, redisVariables] = locales[turn % locales.length] ?? ['C', {}];
    const cluster = await Cluster.start({ redisVariables });
    try {
      await playOn(cluster, { ...options, locale, faults, random, deadline, turn });
    } finally {
      await cluster.close();
    }
  }
}

interface Turn extends CampaignOptions {
  readonly locale: string;
  readonly faults: readonly Fault[];
  readonly random: Random;
  readonly deadline: number;
  readonly turn: number;
}

async function playOn(cluster: Cluster, options: Turn): Promise<void> {
  const { locale, faults, random, deadline, turn, onRound, onDrain, onCoherence } = options;
  for (let round = 0; round < ROUNDS_PER_CLUSTER && performance.now() < deadline; round += 1) {
    // Each once, alone; from then on by chance, and every other time two at once.
    const alone = turn === 0 ? faults[round] : undefined;
    const fault = alone ?? anyOf(faults, random);
    const faultMs = 200 + random.below(2800);
    const name = `t${turn}r${round}`;
    onRound(await playRound(cluster, fault, { name, seed: random.below(2 ** 31), faultMs }), locale);
  }
  onDrain(await measureDrain(cluster, DRAINED_ENTRIES, `t${turn}drain`));
  onCoherence(await playCoherence(cluster, { ...COHERENCE, seed: random.below(2 ** 31) }));
}

function anyOf(faults: readonly Fault[], random: Random): Fault {
  const first = random.pick(faults);
  const second = random.pick(faults);
  const pair = random.chance(0.6) && combine(first, second);
  return pair ? both(first, second, random.chance(0.5)) : first;
}

function environments(onNotice: (text: string) => void): [string, Readonly<Record<string, string>>][] {
  const hostile = hostileLocale();
  if (hostile === undefined)
    onNotice(`SKIPPED: ${HOSTILE_LOCALE}, which this machine lacks (apt-get install locales)`);
  return [
    ['C', { LC_ALL: 'C' }],
    ...(hostile === undefined ? [] : [[HOSTILE_LOCALE, hostile] as [string, typeof hostile]]),
  ];
}

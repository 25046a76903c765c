import type { Mutant } from './mutants.js';
import { runSeed } from './simulate.js';

export interface Kill {
  readonly mutant: Mutant;
  /** Undefined: it has survived. */
  readonly seed: number | undefined;
  readonly promise: string | undefined;
  /** How many it took. */
  readonly schedules: number;
}

/** Plays schedules against a mutant until one of them sees it. */
export async function hunt(
  mutant: Mutant,
  { firstSeed, maxSeeds }: { readonly firstSeed: number; readonly maxSeeds: number },
): Promise<Kill> {
  for (let schedules = 1; schedules <= maxSeeds; schedules += 1) {
    const seed = firstSeed + schedules - 1;
    const promise = await brokenBy(mutant, seed);
    if (promise !== undefined) return { mutant, seed, promise, schedules };
  }
  return { mutant, seed: undefined, promise: undefined, schedules: maxSeeds };
}

/** The promise that it breaks in this schedule. */
export async function brokenBy(mutant: Mutant, seed: number): Promise<string | undefined> {
  const undo = mutant.apply?.();
  try {
    const { violation } = await runSeed(seed, mutant.redis === undefined ? {} : { redis: mutant.redis });
    return violation?.promise;
  } finally {
    undo?.();
  }
}

const COLUMNS =
  '| Mutant | Without this rule | Killing seed | Schedules | What it breaks |\n| --- | --- | --- | --- | --- |';

export function tableOf(kills: readonly Kill[]): string {
  const rows = kills.map(({ mutant: { name, rule, reason }, seed, promise, schedules }) => {
    const broken = promise ?? `survives${reason === undefined ? '' : `: ${reason}`}`;
    return `| ${name} | ${rule} | ${seed ?? '-'} | ${schedules} | ${broken} |`;
  });
  return `${PREFACE}\n${COLUMNS}\n${rows.join('\n')}\n`;
}

const PREFACE = `# Rules that the simulation defends

Each mutant is the replication core, or the scripts in Redis, without one rule. \`npm run simulate -- --mutants\` plays
schedules against each until one sees it, and writes this page; a test does it for some. The numbers of the rules are
the sections of the replication rules; \`P\` are promises of the design, other words are checks of the oracle.
`;

import type { Violation } from './history.js';
import { scheduleOf } from './schedule.js';
import { shrink } from './shrink.js';
import type { Run, RunOptions } from './simulation.js';
import { Simulation } from './simulation.js';

export interface CampaignOptions extends RunOptions {
  readonly firstSeed: number;
  readonly seeds: number;
  /** Ends it earlier. */
  readonly maxMs?: number;
  readonly onProgress?: (figures: Figures) => void;
}

export interface Figures {
  readonly schedules: number;
  readonly ms: number;
  /** What was done, by kind and how often. */
  readonly actions: ReadonlyMap<string, number>;
}

export interface Failure {
  readonly seed: number;
  readonly violation: Violation;
}

export interface Report extends Figures {
  /** The first one; nothing runs after it. */
  readonly failure: Failure | undefined;
}

const PROGRESS_EVERY = 1000;

/** Plays one schedule after the other until one fails. */
export async function simulate(options: CampaignOptions): Promise<Report> {
  const { firstSeed, seeds, maxMs = Infinity, onProgress = () => {} } = options;
  const begunMs = performance.now();
  const actions = new Map<string, number>();
  let schedules = 0;
  const figures = (): Figures => ({ schedules, ms: performance.now() - begunMs, actions });
  for (let seed = firstSeed; schedules < seeds && performance.now() - begunMs < maxMs; seed += 1) {
    const run = await runSeed(seed, options);
    schedules += 1;
    for (const [kind, count] of run.actions) actions.set(kind, (actions.get(kind) ?? 0) + count);
    if (run.violation !== undefined) return { ...figures(), failure: { seed, violation: run.violation } };
    if (schedules % PROGRESS_EVERY === 0) onProgress(figures());
  }
  return { ...figures(), failure: undefined };
}

/** The same for the same seed and the same code. */
export async function runSeed(seed: number, options: RunOptions = {}): Promise<Run> {
  const simulation = new Simulation(scheduleOf(seed), options);
  const run = await simulation.run();
  // Lets others have their turn, and rejections that nobody handles come to light.
  await new Promise((resolve) => setImmediate(resolve));
  return run;
}

/** What a person needs to see of a failure: the least that still fails, and what happened then. */
export async function explain({ seed, violation }: Failure, options: RunOptions = {}): Promise<string> {
  const { schedule, run } = await shrink(scheduleOf(seed), violation, options);
  const steps = schedule.steps.map(
    ({ atMs, action }) => `${String(atMs).padStart(9)}  ${JSON.stringify(action)}`,
  );
  return [
    `Seed ${seed} breaks ${violation.promise}: ${violation.detail}`,
    `Smallest schedule that still does, ${steps.length} of ${scheduleOf(seed).steps.length} steps:`,
    ...steps,
    'What happened:',
    ...run.trace,
    run.violation === undefined
      ? 'It does not fail a second time.'
      : `${run.violation.promise}: ${run.violation.detail}`,
  ].join('\n');
}

import type { Violation } from './history.js';
import type { Schedule, Step } from './schedule.js';
import type { Run, RunOptions } from './simulation.js';
import { Simulation } from './simulation.js';

export interface Shrunk {
  readonly schedule: Schedule;
  readonly run: Run;
}

/** Runs per schedule that are spent on looking for a smaller one. */
const MOST_RUNS = 600;

/** Leaves out steps, in ever smaller groups, for as long as the same promise is broken. */
export async function shrink(schedule: Schedule, violation: Violation, options: RunOptions): Promise<Shrunk> {
  const budget = { runs: MOST_RUNS };
  const fails = async (steps: readonly Step[]): Promise<boolean> => {
    budget.runs -= 1;
    const run = await new Simulation({ ...schedule, steps }, options).run();
    return run.violation?.promise === violation.promise;
  };
  let { steps } = schedule;
  let size = Math.ceil(steps.length / 2);
  while (size >= 1 && budget.runs > 0) {
    const fewer = await without(steps, size, fails, budget);
    // One by one, until no single one can be left out.
    if (size === 1 && fewer.length === steps.length) break;
    size = Math.max(1, Math.ceil(size / 2));
    steps = fewer;
  }
  const smallest = { ...schedule, steps };
  return { schedule: smallest, run: await new Simulation(smallest, { ...options, traced: true }).run() };
}

/** Goes through them once, and leaves out each group of this size that is not needed. */
async function without(
  all: readonly Step[],
  size: number,
  fails: (steps: readonly Step[]) => Promise<boolean>,
  budget: { readonly runs: number },
): Promise<readonly Step[]> {
  let steps = all;
  let at = 0;
  while (at < steps.length && budget.runs > 0) {
    const fewer = steps.toSpliced(at, size);
    if (await fails(fewer)) steps = fewer;
    else at += size;
  }
  return steps;
}

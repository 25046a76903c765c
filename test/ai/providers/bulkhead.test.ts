import { describe, expect, it } from '@jest/globals';
import { ProviderBusyError } from '../../../src/ai/ai.errors.js';
import { Bulkhead } from '../../../src/ai/providers/bulkhead.js';

const never = new AbortController().signal;

/** A piece of work that ends when it is told to. */
function job() {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let begun = false;
  const run = (): Promise<string> => {
    begun = true;
    return promise;
  };
  return { run, resolve, reject, hasBegun: () => begun };
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('Bulkhead', () => {
  it('runs so many at once, the others in their order, and refuses beyond', async () => {
    const states: boolean[] = [];
    const onSaturated = (isSaturated: boolean): number => states.push(isSaturated);
    const bulkhead = new Bulkhead({ name: 'x', concurrency: 2, queueLimit: 2, onSaturated });
    const jobs = Array.from({ length: 4 }, job);
    const runs = jobs.map(({ run }) => bulkhead.run(run, never));
    await settle();
    expect(jobs.map(({ hasBegun }) => hasBegun())).toEqual([true, true, false, false]);
    await expect(bulkhead.run(async () => 'never', never)).rejects.toThrow(ProviderBusyError);
    await expect(bulkhead.run(async () => 'never', never)).rejects.toThrow(ProviderBusyError);
    expect([bulkhead.active, bulkhead.queued, states]).toEqual([2, 2, [true]]);
    jobs[1]?.resolve('b');
    expect(await runs[1]).toBe('b');
    await settle();
    expect(jobs.map(({ hasBegun }) => hasBegun())).toEqual([true, true, true, false]);
    for (const { resolve } of jobs) resolve('done');
    await Promise.all(runs);
    expect([bulkhead.active, bulkhead.queued, states]).toEqual([0, 0, [true, false]]);
  });

  it('lets who gives up leave the queue at once, and his place go to another', async () => {
    const bulkhead = new Bulkhead({ name: 'x', concurrency: 1, queueLimit: 1 });
    const first = job();
    const running = bulkhead.run(first.run, never);
    const leaving = new AbortController();
    const left = bulkhead.run(async () => 'never', leaving.signal);
    leaving.abort(new Error('gone'));
    await expect(left).rejects.toThrow('gone');
    const third = bulkhead.run(async () => 'third', never);
    first.resolve('first');
    expect(await Promise.all([running, third])).toEqual(['first', 'third']);
  });

  it('tells of a full queue once, though one comes for each that goes', async () => {
    const states: boolean[] = [];
    const bulkhead = new Bulkhead({
      name: 'x',
      concurrency: 1,
      queueLimit: 4,
      onSaturated: (isSaturated) => states.push(isSaturated),
    });
    const jobs = Array.from({ length: 25 }, job);
    const runs = jobs.slice(0, 5).map(({ run }) => bulkhead.run(run, never));
    for (const [index, { run }] of jobs.slice(5).entries()) {
      await expect(bulkhead.run(async () => 'never', never)).rejects.toThrow(ProviderBusyError);
      jobs[index]?.resolve('done');
      await settle();
      runs.push(bulkhead.run(run, never));
    }
    expect(states).toEqual([true]);
    for (const { resolve } of jobs) resolve('done');
    await Promise.all(runs);
    expect(states).toEqual([true, false]);
  });

  it('gives back the place of what failed', async () => {
    const bulkhead = new Bulkhead({ name: 'x', concurrency: 1, queueLimit: 0 });
    await expect(bulkhead.run(() => Promise.reject(new Error('no')), never)).rejects.toThrow('no');
    expect(await bulkhead.run(async () => 'yes', never)).toBe('yes');
  });

  it('says each time that it is full, also where nobody may wait', async () => {
    const states: boolean[] = [];
    const onSaturated = (isSaturated: boolean): number => states.push(isSaturated);
    const bulkhead = new Bulkhead({ name: 'x', concurrency: 1, queueLimit: 0, onSaturated });
    for (let round = 0; round < 2; round += 1) {
      const { run, resolve } = job();
      const running = bulkhead.run(run, never);
      await expect(bulkhead.run(async () => 'never', never)).rejects.toThrow(ProviderBusyError);
      resolve('done');
      await running;
    }
    expect(states).toEqual([true, false, true, false]);
  });
});

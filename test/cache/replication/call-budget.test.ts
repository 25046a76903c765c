import { afterEach, beforeEach, expect, it, jest } from '@jest/globals';
import { StorageUnavailableError } from '../../../src/cache/cache.errors.js';
import { CallBudget } from '../../../src/cache/replication/call-budget.js';
import { BACKGROUND_TIMERS } from '../../../src/cache/replication/timers.js';

const budgetOf = (maxMs: number): CallBudget =>
  new CallBudget(maxMs, BACKGROUND_TIMERS, () => performance.now());
const never = (): Promise<never> => new Promise(() => {});
const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

it('leaves the first command to its own time-out, and what comes after it what is left', async () => {
  const budget = budgetOf(250);
  const first = budget.spend(() => after(200));
  await jest.advanceTimersByTimeAsync(200);
  await first;
  const second = expect(budget.spend(never)).rejects.toThrow(StorageUnavailableError);
  await jest.advanceTimersByTimeAsync(50);
  await second;
  await expect(budget.spend(() => Promise.resolve())).rejects.toThrow('long enough');
});

it('limits what takes several commands from the first on', async () => {
  const budget = budgetOf(250);
  const work = expect(budget.spend(never, 'several')).rejects.toThrow(StorageUnavailableError);
  await jest.advanceTimersByTimeAsync(250);
  await work;
});

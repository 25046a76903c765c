import { expect, it } from '@jest/globals';
import { withFleet } from './vendor-fleet.js';
import { vendorLoad } from './vendor-load.js';

it('three instances and four vendors that fail: no answer is wrong, and none is paid twice for nothing', async () => {
  const { figures, faults } = await withFleet((fleet) => vendorLoad(fleet, { requests: 1500, seed: 3 }));
  expect(faults).toEqual([]);
  expect(figures['of those given up, the last listener had left']).toBeLessThan(50);
}, 120_000);

import { afterAll, afterEach, beforeAll } from '@jest/globals';
import { VENDOR_NAMES } from '../../src/ai/analysis.js';
import type { Vendors } from './all-vendors.js';
import { startVendors } from './all-vendors.js';

/** Vendors of one test file's own, which answer as they should at the beginning of each test. */
export function ownVendors(): Vendors {
  let vendors: Vendors;
  beforeAll(async () => {
    vendors = await startVendors();
  });
  afterEach(() => {
    for (const vendor of Object.values(vendors)) vendor.script = () => ({ kind: 'answer' });
  });
  afterAll(() => Promise.all(Object.values(vendors).map((vendor) => vendor.close())));
  return Object.defineProperties(
    {},
    Object.fromEntries(VENDOR_NAMES.map((name) => [name, { enumerable: true, get: () => vendors[name] }])),
  ) as Vendors;
}

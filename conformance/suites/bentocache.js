import { registerCacheDriverTestSuite } from 'bentocache/test_suite';
import { afterAll, afterEach, assert, beforeAll, describe, it } from 'vitest';
import { BentocacheDriver } from '../bentocache-driver.js';
import { openCaches, STORAGES } from '../storages.js';

/** The suite is written for Japa: what it uses of that, in terms of Vitest. */
const group = {
  setup: (begin) => beforeAll(begin),
  tap: () => {},
  each: { teardown: (end) => afterEach(end) },
};
const test = (title, body) =>
  it(title, async ({ onTestFinished }) => body({ assert, cleanup: (end) => onTestFinished(end) }));

for (const storage of STORAGES) {
  describe(`bentocache/test_suite: ${storage}`, async () => {
    const { caches, close } = await openCaches(storage, ['main', 'prefix']);
    const [main, prefixed] = caches;
    afterAll(close);
    registerCacheDriverTestSuite({
      test,
      group,
      createDriver: ({ prefix } = {}) => new BentocacheDriver(prefix === undefined ? main : prefixed),
    });
  });
}

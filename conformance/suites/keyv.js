import keyvTestSuite, { keyvIteratorTests } from '@keyv/test-suite';
import { Keyv as Keyv5 } from 'keyv';
import { Keyv as Keyv6 } from 'keyv6';
import * as vitest from 'vitest';
import { KeyvStore } from '../../dist/cache/keyv.store.js';
import { openCaches, STORAGES } from '../storages.js';

/** What Keyv 6 does otherwise than Keyv 5, for which the suite was written; the reasons stand in README.md. */
const CHANGED_IN_KEYV_6 = new Set(['.deleteMany([keys]) with nonexistent keys resolves to false']);

const without = (skipped) => ({
  ...vitest,
  it: (name, body) => (skipped.has(name) ? vitest.it.skip(name, body) : vitest.it(name, body)),
});

for (const [major, Keyv, skipped] of [
  [5, Keyv5, new Set()],
  [6, Keyv6, CHANGED_IN_KEYV_6],
]) {
  for (const storage of STORAGES) {
    vitest.describe(`@keyv/test-suite, Keyv ${major}: ${storage}`, async () => {
      const { caches, close } = await openCaches(storage, ['main']);
      vitest.afterAll(close);
      const store = () => new KeyvStore(caches[0]);
      keyvTestSuite(without(skipped), Keyv, store);
      keyvIteratorTests(without(skipped), Keyv, store);
    });
  }
}

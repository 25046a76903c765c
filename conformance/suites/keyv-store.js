import { Keyv as Keyv5 } from 'keyv';
import { Keyv as Keyv6 } from 'keyv6';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { KeyvStore } from '../../dist/cache/keyv.store.js';
import { openCaches } from '../storages.js';

/** What the suite of Keyv does not ask of a store, and `docs/redis-cache.md` says of this one. */
for (const [major, Keyv, unserialised] of [
  [5, Keyv5, { serialize: undefined, deserialize: undefined }],
  [6, Keyv6, { serialization: false }],
]) {
  describe(`KeyvStore, Keyv ${major}: memory and Redis`, async () => {
    const { caches, close } = await openCaches('memory and Redis', ['main']);
    const [cache] = caches;
    const keyvOf = (options, store = new KeyvStore(cache)) => new Keyv({ store, ...options });
    afterAll(close);
    beforeEach(() => cache.clear());

    it('keeps types where Keyv does not serialise', async () => {
      const keyv = keyvOf(unserialised);
      const value = { at: new Date(0), map: new Map([[1n, Buffer.from('a')]]), none: undefined };
      await keyv.set('key', value, 60_000);
      expect(await keyv.get('key')).toStrictEqual(value);
      expect(await keyv.get(['key', 'other'])).toStrictEqual([value, undefined]);
    });

    it('does not mix up two that share a store', async () => {
      const store = new KeyvStore(cache);
      const [a, b] = [keyvOf({ namespace: 'a' }, store), keyvOf({ namespace: 'b' }, store)];
      await a.set('key', 'of a');
      await b.set('key', 'of b');
      expect([await a.get('key'), await b.get('key')]).toEqual(['of a', 'of b']);
      await a.delete('key');
      expect([await a.get('key'), await b.get('key')]).toEqual([undefined, 'of b']);
    });

    it('clears what is its own', async () => {
      const [a, ab] = [keyvOf({ namespace: 'a*' }), keyvOf({ namespace: 'ab' })];
      await Promise.all([a.set('key', 1), ab.set('key', 2), cache.set('direct', 3)]);
      await a.clear();
      expect([await a.get('key'), await ab.get('key'), await cache.get('direct')]).toEqual([undefined, 2, 3]);
    });

    it('says of many what became of each', async () => {
      const keyv = keyvOf({ namespace: 'many' });
      const entries = ['a', 'b'].map((key) => ({ key, value: key, ttl: 60_000 }));
      expect(await keyv.setMany(entries)).toEqual([true, true]);
      expect(await keyv.hasMany(['a', 'c'])).toEqual([true, false]);
      expect([await keyv.deleteMany(['a', 'b'])].flat()).not.toContain(false);
    });

    it('tells of what fails, and goes on', async () => {
      const keyv = keyvOf(unserialised);
      const errors = [];
      keyv.on('error', (error) => errors.push(error.code));
      expect(await keyv.set('key', () => 1)).toBe(false);
      expect(errors).toEqual(['cache_value_not_serializable']);
    });

    it('closes nothing', async () => {
      const keyv = keyvOf({});
      await keyv.disconnect();
      await keyv.set('key', 1);
      expect(await keyv.get('key')).toBe(1);
    });
  });
}

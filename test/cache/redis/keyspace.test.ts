import { describe, expect, it } from '@jest/globals';
import { assert, constantFrom, integer, oneof, property, string } from 'fast-check';
import { Keyspace, placeOf } from '../../../src/cache/redis/keyspace.js';

const anyText = oneof(
  string({ unit: 'binary' }),
  string({ unit: integer({ min: 0, max: 0xffff }).map((c) => String.fromCharCode(c)) }),
  constantFrom('a:b', '{', '}', '%', 'e:{x}', '', '\0'),
);

describe('Keyspace', () => {
  it('gives back the key that it was given', () => {
    assert(
      property(anyText, anyText, (namespace, key) => {
        const keyspace = new Keyspace('athena:', namespace);
        expect(keyspace.logical(keyspace.physical(key))).toBe(key);
      }),
    );
  });

  it('never maps two addresses to one key, whatever the bytes on the wire', () => {
    assert(
      property(anyText, anyText, anyText, anyText, (n1, k1, n2, k2) => {
        const wire = (namespace: string, key: string) =>
          Buffer.from(new Keyspace('p:', namespace).physical(key), 'utf8').toString('hex');
        expect(wire(n1, k1) === wire(n2, k2)).toBe(n1 === n2 && k1 === k2);
      }),
    );
  });

  it('makes the key its own hash tag', () => {
    const physical = new Keyspace('athena:', 'a{b}').physical('x}{y');
    expect(physical.match(/[{}]/g)).toEqual(['{', '}']);
    expect(physical.indexOf('}')).toBe(physical.length - 1);
  });

  it('finds out what a name stands for', () => {
    assert(
      property(anyText, anyText, (namespace, key) => {
        const keyspace = new Keyspace('p:', namespace);
        const place = { namespace, key, isLease: false };
        for (const name of keyspace.all(key).slice(0, 2)) expect(placeOf('p:', name)).toEqual(place);
        expect(placeOf('p:', keyspace.lease(key))).toEqual({ ...place, isLease: true });
        const [interest, parts] = keyspace.relay(key);
        expect(placeOf('p:', interest)).toEqual({ ...place, relay: 'interest' });
        expect(placeOf('p:', parts)).toEqual({ ...place, relay: 'parts' });
        expect(placeOf('p:', keyspace.marks)).toEqual({ namespace, key: undefined, isLease: false });
      }),
    );
  });

  it('escapes patterns', () => {
    expect(new Keyspace('p:', 'n').pattern('a*?[\\')).toBe(String.raw`p:n:e:{a\*\?\[\\*}`);
  });
});

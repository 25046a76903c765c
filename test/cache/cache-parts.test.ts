import { setImmediate as turn } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { Cache } from '../../src/cache/cache.js';
import { MemoryCacheStorage } from '../../src/cache/storage/memory.storage.js';
import { Heard, Narrated, never } from '../support/narrated.js';

describe('parts of a computation on one instance', () => {
  let nowMs: number;
  let cache: Cache;
  beforeEach(() => {
    nowMs = 1_700_000_000_000;
    const now = (): number => nowMs;
    cache = new Cache({ storage: new MemoryCacheStorage({ maxBytes: 2 ** 20, now }), now });
  });

  it('reach all who wait, whenever they came', async () => {
    const story = new Narrated();
    const all = Array.from({ length: 20 }, () => new Heard());
    const [first, ...others] = all;
    const calls = [cache.getOrSet('key', story.factory, { onPart: (first as Heard).onPart })];
    await story.begun;
    for (const [n, { onPart }] of others.entries()) {
      story.tell(`${n}`);
      calls.push(cache.getOrSet('key', never, { onPart }));
      await turn();
    }
    story.end();
    const value = Array.from({ length: 19 }, (_, n) => n).join('');
    expect(new Set(await Promise.all(calls))).toEqual(new Set([value]));
    for (const { runs } of all) expect(runs).toEqual([(first as Heard).parts]);
    expect((first as Heard).text).toBe(value);
  });

  it('are for who asked only, where he computes for himself', async () => {
    const [shared, own] = [new Narrated(), new Narrated()];
    const [heardShared, heardOwn] = [new Heard(), new Heard()];
    for (const mode of ['refresh', 'bypass'] as const) {
      const [a, b] = [new Narrated(), new Heard()];
      const call = cache.getOrSet('key', a.factory, { mode, onPart: b.onPart });
      await a.begun;
      a.tell('own');
      a.end();
      expect(await call).toBe('own');
      expect(b.runs).toEqual([['own']]);
    }
    await cache.delete('key');
    const joined = cache.getOrSet('key', shared.factory, { onPart: heardShared.onPart });
    await shared.begun;
    const alone = cache.getOrSet('key', own.factory, { mode: 'bypass', onPart: heardOwn.onPart });
    await own.begun;
    shared.tell('shared');
    own.tell('own');
    shared.end();
    own.end();
    expect(await Promise.all([joined, alone])).toEqual(['shared', 'own']);
    expect([heardShared.runs, heardOwn.runs]).toEqual([[['shared']], [['own']]]);
  });

  it('end with the call, whatever the factory does', async () => {
    let tell: ((part: string) => void) | undefined;
    const heard = new Heard();
    await cache.getOrSet(
      'key',
      ({ emit }) => {
        tell = emit;
        emit('in time');
        return 'value';
      },
      { onPart: heard.onPart },
    );
    tell?.('late');
    expect(heard.runs).toEqual([['in time']]);
    expect(await cache.getOrSet('key', never, { onPart: heard.onPart })).toBe('value');
    expect(heard.runs).toEqual([['in time']]);
  });

  it('reach nobody who has left', async () => {
    const story = new Narrated();
    const [left, stayed] = [new Heard(), new Heard()];
    const leaver = new AbortController();
    const leaving = cache.getOrSet('key', story.factory, { onPart: left.onPart, signal: leaver.signal });
    await story.begun;
    const staying = cache.getOrSet('key', never, { onPart: stayed.onPart });
    await turn();
    story.tell('a');
    leaver.abort(new Error('gone'));
    await expect(leaving).rejects.toThrow('gone');
    story.tell('b');
    story.end();
    expect(await staying).toBe('ab');
    expect([left.text, stayed.text]).toEqual(['a', 'ab']);
  });

  it('harm nobody where a listener throws', async () => {
    const story = new Narrated();
    const heard = new Heard();
    const throws = cache.getOrSet('key', story.factory, { onPart: never });
    await story.begun;
    const other = cache.getOrSet('key', never, { onPart: heard.onPart });
    await turn();
    story.tell('a', 'b');
    story.end();
    expect(await Promise.all([throws, other])).toEqual(['ab', 'ab']);
    expect(heard.runs).toEqual([['a', 'b']]);
  });

  it('are not told to who gets what is stale at once, and are to who waits for the new value first', async () => {
    const options = { ttlMs: 1000, staleMs: 60_000, eagerness: 0 };
    await cache.set('key', 'old', options);
    nowMs += 2000;
    const story = new Narrated();
    const [first, second] = [new Heard(), new Heard()];
    expect(await cache.getOrSet('key', story.factory, { ...options, onPart: first.onPart })).toBe('old');
    await story.begun;
    story.tell('new');
    const patient = cache.getOrSet('key', never, {
      ...options,
      softTimeoutMs: 60_000,
      onPart: second.onPart,
    });
    expect(await cache.getOrSet('key', never, { ...options, onPart: first.onPart })).toBe('old');
    story.end();
    expect(await patient).toBe('new');
    expect([first.runs, second.runs]).toEqual([[], [['new']]]);
  });

  it('abandoned, it is aborted unless somebody wanted it finished', async () => {
    for (const whenAbandoned of ['abort', 'finish', undefined] as const) {
      const story = new Narrated();
      const leavers = [new AbortController(), new AbortController()];
      const calls = [cache.getOrSet('key', story.factory, { signal: leavers[0]?.signal })];
      await story.begun;
      calls.push(
        cache.getOrSet('key', never, { signal: leavers[1]?.signal, ...(whenAbandoned && { whenAbandoned }) }),
      );
      await turn();
      for (const leaver of leavers) leaver.abort(new Error('gone'));
      for (const call of calls) await expect(call).rejects.toThrow('gone');
      expect(story.isAborted).toBe(whenAbandoned !== 'finish');
      story.tell('text');
      story.end();
      if (whenAbandoned === 'finish') {
        while ((await cache.get('key')) === undefined) await turn();
        await cache.delete('key');
      } else expect(await cache.get('key')).toBeUndefined();
    }
  });

  it.each(['refresh', 'bypass'] as const)(
    'abandoned in mode %s, it is finished if that was wanted',
    async (mode) => {
      const story = new Narrated();
      const leaver = new AbortController();
      const call = cache.getOrSet('key', story.factory, {
        mode,
        whenAbandoned: 'finish',
        signal: leaver.signal,
      });
      await story.begun;
      leaver.abort(new Error('gone'));
      await expect(call).rejects.toThrow('gone');
      expect(story.isAborted).toBe(false);
      story.end();
      if (mode === 'refresh') while ((await cache.get('key')) === undefined) await turn();
    },
  );
});

import { describe, expect, it } from '@jest/globals';
import { forEachAtOnce } from '../../src/analysis/for-each-at-once.js';

/** Numbers from 0, and how many were asked for. */
function numbers(count: number, end: () => void = () => {}) {
  const source = { asked: 0, items: generate() };
  async function* generate(): AsyncGenerator<number, void, undefined> {
    for (let i = 0; i < count; i += 1) {
      source.asked += 1;
      yield i;
    }
    end();
  }
  return source;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('forEachAtOnce', () => {
  it('handles all, as many at once as it may, and reads no further', async () => {
    const source = numbers(10);
    const open: PromiseWithResolvers<void>[] = [];
    const handled: number[] = [];
    const all = forEachAtOnce(source.items, 3, async (number) => {
      const gate = Promise.withResolvers<void>();
      open.push(gate);
      await gate.promise;
      handled.push(number);
    });
    await turn();
    expect([source.asked, open.length]).toEqual([3, 3]);
    open[1]?.resolve();
    await turn();
    expect([source.asked, open.length, handled]).toEqual([4, 4, [1]]);
    while (handled.length < 10) {
      for (const gate of open) gate.resolve();
      await turn();
    }
    await all;
    expect(handled.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('is done with nothing', async () => {
    await forEachAtOnce(numbers(0).items, 8, () => Promise.reject(new Error('never')));
  });

  it('finishes what runs when nothing more can be read, then fails', async () => {
    const gate = Promise.withResolvers<void>();
    const handled: number[] = [];
    const broken = (): never => {
      throw new Error('broken');
    };
    const all = forEachAtOnce(numbers(2, broken).items, 4, async (number) => {
      await gate.promise;
      handled.push(number);
    });
    await turn();
    expect(handled).toEqual([]);
    gate.resolve();
    await expect(all).rejects.toThrow('broken');
    expect(handled).toEqual([0, 1]);
  });

  it('asks for nothing more after a failure', async () => {
    const source = numbers(100);
    const all = forEachAtOnce(source.items, 2, async (number) => {
      await turn();
      if (number === 3) throw new Error('three');
    });
    await expect(all).rejects.toThrow('three');
    expect(source.asked).toBeLessThanOrEqual(6);
  });

  it('begins nothing more once it is stopped', async () => {
    const source = numbers(100);
    const stop = new AbortController();
    const handled: number[] = [];
    const all = forEachAtOnce(
      source.items,
      2,
      async (number) => {
        await turn();
        if (number === 2) stop.abort(new Error('stopped'));
        handled.push(number);
      },
      stop.signal,
    );
    await expect(all).rejects.toThrow('stopped');
    expect(handled).toHaveLength(source.asked);
    expect(source.asked).toBeLessThanOrEqual(4);
  });
});

import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { SingleFlight } from '../../src/cache/single-flight.js';

const begin = <T>(
  flights: SingleFlight<T>,
  key: string,
  compute: (signal: AbortSignal) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> => flights.start(key, (flight) => compute(flight.signal)).wait(signal);

describe('SingleFlight', () => {
  it('gives one result to all who join', async () => {
    const flights = new SingleFlight<number>();
    const gate = Promise.withResolvers<number>();
    let runs = 0;
    const first = begin(flights, 'key', () => {
      runs += 1;
      return gate.promise;
    });
    const others = Array.from({ length: 50 }, () => flights.find('key')?.wait());
    gate.resolve(7);
    expect(await Promise.all([first, ...others])).toEqual(Array.from({ length: 51 }, () => 7));
    expect(runs).toBe(1);
    expect(flights.size).toBe(0);
    expect(flights.find('key')?.wait()).toBeUndefined();
  });

  it('gives a failure to all who wait, and to nobody after', async () => {
    const flights = new SingleFlight<number>();
    const first = begin(flights, 'key', () => Promise.reject(new Error('broken')));
    const second = flights.find('key')?.wait();
    const results = await Promise.allSettled([first, second]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(await begin(flights, 'key', async () => 1)).toBe(1);
  });

  it('lets one leave and the others stay', async () => {
    const flights = new SingleFlight<string>();
    const gate = Promise.withResolvers<string>();
    let aborted = false;
    const leaver = new AbortController();
    const left = begin(
      flights,
      'key',
      (signal) => {
        signal.addEventListener('abort', () => (aborted = true));
        return gate.promise;
      },
      leaver.signal,
    );
    const stayed = flights.find('key')?.wait();
    leaver.abort(new Error('gone'));
    await expect(left).rejects.toThrow('gone');
    expect(aborted).toBe(false);
    gate.resolve('value');
    expect(await stayed).toBe('value');
  });

  it('aborts the computation when the last has left, and forgets it', async () => {
    const flights = new SingleFlight<string>();
    const aborted = Promise.withResolvers<void>();
    const leavers = [new AbortController(), new AbortController()];
    const compute = (signal: AbortSignal): Promise<string> =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          aborted.resolve();
          reject(signal.reason as Error);
        });
      });
    const calls = [
      begin(flights, 'key', compute, leavers[0]?.signal),
      flights.find('key')?.wait(leavers[1]?.signal),
    ];
    await turn();
    for (const leaver of leavers) leaver.abort();
    await aborted.promise;
    expect((await Promise.allSettled(calls)).every(({ status }) => status === 'rejected')).toBe(true);
    expect(await begin(flights, 'key', async () => 'fresh')).toBe('fresh');
  });

  it('does not let an abandoned flight take its successor down', async () => {
    const flights = new SingleFlight<string>();
    const slow = Promise.withResolvers<string>();
    const leaver = new AbortController();
    const abandoned = begin(flights, 'key', () => slow.promise, leaver.signal);
    leaver.abort();
    await expect(abandoned).rejects.toThrow();
    const gate = Promise.withResolvers<string>();
    const successor = begin(flights, 'key', () => gate.promise);
    slow.resolve('late');
    await turn();
    expect(flights.find('key')?.wait()).toBeDefined();
    gate.resolve('successor');
    expect(await successor).toBe('successor');
  });

  it('goes on without anybody, if it is kept', async () => {
    const flights = new SingleFlight<string>();
    const gate = Promise.withResolvers<string>();
    let seen: AbortSignal | undefined;
    const leaver = new AbortController();
    const flight = flights.start('key', ({ signal }) => {
      seen = signal;
      return gate.promise;
    });
    const left = flight.wait(leaver.signal);
    flight.keep();
    leaver.abort();
    await expect(left).rejects.toThrow();
    expect(seen?.aborted).toBe(false);
    expect(flights.find('key')).toBe(flight);
    gate.resolve('value');
    expect(await flight.wait()).toBe('value');
  });

  it('is joined by nobody once it is closed', async () => {
    const flights = new SingleFlight<string>();
    const gate = Promise.withResolvers<string>();
    const first = begin(flights, 'key', () => gate.promise);
    flights.close('key');
    expect(flights.find('key')).toBeUndefined();
    const second = flights.start('key', async () => 'second');
    gate.resolve('first');
    expect(await Promise.all([first, second.wait()])).toEqual(['first', 'second']);
  });
});

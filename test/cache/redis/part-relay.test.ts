import { describe, expect, it } from '@jest/globals';
import type { Factory, GetOrSetOptions } from '../../../src/cache/cache.js';
import { Cache } from '../../../src/cache/cache.js';
import type { ReplicatedCacheStorage } from '../../../src/cache/storage/replicated.storage.js';
import { startArmedStorage } from '../../support/armed-storage.js';
import { until } from '../../support/coherence.js';
import { ownRedis } from '../../support/own-redis.js';

const redis = ownRedis();
const { open } = redis;

interface Instance {
  readonly cache: Cache;
  readonly storage: ReplicatedCacheStorage;
}

async function start(): Promise<Instance> {
  const storage = await startArmedStorage(redis.server.port, { heartbeatMs: 100, timeoutMs: 500 });
  open.push(storage);
  return { cache: new Cache({ storage }), storage };
}

/** A computation that tells what it is told to, and ends when it is told to. */
function narrated() {
  const gate = Promise.withResolvers<string>();
  const begun = Promise.withResolvers<void>();
  let tell: ((part: string) => void) | undefined;
  let text = '';
  let aborted = false;
  const factory: Factory<string> = ({ emit, signal }) => {
    tell = emit;
    signal.addEventListener('abort', () => {
      aborted = true;
      gate.reject(signal.reason as Error);
    });
    begun.resolve();
    return gate.promise;
  };
  return {
    factory,
    begun: begun.promise,
    isAborted: () => aborted,
    tell: (part: string) => {
      text += part;
      tell?.(part);
    },
    end: () => gate.resolve(text),
  };
}

/** What a caller is told, by runs. */
class Heard {
  readonly runs: string[][] = [];
  readonly onPart = (part: string, run: number): void => {
    (this.runs[run] ??= []).push(part);
  };

  get text(): string {
    return (this.runs.at(-1) ?? []).join('');
  }
}

const listening = (heard: Heard, options: GetOrSetOptions<string> = {}): GetOrSetOptions<string> => ({
  ...options,
  onPart: heard.onPart,
});

const never = (): never => {
  throw new Error("This is another instance's to compute.");
};

describe('the parts of a computation', () => {
  it('reach who comes late on another instance, all of them in order', async () => {
    const [a, b] = [await start(), await start()];
    const story = narrated();
    const mine = a.cache.getOrSet('key', story.factory);
    await story.begun;
    for (let n = 0; n < 50; n += 1) story.tell(`${n},`);
    const heard = new Heard();
    const theirs = b.cache.resolve('key', never, listening(heard));
    await until(() => heard.runs[0]?.length === 50);
    for (let n = 50; n < 100; n += 1) {
      story.tell(`${n},`);
      if (n % 10 === 0) await until(() => heard.runs[0]?.length === n + 1);
    }
    await until(() => heard.runs[0]?.length === 100);
    story.end();
    expect(await mine).toBe(heard.text);
    expect(await theirs).toMatchObject({ kind: 'collapsed', entry: { value: heard.text } });
    expect(heard.runs).toEqual([Array.from({ length: 100 }, (_, n) => `${n},`)]);
    await until(async () => (await redis.raw.keys('t:*:p:*')).length === 0);
  });
});

import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';
import { Cache } from '../../../src/cache/cache.js';
import type { ReplicatedCacheStorage } from '../../../src/cache/storage/replicated.storage.js';
import { startArmedStorage } from '../../support/armed-storage.js';
import { draft, known, until } from '../../support/coherence.js';
import { Heard, Narrated, never } from '../../support/narrated.js';
import { ownRedis } from '../../support/own-redis.js';
import { RedisServer } from '../../support/redis-server.js';
import { TcpProxy } from '../../support/tcp-proxy.js';

const INTEREST = 't:default:f:{key}';
const LOG = 't:default:p:{key}';

const redis = ownRedis();
const { open } = redis;

interface Instance {
  readonly cache: Cache;
  readonly storage: ReplicatedCacheStorage;
}

type Options = Partial<Parameters<typeof startArmedStorage>[1]>;

/** Short: what waits for a renewal, or for the end of a lease, takes no longer than that. */
const LEASE_MS = 1000;

async function start(options: Options = {}, { port }: { port: number } = redis.server): Promise<Instance> {
  const beats = { heartbeatMs: 100, timeoutMs: 500, leaseMs: LEASE_MS };
  const storage = await startArmedStorage(port, { ...beats, ...options });
  open.push(storage);
  return { cache: new Cache({ storage }), storage };
}

/** How often a command has been executed, by scripts too. */
async function calls(command: string, raw: Redis = redis.raw): Promise<number> {
  const stats = await raw.info('commandstats');
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
}

async function called(command: string, times = 1): Promise<void> {
  const before = await calls(command);
  await until(async () => (await calls(command)) >= before + times);
}

/** A computation that one instance runs, and of which another has heard already. */
async function followed(a: Instance, b: Instance, ofA: AbortSignal | undefined, ofB?: AbortSignal) {
  const [story, heard] = [new Narrated(), new Heard()];
  const mine = a.cache.getOrSet('key', story.factory, { signal: ofA });
  await story.begun;
  story.tell('once ', 'upon ');
  const theirs = b.cache.resolve('key', never, { onPart: heard.onPart, signal: ofB });
  await until(() => heard.parts.length === 2);
  return { story, heard, mine, theirs };
}

/** A computation that one instance runs, which knows that another waits for its value only. */
async function awaited(a: Instance, b: Instance, ofA: AbortSignal) {
  const story = new Narrated();
  const mine = a.cache.getOrSet('key', story.factory, { signal: ofA });
  await story.begun;
  const theirs = b.cache.getOrSet('key', never);
  await until(async () => (await redis.raw.get(INTEREST)) === 'value');
  await called('lindex');
  await redis.raw.ping();
  return { story, mine, theirs };
}

async function leave(caller: AbortController, call: Promise<unknown>): Promise<void> {
  caller.abort(new Error('gone'));
  await expect(call).rejects.toThrow('gone');
}

describe('parts of a computation of another instance', () => {
  it('reach who comes late, all of them and in order', async () => {
    const [a, b] = [await start(), await start()];
    const { story, heard, mine, theirs } = await followed(a, b, undefined);
    for (let n = 2; n < 100; n += 1) {
      story.tell(`${n},`);
      if (n % 10 === 0) await until(() => heard.parts.length === n + 1);
    }
    await until(() => heard.parts.length === 100);
    const late = new Heard();
    const later = b.cache.resolve('key', never, { onPart: late.onPart });
    await until(() => late.parts.length === 100);
    story.end();
    const value = await mine;
    expect(await theirs).toMatchObject({ kind: 'collapsed', entry: { value } });
    expect(await later).toMatchObject({ kind: 'collapsed', entry: { value } });
    expect(heard.text).toBe(value);
    expect([heard.runs.length, late.runs]).toEqual([1, heard.runs]);
    await until(async () => (await redis.raw.exists(LOG)) === 0);
  });

  it('reach 60 callers on three instances, while they come', async () => {
    const instances = [await start(), await start(), await start()];
    const story = new Narrated();
    const mine = instances[0]?.cache.getOrSet('key', story.factory);
    await story.begun;
    const all: { heard: Heard; value: Promise<string> }[] = [];
    for (let n = 0; n < 60; n += 1) {
      const heard = new Heard();
      const { cache } = instances[n % 3] as Instance;
      all.push({ heard, value: cache.getOrSet('key', story.factory, { onPart: heard.onPart }) });
      story.tell(`${n} `, '');
      if (n % 6 === 0) await until(() => all.every(({ heard }) => heard.parts.length === 2 * n + 2));
    }
    await until(() => all.every(({ heard }) => heard.parts.length === 120));
    story.end();
    const value = await mine;
    for (const each of all) expect(await each.value).toBe(value);
    for (const { heard } of all) expect([heard.text, heard.runs.length]).toEqual([value, 1]);
    expect(story.runs).toBe(1);
  });

  it('come as they were told, whatever they are', async () => {
    const [a, b] = [await start(), await start()];
    const { story, heard, mine, theirs } = await followed(a, b, undefined);
    const hostile = [
      '\ud800',
      '\udc00',
      '\0',
      '',
      'x'.repeat(2 ** 20),
      '\u{1f600}',
      'ATHN',
      '\r\n$-1\r\n',
      '%{}',
    ];
    story.tell(...hostile);
    await until(() => heard.parts.length === 2 + hostile.length);
    const small = Array.from({ length: 10_000 }, (_, n) => `${n};`);
    story.tell(...small);
    await until(() => heard.parts.length === 2 + hostile.length + small.length);
    expect(heard.runs).toEqual([['once ', 'upon ', ...hostile, ...small]]);
    story.end();
    expect(await mine).toBe(heard.text);
    expect(await theirs).toMatchObject({ entry: { value: heard.text } });
  });

  it('are not written where nobody elsewhere wants them', async () => {
    const [a] = [await start(), await start()];
    const [story, heard] = [new Narrated(), new Heard()];
    const written = await calls('rpush');
    const mine = a.cache.getOrSet('key', story.factory, { onPart: heard.onPart });
    await story.begun;
    story.tell('a', 'b');
    // The lease is renewed, and it is looked whether anybody follows.
    await called('pexpire');
    story.tell('c');
    await called('lindex');
    expect((await redis.raw.keys('t:default:*')).sort()).toEqual([
      't:default:l:{key}',
      't:default:m',
      't:default:o:{key}',
    ]);
    story.end();
    expect(await mine).toBe('abc');
    expect(await calls('rpush')).toBe(written);
  });

  it('are not written any more when nobody wants them', async () => {
    const [a, b] = [await start(), await start()];
    const leaver = new AbortController();
    const { story, mine, theirs } = await followed(a, b, undefined, leaver.signal);
    leaver.abort(new Error('gone'));
    await expect(theirs).rejects.toThrow('gone');
    await until(async () => (await redis.raw.exists(INTEREST)) === 0);
    await called('lindex');
    const written = await calls('rpush');
    story.tell('a time');
    await called('pexpire');
    expect(await calls('rpush')).toBe(written);
    const heard = new Heard();
    const again = b.cache.resolve('key', never, { onPart: heard.onPart });
    await until(() => heard.text === 'once upon a time');
    story.end();
    expect(await mine).toBe('once upon a time');
    await again;
  });

  it('belong to one namespace', async () => {
    const [a, b] = [await start(), await start()];
    const others = [a, b].map(({ storage }) => storage.namespace('other'));
    // A namespace that is new is not relied on at once.
    for (const storage of others) await storage.settled(1000);
    await others[0]?.write('known', draft('to both'));
    for (const storage of others) await known(storage, 'known');
    const [cacheA, cacheB] = others.map((storage) => new Cache({ storage }));
    const { story, heard, mine, theirs } = await followed(a, b, undefined);
    const [otherStory, otherHeard] = [new Narrated(), new Heard()];
    const calls = [cacheA?.getOrSet('key', otherStory.factory)];
    await otherStory.begun;
    otherStory.tell('other');
    calls.push(cacheB?.getOrSet('key', never, { onPart: otherHeard.onPart }));
    await until(() => otherHeard.text === 'other');
    story.tell('a time');
    await until(() => heard.text === 'once upon a time');
    for (const each of [story, otherStory]) each.end();
    expect(await Promise.all([mine, ...calls])).toEqual(['once upon a time', 'other', 'other']);
    await theirs;
  });

  it('harm nobody where a listener throws', async () => {
    const [a, b] = [await start(), await start()];
    const { story, heard, mine, theirs } = await followed(a, b, undefined);
    const throws = b.cache.getOrSet('key', never, { onPart: never });
    story.tell('a time');
    await until(() => heard.text === 'once upon a time');
    story.end();
    expect(await Promise.all([mine, throws])).toEqual(['once upon a time', 'once upon a time']);
    await theirs;
  });
});

describe('a computation that others follow', () => {
  it('goes on when the last caller of its own instance leaves, until nobody is left', async () => {
    const [a, b] = [await start(), await start()];
    const [ofA, ofB] = [new AbortController(), new AbortController()];
    const { story, heard, mine, theirs } = await followed(a, b, ofA.signal, ofB.signal);
    await leave(ofA, mine);
    story.tell('a time');
    await until(() => heard.text === 'once upon a time');
    // Longer than one who says nothing is believed.
    for (let renewal = 0; renewal < 3; renewal += 1) await called('pexpire');
    expect(story.isAborted).toBe(false);
    await leave(ofB, theirs);
    const leftMs = performance.now();
    await until(() => story.isAborted);
    expect(performance.now() - leftMs).toBeLessThan(1.5 * LEASE_MS);
    await until(async () => (await redis.raw.keys('t:default:[fop]:*')).length === 0);
  });

  it('passes on what came before a part that is too large', async () => {
    const envelope = { maxValueBytes: 1000 };
    const [a, b] = [await start({ envelope }), await start({ envelope })];
    const { story, heard, mine, theirs } = await followed(a, b, undefined);
    story.tell('a time', 'x'.repeat(70_000), 'lost');
    await until(() => heard.text === 'once upon a time');
    story.tell('lost');
    await called('pexpire');
    expect([heard.text, a.storage.stats().faults]).toEqual(['once upon a time', 1]);
    story.fail(new Error('broken'));
    await expect(mine).rejects.toThrow('broken');
    await expect(theirs).rejects.toThrow('another instance');
  });

  it('goes on where a part is too large to be passed on', async () => {
    const envelope = { maxValueBytes: 1000 };
    const [a, b] = [await start({ envelope }), await start({ envelope })];
    const [story, second, heard] = [new Narrated(), new Narrated(), new Heard()];
    const ofA = new AbortController();
    const mine = a.cache.getOrSet('key', story.factory, { signal: ofA.signal });
    await story.begun;
    story.tell('small');
    const theirs = b.cache.getOrSet('key', second.factory, { onPart: heard.onPart });
    await until(() => heard.text === 'small');
    await leave(ofA, mine);
    story.tell('x'.repeat(2000), 'small');
    for (let renewal = 0; renewal < 4; renewal += 1) await called('pexpire');
    expect(story.isAborted).toBe(false);
    expect(a.storage.stats().faults).toBe(1);
    expect(heard.text).toBe('small');
    // What can't be stored either is nothing to the other one.
    story.end();
    await second.begun;
    second.tell('own');
    second.end();
    expect(await theirs).toBe('own');
    expect(heard.runs).toEqual([['small'], ['own']]);
  });

  it('goes on in a full Redis, where one who waits begins to listen', async () => {
    const [a, b] = [await start(), await start()];
    const [heard, ofA] = [new Heard(), new AbortController()];
    const { story, mine, theirs } = await awaited(a, b, ofA.signal);
    await redis.raw.config('SET', 'maxmemory', '1');
    try {
      const listens = b.cache.getOrSet('key', never, { onPart: heard.onPart });
      await leave(ofA, mine);
      // Longer than one who says nothing is believed.
      for (let renewal = 0; renewal < 4; renewal += 1) await called('lindex', 2);
      expect(story.isAborted).toBe(false);
      await redis.raw.config('SET', 'maxmemory', '0');
      story.tell('a time');
      await until(() => heard.text === 'a time');
      story.end();
      expect(await Promise.all([theirs, listens])).toEqual(['a time', 'a time']);
    } finally {
      await redis.raw.config('SET', 'maxmemory', '0');
    }
  });

  it('ends where its storage is closed and nobody waits here, and is theirs at once', async () => {
    const [a, b] = [await start({ leaseMs: 60_000 }), await start({ leaseMs: 60_000 })];
    const [ofA, second] = [new AbortController(), new Narrated()];
    const [first, heard] = [new Narrated(), new Heard()];
    const mine = a.cache.getOrSet('key', first.factory, { signal: ofA.signal });
    await first.begun;
    first.tell('former');
    const theirs = b.cache.getOrSet('key', second.factory, { onPart: heard.onPart });
    await until(() => heard.text === 'former');
    await leave(ofA, mine);
    await a.storage.close();
    expect(first.isAborted).toBe(true);
    await second.begun;
    second.tell('new');
    second.end();
    expect(await theirs).toBe('new');
    expect(heard.runs).toEqual([['former'], ['new']]);
  });

  it('gives them its value when its own callers have left', async () => {
    const [a, b] = [await start(), await start()];
    const ofA = new AbortController();
    const { story, mine, theirs } = await followed(a, b, ofA.signal);
    await leave(ofA, mine);
    story.tell('a time');
    story.end();
    expect(await theirs).toMatchObject({ kind: 'collapsed', entry: { value: 'once upon a time' } });
  });

  it('goes on for those who wait without listening', async () => {
    const [a, b] = [await start(), await start()];
    const ofA = new AbortController();
    const { story, mine, theirs } = await awaited(a, b, ofA.signal);
    await leave(ofA, mine);
    expect(story.isAborted).toBe(false);
    story.tell('text');
    story.end();
    expect(await theirs).toBe('text');
    expect(await redis.raw.exists(LOG)).toBe(0);
  });

  it.each(['its own', 'another'])('is finished where a caller of %s instance wants that', async (whose) => {
    const [a, b] = [await start(), await start()];
    const [ofA, ofB] = [new AbortController(), new AbortController()];
    const { story, mine, theirs } = await followed(a, b, ofA.signal, ofB.signal);
    const { cache } = whose === 'another' ? b : a;
    const third = new AbortController();
    const wants = cache.getOrSet('key', never, { whenAbandoned: 'finish', signal: third.signal });
    for (const leaver of [ofA, ofB, third]) leaver.abort(new Error('gone'));
    for (const call of [mine, theirs, wants]) await expect(call).rejects.toThrow('gone');
    // Longer than one who says nothing is believed.
    for (let renewal = 0; renewal < 3; renewal += 1) await called('pexpire');
    expect(story.isAborted).toBe(false);
    story.tell('a time');
    story.end();
    await until(async () => (await b.cache.get('key')) === 'once upon a time');
  });
});

describe('parts begin anew', () => {
  it.each(['is closed', 'is cut off'])('when the instance that computes %s', async (how) => {
    const proxy = await TcpProxy.start(redis.server.port);
    open.push(proxy);
    const [a, b] = [await start({}, proxy), await start()];
    const [first, second, heard] = [new Narrated(), new Narrated(), new Heard()];
    const mine = a.cache.getOrSet('key', first.factory).catch(() => {});
    await first.begun;
    first.tell('former ', 'text');
    const theirs = b.cache.getOrSet('key', second.factory, { onPart: heard.onPart });
    await until(() => heard.text === 'former text');
    if (how === 'is closed') await a.storage.close();
    else await proxy.refuse();
    first.tell(' goes on');
    await second.begun;
    second.tell('new ');
    second.tell('text');
    second.end();
    expect(await theirs).toBe('new text');
    expect(heard.runs).toEqual([
      ['former ', 'text'],
      ['new ', 'text'],
    ]);
    first.end();
    await mine;
  });

  it('on all other instances, when one of them takes over', async () => {
    const [a, b, c] = [await start(), await start(), await start()];
    const stories = [new Narrated(), new Narrated()];
    const mine = a.cache.getOrSet('key', (stories[0] as Narrated).factory).catch(() => {});
    await stories[0]?.begun;
    stories[0]?.tell('former');
    const heard = [new Heard(), new Heard()];
    const second = stories[1] as Narrated;
    const calls = [b, c].map(({ cache }, n) =>
      cache.getOrSet('key', second.factory, { onPart: (heard[n] as Heard).onPart }),
    );
    await until(() => heard.every(({ text }) => text === 'former'));
    await a.storage.close();
    await second.begun;
    second.tell('new');
    await until(() => heard.every(({ text }) => text === 'new'));
    second.end();
    expect(await Promise.all(calls)).toEqual(['new', 'new']);
    expect(heard.map(({ runs }) => runs)).toEqual([
      [['former'], ['new']],
      [['former'], ['new']],
    ]);
    expect(second.runs).toBe(1);
    stories[0]?.end();
    await mine;
  });

  it('when Redis dies, and every instance computes for itself', async () => {
    const server = await RedisServer.start();
    open.push(server);
    const [a, b] = [await start({}, server), await start({}, server)];
    const [first, second, heard] = [new Narrated(), new Narrated(), new Heard()];
    const mine = a.cache.getOrSet('key', first.factory);
    await first.begun;
    first.tell('first');
    const theirs = b.cache.getOrSet('key', second.factory, { onPart: heard.onPart });
    await until(() => heard.text === 'first');
    await server.kill();
    await second.begun;
    second.tell('second');
    first.end();
    second.end();
    expect(await Promise.all([mine, theirs])).toEqual(['first', 'second']);
    expect(heard.runs).toEqual([['first'], ['second']]);
  });

  it('when the computation fails, and the next instance tries', async () => {
    const [a, b] = [await start(), await start()];
    const [first, second, heard] = [new Narrated(), new Narrated(), new Heard()];
    const mine = a.cache.getOrSet('key', first.factory);
    await first.begun;
    first.tell('first');
    const theirs = b.cache.getOrSet('key', second.factory, { onPart: heard.onPart });
    await until(() => heard.text === 'first');
    first.fail(new Error('broken'));
    await expect(mine).rejects.toThrow('broken');
    await second.begun;
    second.tell('second');
    second.end();
    expect(await theirs).toBe('second');
    expect(heard.runs).toEqual([['first'], ['second']]);
  });
});

describe('parts get through', () => {
  const user = (name: string, ...rights: string[]): Promise<unknown> =>
    redis.raw.call('ACL', 'SETUSER', name, 'reset', 'on', '>secret', '~*', '&*', '+@all', ...rights);

  it.each([
    ['by notices', 'notices', ['-client|tracking']],
    ['by looking', 'refused', ['-client|tracking', '-subscribe']],
  ] as const)('%s, where Redis does not tell of changes', async (_, by, rights) => {
    await user('untold', ...rights);
    const options = { by, redis: { username: 'untold', password: 'secret' } };
    const [a, b] = [await start(options), await start(options)];
    const { story, heard, mine, theirs } = await followed(a, b, undefined);
    story.tell('a time');
    await until(() => heard.text === 'once upon a time');
    story.end();
    expect(await mine).toBe('once upon a time');
    expect(await theirs).toMatchObject({ entry: { value: 'once upon a time' } });
  });

  it('again, when a Redis that was full is not any more', async () => {
    const [a, b] = [await start(), await start()];
    const { story, heard, mine, theirs } = await followed(a, b, undefined);
    await redis.raw.config('SET', 'maxmemory', '1');
    try {
      story.tell('a ');
      await until(() => (a.storage.stats().faults ?? 0) > 0);
      story.tell('time');
    } finally {
      await redis.raw.config('SET', 'maxmemory', '0');
    }
    await until(() => heard.text === 'once upon a time');
    story.end();
    expect(await mine).toBe('once upon a time');
    await theirs;
  });

  it('again, after a gap in the connection of the instance that computes', async () => {
    const proxy = await TcpProxy.start(redis.server.port);
    open.push(proxy);
    const [a, b] = [await start({}, proxy), await start()];
    const { story, heard, mine, theirs } = await followed(a, b, undefined);
    proxy.cut();
    story.tell('a ');
    await until(() => heard.text === 'once upon a ');
    story.tell('time');
    await until(() => heard.text === 'once upon a time');
    story.end();
    expect(await mine).toBe('once upon a time');
    expect(await theirs).toMatchObject({ kind: 'collapsed', entry: { value: 'once upon a time' } });
  });
});

describe('the log in Redis', () => {
  it('is encrypted where values are', async () => {
    const secret = 'The password of the vault.';
    const bytes = async (): Promise<string> => (await redis.raw.lrangeBuffer(LOG, 0, -1)).join('|');
    for (const keys of [[], [{ id: 'k1', key: randomBytes(32) }]]) {
      const options = { envelope: { encryptionKeys: keys } };
      const [a, b] = [await start(options), await start(options)];
      const { story, heard, mine, theirs } = await followed(a, b, undefined);
      story.tell(secret);
      await until(() => heard.text.endsWith(secret));
      expect((await bytes()).includes(secret)).toBe(keys.length === 0);
      expect((await bytes()).includes('upon')).toBe(keys.length === 0);
      story.end();
      await Promise.all([mine, theirs]);
      await a.cache.delete('key');
      await until(async () => (await b.cache.get('key')) === undefined);
    }
  });

  it('is not read by who has not the key', async () => {
    const [a, b] = [
      await start({ envelope: { encryptionKeys: [{ id: 'k1', key: randomBytes(32) }] } }),
      await start({ envelope: { encryptionKeys: [{ id: 'k2', key: randomBytes(32) }] } }),
    ];
    const [first, second, heard] = [new Narrated(), new Narrated(), new Heard()];
    const mine = a.cache.getOrSet('key', first.factory);
    await first.begun;
    first.tell('secret');
    const theirs = b.cache.getOrSet('key', second.factory, { onPart: heard.onPart });
    await until(() => b.storage.stats().corrupt === 1);
    first.end();
    expect(await mine).toBe('secret');
    await second.begun;
    second.tell('own');
    second.end();
    expect(await theirs).toBe('own');
    expect(heard.runs).toEqual([['own']]);
  });

  it('is read again when it is the next one', async () => {
    const [a, b] = [
      await start({ envelope: { encryptionKeys: [{ id: 'k1', key: randomBytes(32) }] } }),
      await start(),
    ];
    const c = await start();
    const [first, second, heard] = [new Narrated(), new Narrated(), new Heard()];
    const mine = a.cache.getOrSet('key', first.factory);
    await first.begun;
    first.tell('secret');
    const calls = [b, c].map(({ cache }) => cache.getOrSet('key', second.factory, { onPart: heard.onPart }));
    await until(() => [b, c].every(({ storage }) => storage.stats().corrupt === 1));
    first.fail(new Error('broken'));
    await expect(mine).rejects.toThrow('broken');
    await second.begun;
    second.tell('open');
    await until(() => heard.parts.length === 2);
    expect(heard.runs).toEqual([['open', 'open']]);
    expect([b, c].map(({ storage }) => storage.stats().corrupt)).toEqual([1, 1]);
    second.end();
    expect(await Promise.all(calls)).toEqual(['open', 'open']);
  });

  it('is forgotten where the computation ends before Redis has answered', async () => {
    const proxy = await TcpProxy.start(redis.server.port);
    open.push(proxy);
    const [a, b] = [await start({}, proxy), await start()];
    const [story, heard] = [new Narrated(), new Heard()];
    const mine = a.cache.getOrSet('key', story.factory);
    await story.begun;
    const theirs = b.cache.getOrSet('key', never, { onPart: heard.onPart });
    await until(async () => (await redis.raw.get(INTEREST)) === 'parts');
    await called('lindex', 2);
    await redis.raw.ping();
    proxy.delay(50);
    story.tell('text');
    await until(async () => (await redis.raw.exists(LOG)) === 1);
    story.end();
    await mine;
    await theirs;
    await until(async () => (await redis.raw.exists(LOG)) === 0);
  });

  it('is no reason to tell anybody what others have put there', async () => {
    const [a, b] = [await start(), await start()];
    await redis.raw.set(LOG, 'a text');
    const { story, heard, mine, theirs } = await followed(a, b, undefined);
    // A copy of what is there, in another place.
    await redis.raw.rpush(LOG, (await redis.raw.lrangeBuffer(LOG, 1, 1))[0] as Buffer, 'garbage');
    await until(() => b.storage.stats().corrupt === 1);
    story.tell('a time');
    await called('lindex', 2);
    expect(heard.runs).toEqual([['once ', 'upon ']]);
    story.end();
    expect(await mine).toBe('once upon a time');
    expect(await theirs).toMatchObject({ entry: { value: 'once upon a time' } });
  });
});

/**
 * One application instance: a Nest context with nothing but the cache, driven by messages. Every command is answered
 * with its result or error, and how long the call took; events of the log are passed on.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { MixedLoad } from './mixed-load.mjs';

const { dist, options } = JSON.parse(process.env.CHAOS_INSTANCE);
const load = (path) => import(pathToFileURL(join(dist, path)).href);
const [{ CacheModule }, { Cache }, { REDIS_CONNECTION }, { CacheStorage }] = await Promise.all([
  load('cache/cache.module.js'),
  load('cache/cache.js'),
  load('cache/cache.tokens.js'),
  load('cache/storage/cache-storage.js'),
]);

const TICK_MS = 5;

/** How long the event loop has stood still since the start: a busy machine, not the cache, made callers wait that long. */
const stalls = { totalMs: 0, longestMs: 0, tickAt: performance.now() };
setInterval(() => {
  const now = performance.now();
  const stallMs = Math.max(0, now - stalls.tickAt - TICK_MS);
  stalls.totalMs += stallMs;
  stalls.longestMs = Math.max(stalls.longestMs, stallMs);
  stalls.tickAt = now;
}, TICK_MS);
const stalledMs = () => stalls.totalMs + Math.max(0, performance.now() - stalls.tickAt - TICK_MS);

const send = (message) => process.connected && process.send(message);
const passOn = (fields) => {
  if (typeof fields?.event === 'string') send({ event: fields.event, fields });
};
const logger = { log: passOn, warn: passOn, error: passOn, debug: passOn, verbose: passOn, fatal: passOn };

const app = await NestFactory.createApplicationContext(CacheModule.forRoot(options), { logger });
const cache = app.get(Cache);
const storage = app.get(CacheStorage);
const connection = app.get(REDIS_CONNECTION);

/** Of any size, cheap to make, hard to compress. */
function valueOf(id, size) {
  let pad = '';
  for (let block = 0; pad.length < size; block += 1)
    pad += createHash('sha512').update(`${id}/${block}`).digest('base64');
  return { id, pad: pad.slice(0, size) };
}

const idOf = (value) => value?.id ?? null;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const epochMs = () => performance.timeOrigin + performance.now();

let mixedLoad;

const commands = {
  set: ({ key, id, size, ...options }) => cache.set(key, valueOf(id, size), options),
  get: async ({ key }) => idOf(await cache.get(key)),
  peekMany: ({ keys }) => keys.map((key) => idOf(cache.peek(key))),
  getMany: async ({ keys }) => (await cache.getMany(keys)).map(idOf),
  delete: ({ key }) => cache.delete(key),
  clear: () => cache.clear(),
  invalidateTags: ({ tags }) => cache.invalidateTags(tags),
  async getOrSet({ key, id, size, factoryMs, ...options }) {
    let beganAt = null;
    const factory = async () => {
      beganAt = epochMs();
      if (factoryMs > 0) await pause(factoryMs);
      return valueOf(id, size);
    };
    const { kind, entry, write = null } = await cache.resolve(key, factory, options);
    return { kind, id: idOf(entry.value), write, beganAt };
  },
  beginLoad(what) {
    stalls.longestMs = 0;
    mixedLoad = new MixedLoad({ cache, connection, valueOf, idOf, ...what });
  },
  endLoad: async () => ({ ...(await mixedLoad.stop()), longestStallMs: stalls.longestMs }),
  stats: () => ({ connection: connection.state, cache: cache.stats() }),
  idle: () => cache.idle?.() ?? storage.idle?.(),
  close: () => app.close(),
};

process.on('message', async ({ call, name, input }) => {
  const begun = performance.now();
  const stalledBefore = stalledMs();
  const answer = await Promise.resolve()
    .then(() => commands[name](input))
    .then(
      (result) => ({ result: result ?? null }),
      (error) => ({ error: `${error?.code ?? error?.name}: ${error?.message ?? error}` }),
    );
  const durationMs = performance.now() - begun;
  send({ call, ...answer, durationMs, stalledMs: stalledMs() - stalledBefore });
  if (name === 'close') process.exit(0);
});
process.once('disconnect', () => process.exit(0));
send({ started: true, supports: { invalidateTags: typeof cache.invalidateTags === 'function' } });

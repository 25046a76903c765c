import { setTimeout as sleep } from 'node:timers/promises';
import { Cache } from '../../src/cache/cache.js';
import { MemoryCacheStorage } from '../../src/cache/storage/memory.storage.js';
import { Fleet } from '../../test/support/fleet.js';
import { RedisServer } from '../../test/support/redis-server.js';
import { TcpProxy } from '../../test/support/tcp-proxy.js';
import { Redis } from 'ioredis';
import { Calls } from './calls.js';
import { burst, callersFor } from './load.js';

/** So long a state lasts before a burst meets it that everybody has noticed it. */
const NOTICED_MS = 1500;
const MAX_BYTES = 100 * 1024 * 1024;

/** One state of Redis: callers through its beginning, a burst within it, and a burst at the moment when it begins. */
export async function round(state, seconds) {
  const server = await RedisServer.start(['--appendfsync', 'no']);
  const proxy = state.isRemote === true ? await TcpProxy.start(server.port) : undefined;
  const fleet = await Fleet.start({ port: (proxy ?? server).port }, 1);
  try {
    const redis = { server, proxy };
    const caches = {
      shared: new Calls(fleet.caches[0]),
      local: new Calls(new Cache({ storage: new MemoryCacheStorage({ maxBytes: MAX_BYTES }) })),
    };
    await Promise.all([caches.shared.prepare(), caches.local.prepare()]);
    // The code is compiled before anything is measured.
    await callersFor(1000, caches);

    await gap(fleet, server, caches);
    const lines = fleet.log.length;
    const end = await state.begin(redis);
    const callers = await callersFor(seconds * 1000, caches);
    const logged = fleet.log.length - lines;
    const within = await burst(caches);
    await end();

    await fleet.recovered();
    await fleet.merged();
    await gap(fleet, server, caches);
    const endAgain = await state.begin(redis);
    const atFirst = await burst(caches);
    await sleep(NOTICED_MS);
    await endAgain();
    await fleet.recovered();
    return { name: state.name, callers, within, atFirst, logged };
  } finally {
    await fleet.close();
    await proxy?.close();
    await server.close();
  }
}

/** The channel that tells of changes breaks and stands again: what was told is not known to be current any more. */
async function gap(fleet, server, { shared }) {
  const admin = new Redis(server.port);
  const lost = fleet.logged('redis.invalidation_lost', 1);
  await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
  admin.disconnect();
  await lost;
  await fleet.recovered();
  await shared.warm();
}

import { afterAll, afterEach, beforeAll, beforeEach } from '@jest/globals';
import { Redis } from 'ioredis';
import { RedisServer } from './redis-server.js';

export interface OwnRedis {
  readonly server: RedisServer;
  /** Of the test itself. */
  readonly raw: Redis;
  /** What a test opens, and what is closed after it. */
  readonly open: { close(): Promise<void> }[];
}

/** A Redis of one test file's own, empty before each test. */
export function ownRedis(): OwnRedis {
  let server: RedisServer;
  let raw: Redis;
  const open: OwnRedis['open'] = [];
  beforeAll(async () => {
    server = await RedisServer.start(['--appendfsync', 'no']);
    raw = new Redis(server.port);
  });
  afterAll(async () => {
    raw.disconnect();
    await server.close();
  });
  beforeEach(async () => {
    await raw.flushall();
  });
  afterEach(async () => {
    for (const each of open.splice(0)) await each.close();
  });
  return {
    get server() {
      return server;
    },
    get raw() {
      return raw;
    },
    open,
  };
}

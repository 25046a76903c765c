import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RedisServer } from '../test/support/redis-server.ts';

/** One real server and one directory for all suites, which keep to places of their own in both. */
export default async function setup({ provide }) {
  const server = await RedisServer.start();
  const directory = await mkdtemp(join(tmpdir(), 'athena-conformance-'));
  provide('redisUrl', server.url);
  provide('directory', directory);
  return async () => {
    await server.close();
    await rm(directory, { recursive: true, force: true });
  };
}

import { RedisServer } from '../test/support/redis-server.ts';

/** One real server for all suites, which keep to key prefixes of their own. */
export default async function setup({ provide }) {
  const server = await RedisServer.start();
  provide('redisUrl', server.url);
  return () => server.close();
}

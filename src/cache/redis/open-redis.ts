import type { RedisSettings } from './client.js';
import { RedisCluster } from './cluster.js';
import { RedisConnection } from './connection.js';
import type { RedisLink, RedisLinkOptions } from './link.js';

/** The only place that asks how Redis is deployed; whoever has the link does not. */
export function openRedis(settings: RedisSettings, options?: RedisLinkOptions): RedisLink {
  return settings.mode === 'cluster'
    ? new RedisCluster(settings, options)
    : new RedisConnection(settings, options);
}

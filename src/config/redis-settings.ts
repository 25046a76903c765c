import type { Environment } from './environment.js';

/** Where Redis is, as the client takes it; undefined when Redis is not enabled. */
export function redisSettings(environment: Environment) {
  if (!environment.REDIS_ENABLED) return undefined;
  return {
    mode: environment.REDIS_MODE,
    nodes: environment.REDIS_NODES,
    sentinel:
      environment.REDIS_SENTINEL_NAME === undefined
        ? undefined
        : {
            name: environment.REDIS_SENTINEL_NAME,
            username: environment.REDIS_SENTINEL_USERNAME,
            password: environment.REDIS_SENTINEL_PASSWORD,
          },
    url: environment.REDIS_URL,
    host: environment.REDIS_HOST,
    port: environment.REDIS_PORT,
    username: environment.REDIS_USERNAME,
    password: environment.REDIS_PASSWORD,
    db: environment.REDIS_DB,
    tls: environment.REDIS_TLS,
    keyPrefix: environment.REDIS_KEY_PREFIX,
    commandTimeoutMs: environment.REDIS_COMMAND_TIMEOUT_MS,
    connectTimeoutMs: environment.REDIS_CONNECT_TIMEOUT_MS,
  };
}

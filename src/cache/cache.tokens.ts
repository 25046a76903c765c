/** Injection token of the connection that the module opened; undefined when Redis is not configured. */
export const REDIS_CONNECTION: unique symbol = Symbol('RedisConnection');

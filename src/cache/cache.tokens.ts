import { InvalidCacheOptionError } from './cache.errors.js';

/** Injection token of the connection that the module opened; undefined when Redis is not configured. */
export const REDIS_CONNECTION: unique symbol = Symbol('RedisConnection');

/** Injection token of what `CacheModule.forRoot` opened. Nest names it to whoever has forgotten that. */
export const CACHE_ROOT: unique symbol = Symbol('CacheModule.forRoot()');

/** Of a namespace, in UTF-16 units. */
export const MAX_NAMESPACE_LENGTH = 100;

/**
 * Injection token of the `Cache` that `CacheModule.forFeature(namespace)` provides; reads like the call that is missing
 * where Nest can't find it.
 * @throws InvalidCacheOptionError unless it is a text of 1 to 100 characters other than `default`, the namespace of
 *   `Cache` itself
 */
export function getCacheToken(namespace: string): string {
  const isName =
    typeof namespace === 'string' && namespace.length > 0 && namespace.length <= MAX_NAMESPACE_LENGTH;
  if (!isName || namespace === 'default') {
    const allowed = `a text of 1 to ${MAX_NAMESPACE_LENGTH} characters other than "default"`;
    throw new InvalidCacheOptionError('namespace', allowed, isName ? namespace : JSON.stringify(namespace));
  }
  return `CacheModule.forFeature(${JSON.stringify(namespace)})`;
}

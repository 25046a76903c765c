import { Inject } from '@nestjs/common';
import { CachedMethodError } from './cache.errors.js';
import type { GetOrSetOptions } from './cache.js';
import { Cache } from './cache.js';
import { getCacheToken } from './cache.tokens.js';
import { keyOfCall } from './cached-key.js';

/** How `@Cached` keeps what a method returns; times and policy as in `Cache.getOrSet`. */
export interface CachedOptions<
  KeyArguments extends readonly unknown[],
  TagArguments extends readonly unknown[],
  Result,
> extends Omit<GetOrSetOptions<Result>, 'tags' | 'signal' | 'mode' | 'accept' | 'onPart'> {
  /** Where it is kept; the module imports `CacheModule.forFeature(namespace)`. Default: `Cache` itself. */
  readonly namespace?: string;
  /**
   * The key of a call, unique among all that is kept in the namespace; `this` is the instance. Default: class, method
   * and arguments, e.g. `Reports.find("a",10)`.
   */
  readonly key?: (...args: KeyArguments) => string;
  /** Names by which the results can be found again, or how to tell them from the result and the arguments. */
  readonly tags?: readonly string[] | ((result: Result, ...args: TagArguments) => readonly string[]);
}

/** Fits methods that return a promise, and whose parameters begin like those of `key` and `tags`. */
type Cacheable<KeyArguments extends readonly unknown[], TagArguments extends readonly unknown[], Result> = ((
  ...args: [...KeyArguments, ...never[]]
) => Promise<Result>) &
  ((...args: [...TagArguments, ...never[]]) => Promise<Result>);

type Method = (this: object, ...args: unknown[]) => unknown;
type Options = CachedOptions<readonly unknown[], readonly unknown[], unknown>;

/** A method that is `@Cached`, as its declaration has it. */
export interface CachedMethod {
  readonly name: string;
  readonly declaredIn: Function;
  readonly options: Options;
}

const cachedMethods = new WeakMap<Function, CachedMethod>();

/** What `@Cached` was told of a method; undefined of one that is not. */
export const cachedMethodOf = (method: Function): CachedMethod | undefined => cachedMethods.get(method);

/**
 * Begins the default keys of a method: `Reports.find`; `WeeklyReports/Reports.find` where a class inherits it, so that
 * neither its siblings nor a method that calls `super.find()` share its keys.
 * @throws CachedMethodError of a class without a name
 */
export function nameOfCalls({ name, declaredIn }: CachedMethod, type: Function): string {
  if (type.name === '') throw new CachedMethodError(name, 'its class has no name: give it a `key`');
  return type === declaredIn ? `${type.name}.${name}` : `${type.name}/${declaredIn.name}.${name}`;
}

/**
 * Keeps what a method returns: `Cache.getOrSet` around each call, so that concurrent calls with the same arguments run
 * it once, and what it returned is shared and frozen. For methods of any class that Nest builds, a provider or a
 * controller: `Cache` is injected into it, nothing has to be declared.
 *
 * The method returns a promise, as the cached one does. If its last argument is an `AbortSignal`, that is no part of
 * the key: it gives up its caller only, and the method gets one that is aborted when the last caller has left. What
 * else a result depends on, the state of the instance included, belongs into the arguments or into `key`.
 *
 * A call throws what the method throws, and ArgumentsNotSerializableError.
 * @throws CachedMethodError, InvalidCacheOptionError where the class is declared
 */
export function Cached<
  KeyArguments extends readonly unknown[] = [],
  TagArguments extends readonly unknown[] = [],
  Result = unknown,
>(options: CachedOptions<KeyArguments, TagArguments, Result> = {}) {
  return <M extends Cacheable<KeyArguments, TagArguments, Result>>(
    target: object,
    name: string | symbol,
    descriptor: TypedPropertyDescriptor<M>,
  ): void => {
    const cached = {
      name: String(name),
      declaredIn: target.constructor,
      options: options as unknown as Options,
    };
    if (typeof target === 'function')
      throw new CachedMethodError(`${target.name}.${cached.name}`, 'it is static');
    const token = options.namespace === undefined ? Cache : getCacheToken(options.namespace);
    const property = Symbol.for(`athena:${String(options.namespace === undefined ? 'Cache' : token)}`);
    Inject(token)(target, property);
    descriptor.value = wrap(descriptor.value as unknown as Method, cached, property) as unknown as M;
  };
}

function wrap(method: Method, cached: CachedMethod, property: symbol): Method {
  const { key, tags = [], namespace: _, ...policy } = cached.options;
  async function call(this: object, ...given: unknown[]): Promise<unknown> {
    const cache = (this as Record<symbol, Cache | undefined>)[property];
    if (cache === undefined)
      throw new CachedMethodError(
        `${this.constructor.name}.${cached.name}`,
        'its class was not built by Nest',
      );
    const last = given.at(-1);
    const signal = last instanceof AbortSignal ? last : undefined;
    const args = signal === undefined ? given : given.slice(0, -1);
    return cache.getOrSet(
      key === undefined
        ? keyOfCall(nameOfCalls(cached, this.constructor), args)
        : Reflect.apply(key, this, args),
      (context) => Reflect.apply(method, this, signal === undefined ? args : [...args, context.signal]),
      { ...policy, signal, tags: typeof tags === 'function' ? (result) => tags(result, ...args) : tags },
    );
  }
  cachedMethods.set(call, cached);
  return inTheGuiseOf(method, call);
}

/** Name, number of parameters, and what other decorators have noted. */
function inTheGuiseOf(method: Method, call: Method): Method {
  for (const name of ['name', 'length']) {
    Object.defineProperty(call, name, { ...Object.getOwnPropertyDescriptor(method, name) });
  }
  for (const key of Reflect.getMetadataKeys(method) as unknown[]) {
    Reflect.defineMetadata(key, Reflect.getMetadata(key, method), call);
  }
  return call;
}

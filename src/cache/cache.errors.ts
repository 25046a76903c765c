/** Every failure of the cache that a caller can see. `code` is stable; `docs/errors.md` documents each. */
export abstract class CacheError extends Error {
  abstract readonly code: string;
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** An option or key is outside of what is allowed; says which, what was given and what is allowed. */
export class InvalidCacheOptionError extends CacheError {
  readonly code = 'cache_invalid_option';
  constructor(
    readonly option: string,
    readonly allowed: string,
    readonly received: unknown,
  ) {
    super(`${option} must be ${allowed}; got ${String(received)}.`);
  }
}

/** The value contains something that no storage can carry (a function, a symbol, a cycle, a class instance). */
export class ValueNotSerializableError extends CacheError {
  readonly code = 'cache_value_not_serializable';
  constructor(
    readonly reason: string,
    options?: ErrorOptions,
  ) {
    super(`The value cannot be cached: ${reason}.`, options);
  }
}

/** The call of a `@Cached` method has an argument that no key can be made of. */
export class ArgumentsNotSerializableError extends CacheError {
  readonly code = 'cache_arguments_not_serializable';
  constructor(
    readonly method: string,
    readonly reason: string,
  ) {
    super(`No key can be made of the arguments of ${method}: ${reason}. Give @Cached a \`key\`.`);
  }
}

/** A method can't be `@Cached` as it stands. */
export class CachedMethodError extends CacheError {
  readonly code = 'cache_method_not_cacheable';
  constructor(
    readonly method: string,
    readonly reason: string,
  ) {
    super(`${method} can't be @Cached: ${reason}.`);
  }
}

/** One entry is larger than the storage lets a single entry be. */
export class EntryTooLargeError extends CacheError {
  readonly code = 'cache_entry_too_large';
  constructor(
    readonly key: string,
    readonly bytes: number,
    readonly maxBytes: number,
  ) {
    super(`The entry has ${bytes} bytes; this storage takes at most ${maxBytes} in one entry.`);
  }
}

/** The value was not computed within the caller's `hardTimeoutMs`; the computation goes on, and is stored. */
export class FactoryTimeoutError extends CacheError {
  readonly code = 'cache_factory_timeout';
  constructor(
    readonly key: string,
    readonly timeoutMs: number,
  ) {
    super(`The value was not computed within ${timeoutMs} ms.`);
  }
}

/** So many callers wait for computations already that this one was refused at once. */
export class TooManyWaitersError extends CacheError {
  readonly code = 'cache_too_many_waiters';
  constructor(
    readonly key: string,
    readonly maxWaiters: number,
  ) {
    super(`${maxWaiters} callers wait for computations already.`);
  }
}

/** The storage cannot be reached or does not answer in time. */
export class StorageUnavailableError extends CacheError {
  readonly code = 'cache_storage_unavailable';
  constructor(
    readonly storage: string,
    readonly reason: string,
    options?: ErrorOptions,
  ) {
    super(`The ${storage} storage is unavailable: ${reason}.`, options);
  }
}

/** The storage was closed; the process is shutting down. */
export class StorageClosedError extends CacheError {
  readonly code = 'cache_storage_closed';
  constructor(readonly storage: string) {
    super(`The ${storage} storage is closed.`);
  }
}

/** Another process holds this cache directory. */
export class CacheDirectoryLockedError extends CacheError {
  readonly code = 'cache_directory_locked';
  constructor(
    readonly directory: string,
    readonly pid: number,
  ) {
    super(
      `The cache directory ${directory} is in use by process ${pid}; give each instance its own CACHE_DIR.`,
    );
  }
}

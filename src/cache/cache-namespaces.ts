import { InvalidCacheOptionError } from './cache.errors.js';
import type { Cache } from './cache.js';
import type { CacheFeatureOptions } from './cache.options.js';
import { ReplicatedCacheStorage } from './storage/replicated.storage.js';
import type { CacheStorage } from './storage/cache-storage.js';

export interface CacheNamespacesOptions {
  /** Whose namespaces they are. */
  readonly storage: CacheStorage;
  readonly createCache: (storage: ReplicatedCacheStorage, options: CacheFeatureOptions) => Cache;
  /** How long to wait for what Redis and this instance have to tell each other at first. */
  readonly settleMs: number;
}

/** One `Cache` for each namespace, and with it one flight for each of its keys, whoever asks for it and how often. */
export class CacheNamespaces {
  private readonly storage: ReplicatedCacheStorage;
  private readonly features = new Map<string, Feature>();

  constructor(private readonly options: CacheNamespacesOptions) {
    this.storage = ReplicatedCacheStorage.over(options.storage);
  }

  /** @throws InvalidCacheOptionError if the namespace was opened with other options already */
  open(namespace: string, options: CacheFeatureOptions = {}): Promise<Cache> {
    const known = this.features.get(namespace);
    if (known !== undefined) {
      checkSame(namespace, known.options, options);
      return known.cache;
    }
    const cache = this.create(namespace, options);
    this.features.set(namespace, { options, cache });
    return cache;
  }

  private async create(namespace: string, options: CacheFeatureOptions): Promise<Cache> {
    const storage = this.storage.namespace(namespace);
    const cache = this.options.createCache(storage, options);
    await storage.opened();
    await storage.settled(this.options.settleMs);
    return cache;
  }
}

interface Feature {
  readonly options: CacheFeatureOptions;
  readonly cache: Promise<Cache>;
}

/** Otherwise the module that happens to be built first would decide. */
function checkSame(namespace: string, known: CacheFeatureOptions, given: CacheFeatureOptions): void {
  const names = new Set([...Object.keys(known), ...Object.keys(given)] as (keyof CacheFeatureOptions)[]);
  for (const name of names) {
    if (known[name] === given[name]) continue;
    const option = `${name} of CacheModule.forFeature(${JSON.stringify(namespace)})`;
    throw new InvalidCacheOptionError(option, `the same in every module (${known[name]})`, given[name]);
  }
}

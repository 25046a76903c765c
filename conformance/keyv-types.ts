/** Compiles as long as `KeyvStore` has the types that its users' code asks for; it is never run. */
import type { CacheOptions } from '@nestjs/cache-manager';
import type { KeyvStoreAdapter } from 'keyv';
import type { KeyvBridgeStore } from 'keyv6';
import type { KeyvStore } from '../src/cache/keyv.store.js';

export const ofKeyv5 = (store: KeyvStore): KeyvStoreAdapter => store;
export const ofKeyv6 = (store: KeyvStore): KeyvBridgeStore => store;
export const ofNest = (store: KeyvStore): CacheOptions['stores'] => store;

import { Inject } from '@nestjs/common';
import { getCacheToken } from './cache.tokens.js';

/** Injects the `Cache` of a namespace; the module imports `CacheModule.forFeature(namespace)`. */
export const InjectCache = (namespace: string): PropertyDecorator & ParameterDecorator =>
  Inject(getCacheToken(namespace));

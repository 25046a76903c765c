import type { OnModuleInit } from '@nestjs/common';
import { Injectable } from '@nestjs/common';
import { DiscoveryService, MetadataScanner } from '@nestjs/core';
import { CachedMethodError } from './cache.errors.js';
import { cachedMethodOf, nameOfCalls } from './cached.decorator.js';
import type { CachedMethod } from './cached.decorator.js';

type ClassWrapper = ReturnType<DiscoveryService['getProviders']>[number];

/** Refuses at start what would give a caller the result of another: keys that two methods or two requests share. */
@Injectable()
export class CachedMethodsCheck implements OnModuleInit {
  private readonly scanner = new MetadataScanner();

  constructor(private readonly discovery: DiscoveryService) {}

  /** @throws CachedMethodError */
  onModuleInit(): void {
    const owners = new Map<string, Function>();
    for (const wrapper of [...this.discovery.getProviders(), ...this.discovery.getControllers()]) {
      const type = typeOf(wrapper);
      if (type === undefined) continue;
      for (const method of this.methodsOf(type)) {
        if (method.options.key !== undefined) continue;
        const calls = nameOfCalls(method, type);
        if (!wrapper.isDependencyTreeStatic()) {
          throw new CachedMethodError(
            calls,
            'its class is request-scoped, and its keys are not: give it a `key`',
          );
        }
        const keys = `${method.options.namespace ?? ''} ${calls}`;
        if ((owners.get(keys) ?? type) !== type) {
          throw new CachedMethodError(
            calls,
            'another class has the same name: give one of them a `key` or a namespace',
          );
        }
        owners.set(keys, type);
      }
    }
  }

  private methodsOf(type: Function): CachedMethod[] {
    const prototype = type.prototype as Record<string, unknown>;
    return this.scanner.getAllMethodNames(prototype).flatMap((name) => {
      const method = prototype[name];
      return (typeof method === 'function' && cachedMethodOf(method)) || [];
    });
  }
}

/** The class that was, or will be, instantiated; of what a factory made, the class of that. */
function typeOf({ metatype, isNotMetatype, instance }: ClassWrapper): Function | undefined {
  const type: unknown = isNotMetatype ? (instance as object | undefined)?.constructor : metatype;
  return typeof type === 'function' && typeof type.prototype === 'object' && type.prototype !== null
    ? type
    : undefined;
}

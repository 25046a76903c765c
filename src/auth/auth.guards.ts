import type { CanActivate, ExecutionContext } from '@nestjs/common';
import { Inject, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import type { ApiKeys } from './api-keys.js';
import { AdminForbiddenError, UnauthorizedError } from './auth.errors.js';

/** Who may do what; see `ATHENA_API_KEYS` and `ATHENA_ADMIN_KEYS`. */
export interface AccessPolicy {
  readonly apiKeys: ApiKeys;
  readonly adminKeys: ApiKeys;
  /** Only this machine can reach the server. */
  readonly loopbackOnly: boolean;
}
export const AccessPolicy: unique symbol = Symbol('AccessPolicy');

/** The tenant of a request that has passed `TenantGuard`. */
export interface TenantRequest extends FastifyRequest {
  tenant?: string;
}

/** Lets known keys in and tells their tenant; without any key configured everybody is tenant `default`. */
@Injectable()
export class TenantGuard implements CanActivate {
  constructor(@Inject(AccessPolicy) private readonly policy: AccessPolicy) {}

  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<TenantRequest>();
    const { apiKeys } = this.policy;
    const tenant = apiKeys.isEmpty ? 'default' : apiKeys.tenantOf(request.headers.authorization);
    if (tenant === undefined) throw new UnauthorizedError();
    request.tenant = tenant;
    return true;
  }
}

/** The tenant that `TenantGuard` has found. */
export function tenantOf({ tenant }: TenantRequest): string {
  if (tenant === undefined) throw new TypeError('TenantGuard has not run.');
  return tenant;
}

/** Lets administrators in; open only while no key at all is set and the server is on loopback. */
@Injectable()
export class AdminGuard implements CanActivate {
  constructor(@Inject(AccessPolicy) private readonly policy: AccessPolicy) {}

  canActivate(context: ExecutionContext): boolean {
    const { apiKeys, adminKeys, loopbackOnly } = this.policy;
    if (adminKeys.isEmpty) {
      if (apiKeys.isEmpty && loopbackOnly) return true;
      throw new AdminForbiddenError();
    }
    const { authorization } = context.switchToHttp().getRequest<FastifyRequest>().headers;
    if (adminKeys.tenantOf(authorization) !== undefined) return true;
    if (apiKeys.tenantOf(authorization) !== undefined) throw new AdminForbiddenError();
    throw new UnauthorizedError();
  }
}

import { ConfigurableModuleBuilder, Module } from '@nestjs/common';
import { ApiKeys } from './api-keys.js';
import type { ApiKey } from './api-keys.js';
import { AccessPolicy, AdminGuard, TenantGuard } from './auth.guards.js';

export interface AuthModuleOptions {
  readonly apiKeys: readonly ApiKey[];
  readonly adminKeys: readonly ApiKey[];
  readonly loopbackOnly: boolean;
}

const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN } = new ConfigurableModuleBuilder<AuthModuleOptions>()
  .setClassMethodName('forRoot')
  .setExtras({ isGlobal: true }, (definition, { isGlobal }) => ({ ...definition, global: isGlobal }))
  .build();

/** Who may call what. Global, because guards are resolved where they are used. */
@Module({
  providers: [
    {
      provide: AccessPolicy,
      inject: [MODULE_OPTIONS_TOKEN],
      useFactory: ({ apiKeys, adminKeys, loopbackOnly }: AuthModuleOptions): AccessPolicy => ({
        apiKeys: new ApiKeys(apiKeys),
        adminKeys: new ApiKeys(adminKeys),
        loopbackOnly,
      }),
    },
    TenantGuard,
    AdminGuard,
  ],
  exports: [AccessPolicy, TenantGuard, AdminGuard],
})
export class AuthModule extends ConfigurableModuleClass {}

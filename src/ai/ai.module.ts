import type { OnApplicationBootstrap, OnApplicationShutdown } from '@nestjs/common';
import { ConfigurableModuleBuilder, Inject, Logger, Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { AiHealthIndicator } from './ai.health.js';
import { AiServiceManager } from './ai-service-manager.js';
import { AI_PROVIDERS } from './ai.tokens.js';
import type { AnalysisType, ProviderName, VendorName } from './analysis.js';
import { AnalysisCacheManager } from './analysis-cache-manager.js';
import type { AiProvider } from './providers/ai-provider.js';
import type { GuardEvent, GuardOptions } from './providers/guarded.provider.js';
import { GuardedProvider } from './providers/guarded.provider.js';
import type { VendorOptions } from './providers/language-model.provider.js';
import { LocalProvider } from './providers/local/local.provider.js';
import type { PoolEvent } from './providers/local/process-pool.js';
import { VENDORS } from './providers/vendors.js';
import { Cache } from '../cache/cache.js';

/** What `AiModule.forRoot` takes. All times are milliseconds, all sizes bytes. */
export interface AiModuleOptions {
  /** In order of preference; one that cannot be used is skipped, and the log says so. */
  readonly providers: readonly ProviderName[];
  /** For all that one computation does; see `AiServiceOptions`. */
  readonly deadlineMs: number;
  readonly maxFileBytes: number;
  readonly standInTtlMs?: number;
  readonly whenAbandoned?: 'abort' | 'finish';
  /** Of the models; one without its key or URL is skipped. */
  readonly vendors: Readonly<Record<VendorName, VendorOptions>>;
  readonly guard: GuardOptions;
  readonly ttlMs?: Partial<Readonly<Record<AnalysisType, number>>>;
  readonly local: { readonly processes: number; readonly timeoutMs: number; readonly queueLimit: number };
}

const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN } = new ConfigurableModuleBuilder<AiModuleOptions>()
  .setClassMethodName('forRoot')
  .setExtras({ isGlobal: false }, (definition, { isGlobal }) => ({ ...definition, global: isGlobal }))
  .build();

/** Provides `AiServiceManager`. Needs a `CacheModule` that is global or imported beside it. */
@Module({
  imports: [TerminusModule],
  providers: [
    {
      provide: AI_PROVIDERS,
      inject: [MODULE_OPTIONS_TOKEN, AnalysisCacheManager],
      useFactory: createProviders,
    },
    {
      provide: AnalysisCacheManager,
      inject: [Cache, MODULE_OPTIONS_TOKEN],
      useFactory: (cache: Cache, { ttlMs = {}, whenAbandoned = 'abort' }: AiModuleOptions) =>
        new AnalysisCacheManager(cache, { ttlMs, whenAbandoned }),
    },
    {
      provide: AiServiceManager,
      inject: [AnalysisCacheManager, AI_PROVIDERS, MODULE_OPTIONS_TOKEN],
      useFactory: (
        cache: AnalysisCacheManager,
        providers: readonly AiProvider[],
        { deadlineMs, maxFileBytes, standInTtlMs }: AiModuleOptions,
      ) =>
        new AiServiceManager(cache, {
          providers,
          deadlineMs,
          maxFileBytes,
          ...(standInTtlMs === undefined ? {} : { standInTtlMs }),
        }),
    },
    AiHealthIndicator,
  ],
  exports: [AiServiceManager, AnalysisCacheManager, AiHealthIndicator],
})
export class AiModule
  extends ConfigurableModuleClass
  implements OnApplicationBootstrap, OnApplicationShutdown
{
  constructor(@Inject(AI_PROVIDERS) private readonly providers: readonly AiProvider[]) {
    super();
  }

  onApplicationBootstrap(): void {
    for (const provider of this.providers) provider.start?.();
  }

  /** After the server has closed: no analysis runs any more that somebody waits for. */
  async onApplicationShutdown(): Promise<void> {
    await Promise.all(this.providers.map((provider) => provider.close()));
  }
}

function createProviders(options: AiModuleOptions, cache: AnalysisCacheManager): AiProvider[] {
  const logger = new Logger('Ai');
  const onEvent = (event: GuardEvent): void => {
    logGuardEvent(logger, event);
    // A fault of the cache is none of the provider's: what stands in expires soon, too.
    if (event.type === 'circuit_closed') cache.forgetStandIns().catch((error: unknown) => logger.warn(error));
  };
  const created = options.providers.map((name) => ({
    name,
    provider: createProvider(name, options, onEvent, logger),
  }));
  const skipped = created.filter(({ provider }) => provider === undefined).map(({ name }) => name);
  const providers = created.map(({ provider }) => provider).filter((provider) => provider !== undefined);
  if (skipped.length > 0) logger.log({ skipped }, `Providers that are not configured: ${skipped.join(', ')}`);
  if (providers.length === 0)
    logger.warn({ skipped }, 'No provider can be used: every analysis will be refused');
  return providers;
}

function createProvider(
  name: ProviderName,
  { local, maxFileBytes, vendors, guard }: AiModuleOptions,
  onEvent: (event: GuardEvent) => void,
  logger: Logger,
): AiProvider | undefined {
  if (name === 'local') {
    const log = (event: PoolEvent): void => logPoolEvent(logger, event);
    return new LocalProvider({ ...local, maxBytes: maxFileBytes, log });
  }
  const provider = VENDORS[name](vendors[name]);
  return provider && new GuardedProvider(provider, { ...guard, onEvent });
}

/** What an operator must act on is a warning. */
function logGuardEvent(logger: Logger, { type, ...facts }: GuardEvent): void {
  const fields = { event: `ai.${type}`, ...facts };
  switch (type) {
    case 'circuit_opened':
    case 'saturated':
    case 'rate_limited':
      return logger.warn(fields, GUARD_MESSAGES[type]);
    case 'circuit_half_opened':
    case 'circuit_closed':
    case 'relieved':
      return logger.log(fields, GUARD_MESSAGES[type]);
  }
}

const GUARD_MESSAGES: Readonly<Record<GuardEvent['type'], string>> = {
  circuit_opened: 'A provider fails again and again: it is left alone for a while',
  circuit_half_opened: 'One request tries whether the provider is well again',
  circuit_closed: 'The provider is well again',
  saturated: 'The queue of a provider is full: what comes now goes to the next one, or is refused',
  relieved: 'The queue of the provider has room again',
  rate_limited: 'A provider allows no more requests for a while',
};

/** Children come and go; what one did not survive is for the operator to see. */
function logPoolEvent(logger: Logger, { event, ...facts }: PoolEvent): void {
  const fields = { event: `local.${event}`, ...facts };
  switch (event) {
    case 'child_ready':
    case 'child_recycled':
      return logger.debug(fields, POOL_MESSAGES[event]);
    case 'child_killed':
    case 'child_crashed':
      return logger.warn(fields, POOL_MESSAGES[event]);
    case 'child_start_failed':
      return logger.error(fields, POOL_MESSAGES[event]);
  }
}

const POOL_MESSAGES: Readonly<Record<PoolEvent['event'], string>> = {
  child_ready: 'An analysis process is ready',
  child_recycled: 'An analysis process is replaced after its share of work',
  child_killed: 'An analysis process was killed',
  child_crashed: 'An analysis process died; its input is the likely cause',
  child_start_failed: 'An analysis process does not start',
};

import type { OnApplicationBootstrap, OnApplicationShutdown } from '@nestjs/common';
import { ConfigurableModuleBuilder, Inject, Logger, Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { AiHealthIndicator } from './ai.health.js';
import { AiServiceManager } from './ai-service-manager.js';
import { AI_PROVIDERS } from './ai.tokens.js';
import type { AnalysisType, ProviderName } from './analysis.js';
import { AnalysisCacheManager } from './analysis-cache-manager.js';
import type { AiProvider } from './providers/ai-provider.js';
import { LocalProvider } from './providers/local/local.provider.js';
import type { PoolEvent } from './providers/local/process-pool.js';
import { Cache } from '../cache/cache.js';

/** What `AiModule.forRoot` takes. All times are milliseconds, all sizes bytes. */
export interface AiModuleOptions {
  /** In order of preference; one that cannot be used is skipped, and the log says so. */
  readonly providers: readonly ProviderName[];
  readonly timeoutMs: number;
  readonly maxFileBytes: number;
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
    { provide: AI_PROVIDERS, inject: [MODULE_OPTIONS_TOKEN], useFactory: createProviders },
    {
      provide: AnalysisCacheManager,
      inject: [Cache, MODULE_OPTIONS_TOKEN],
      useFactory: (cache: Cache, { ttlMs }: AiModuleOptions) =>
        new AnalysisCacheManager(cache, ttlMs === undefined ? {} : { ttlMs }),
    },
    {
      provide: AiServiceManager,
      inject: [AnalysisCacheManager, AI_PROVIDERS, MODULE_OPTIONS_TOKEN],
      useFactory: (
        cache: AnalysisCacheManager,
        providers: readonly AiProvider[],
        { timeoutMs, maxFileBytes }: AiModuleOptions,
      ) => new AiServiceManager(cache, { providers, timeoutMs, maxFileBytes }),
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

/** Adding a provider is one file in `providers/` and one case here. */
function createProvider(
  name: ProviderName,
  { local, maxFileBytes }: AiModuleOptions,
  logger: Logger,
): AiProvider | undefined {
  switch (name) {
    case 'local':
      return new LocalProvider({
        ...local,
        maxBytes: maxFileBytes,
        log: (event) => logPoolEvent(logger, event),
      });
    case 'claude':
    case 'openai':
    case 'deepseek':
    case 'compatible':
      return undefined;
  }
}

function createProviders(options: AiModuleOptions): AiProvider[] {
  const logger = new Logger('Ai');
  const created = options.providers.map((name) => ({
    name,
    provider: createProvider(name, options, logger),
  }));
  const skipped = created.filter(({ provider }) => provider === undefined).map(({ name }) => name);
  const providers = created.map(({ provider }) => provider).filter((provider) => provider !== undefined);
  if (skipped.length > 0) logger.log({ skipped }, `Providers that are not configured: ${skipped.join(', ')}`);
  if (providers.length === 0)
    logger.warn({ skipped }, 'No provider can be used: every analysis will be refused');
  return providers;
}

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

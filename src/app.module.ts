import { Module } from '@nestjs/common';
import { ConfigService } from '@nestjs/config';
import { APP_FILTER } from '@nestjs/core';
import { LoggerModule } from 'nestjs-pino';
import { AdminModule } from './admin/admin.module.js';
import { AiModule } from './ai/ai.module.js';
import type { AiModuleOptions } from './ai/ai.module.js';
import type { VendorName } from './ai/analysis.js';
import { VENDOR_NAMES } from './ai/analysis.js';
import type { VendorOptions } from './ai/providers/language-model.provider.js';
import { AnalysisModule } from './analysis/analysis.module.js';
import { AuthModule } from './auth/auth.module.js';
import { CacheModule } from './cache/cache.module.js';
import type { CacheModuleOptions } from './cache/cache.options.js';
import { configModule, environmentOf } from './config/config.module.js';
import type { Environment } from './config/environment.js';
import { isLoopback } from './config/environment.js';
import { redisSettings } from './config/redis-settings.js';
import { HealthModule } from './health/health.module.js';
import { ProblemFilter } from './problem.filter.js';
import { loggingParams } from './telemetry/logging.js';
import { TelemetryModule } from './telemetry/telemetry.module.js';

/** The composition root: the only file that knows every module, and how each is configured. */
@Module({
  imports: [
    TelemetryModule,
    configModule,
    LoggerModule.forRootAsync({
      inject: [ConfigService],
      useFactory: (config: ConfigService) => {
        const { LOG_LEVEL, LOG_FORMAT } = environmentOf(config);
        return loggingParams({
          level: LOG_LEVEL,
          format: LOG_FORMAT ?? (process.stdout.isTTY ? 'pretty' : 'json'),
        });
      },
    }),
    AuthModule.forRootAsync({
      inject: [ConfigService],
      useFactory: (config: ConfigService) => {
        const { ATHENA_API_KEYS, ATHENA_ADMIN_KEYS, HOST } = environmentOf(config);
        return { apiKeys: ATHENA_API_KEYS, adminKeys: ATHENA_ADMIN_KEYS, loopbackOnly: isLoopback(HOST) };
      },
    }),
    CacheModule.forRootAsync({ isGlobal: true, inject: [ConfigService], useFactory: cacheOptions }),
    AiModule.forRootAsync({ isGlobal: true, inject: [ConfigService], useFactory: aiOptions }),
    AnalysisModule.forRootAsync({
      inject: [ConfigService],
      useFactory: (config: ConfigService) => {
        const {
          BATCH_MAX_ITEMS,
          BATCH_CONCURRENCY,
          STREAM_HEARTBEAT_MS,
          SHUTDOWN_TIMEOUT_MS,
          MAX_FILE_BYTES,
        } = environmentOf(config);
        return {
          maxItems: BATCH_MAX_ITEMS,
          concurrency: BATCH_CONCURRENCY,
          heartbeatMs: STREAM_HEARTBEAT_MS,
          shutdownGraceMs: 0.8 * SHUTDOWN_TIMEOUT_MS,
          maxFileBytes: MAX_FILE_BYTES,
        };
      },
    }),
    AdminModule,
    HealthModule,
  ],
  providers: [{ provide: APP_FILTER, useClass: ProblemFilter }],
})
export class AppModule {}

function cacheOptions(config: ConfigService): CacheModuleOptions {
  const environment = environmentOf(config);
  return {
    local: environment.CACHE_LOCAL,
    directory: environment.CACHE_DIR,
    memoryMaxBytes: environment.CACHE_MEMORY_MAX_BYTES,
    diskMaxBytes: environment.CACHE_DISK_MAX_BYTES,
    outboxMaxBytes: environment.CACHE_OUTBOX_MAX_BYTES,
    maxLifeMs: environment.CACHE_MAX_LIFE_MS,
    ttlMs: environment.CACHE_TTL_MS,
    staleMs: environment.CACHE_STALE_MS,
    compressionMinBytes: environment.CACHE_COMPRESSION_MIN_BYTES,
    encryptionKeys: environment.CACHE_ENCRYPTION_KEYS,
    redis: redisSettings(environment),
  };
}

function aiOptions(config: ConfigService): AiModuleOptions {
  const environment = environmentOf(config);
  const ttlMs = environment.CACHE_TTL_MS;
  return {
    providers: environment.AI_PROVIDERS,
    deadlineMs: environment.AI_DEADLINE_MS ?? 2 * environment.AI_TIMEOUT_MS,
    standInTtlMs: Math.min(environment.AI_STAND_IN_TTL_MS, ttlMs),
    whenAbandoned: environment.AI_WHEN_ABANDONED,
    vendors: vendorOptions(environment),
    guard: {
      timeoutMs: environment.AI_TIMEOUT_MS,
      maxRetries: environment.AI_MAX_RETRIES,
      concurrency: environment.AI_CONCURRENCY,
      queueLimit: environment.AI_QUEUE,
      breakerFailures: environment.AI_BREAKER_FAILURES,
      breakerResetMs: environment.AI_BREAKER_RESET_MS,
    },
    maxFileBytes: environment.MAX_FILE_BYTES,
    ttlMs: {
      deobfuscate: environment.CACHE_TTL_DEOBFUSCATE_MS ?? ttlMs,
      vulnerabilities: environment.CACHE_TTL_VULNERABILITIES_MS ?? ttlMs,
    },
    local: {
      processes: environment.LOCAL_PROCESSES,
      timeoutMs: environment.LOCAL_TIMEOUT_MS,
      queueLimit: environment.LOCAL_QUEUE,
    },
  };
}

function vendorOptions(environment: Environment): AiModuleOptions['vendors'] {
  const ofVendor = (name: VendorName): readonly [VendorName, VendorOptions] => {
    const prefix = name.toUpperCase() as Uppercase<VendorName>;
    return [
      name,
      {
        apiKey: environment[`${prefix}_API_KEY`],
        model: environment[`${prefix}_MODEL`],
        baseUrl: environment[`${prefix}_BASE_URL`],
        price: environment[`${prefix}_PRICE`],
        maxOutputTokens: environment.AI_MAX_OUTPUT_TOKENS,
      },
    ];
  };
  return Object.fromEntries(VENDOR_NAMES.map(ofVendor)) as unknown as AiModuleOptions['vendors'];
}

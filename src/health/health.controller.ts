import { Controller, Get } from '@nestjs/common';
import type { HealthCheckResult } from '@nestjs/terminus';
import { HealthCheck, HealthCheckService } from '@nestjs/terminus';
import { AiHealthIndicator } from '../ai/ai.health.js';
import { CacheHealthIndicator } from '../cache/cache.health.js';

/** `degraded` is 200: somebody should look, and nobody should restart anything. */
@Controller('health')
export class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly cache: CacheHealthIndicator,
    private readonly ai: AiHealthIndicator,
  ) {}

  /** Everything. */
  @Get()
  @HealthCheck()
  check(): Promise<HealthCheckResult> {
    return this.health.check([
      () => this.cache.redis(),
      () => this.cache.cacheStorage(),
      () => this.ai.check(),
    ]);
  }

  /** The process: it answers. */
  @Get('live')
  @HealthCheck()
  live(): Promise<HealthCheckResult> {
    return this.health.check([]);
  }

  /** What a request needs: a storage and a provider. Redis is not among it. */
  @Get('ready')
  @HealthCheck()
  ready(): Promise<HealthCheckResult> {
    return this.health.check([() => this.cache.cacheStorage(), () => this.ai.check()]);
  }
}

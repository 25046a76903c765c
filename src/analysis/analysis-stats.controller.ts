import { Controller, Get, UseGuards } from '@nestjs/common';
import type { AiStats } from '../ai/ai-service-manager.js';
import { AiServiceManager } from '../ai/ai-service-manager.js';
import { AdminGuard } from '../auth/auth.guards.js';

/** What analyses have cost and what the cache has saved, of all tenants, on this instance. */
@Controller('v1/analyses/stats')
@UseGuards(AdminGuard)
export class AnalysisStatsController {
  constructor(private readonly ai: AiServiceManager) {}

  @Get()
  stats(): AiStats {
    return this.ai.stats();
  }
}

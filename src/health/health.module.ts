import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { HealthController } from './health.controller.js';

/** Needs `AiModule` and `CacheModule` (both global) for their indicators. */
@Module({ imports: [TerminusModule], controllers: [HealthController] })
export class HealthModule {}

import { Module } from '@nestjs/common';
import { AnalysisController } from './analysis.controller.js';
import { AnalysisStatsController } from './analysis-stats.controller.js';

/** Needs `AiModule` (global) and `AuthModule` (global). */
@Module({ controllers: [AnalysisStatsController, AnalysisController] })
export class AnalysisModule {}

import { ConfigurableModuleBuilder, Module } from '@nestjs/common';
import { AnalysisController } from './analysis.controller.js';
import type { StreamOptions } from './analysis.options.js';
import { STREAM_OPTIONS } from './analysis.options.js';
import { AnalysisStatsController } from './analysis-stats.controller.js';

const { ConfigurableModuleClass } = new ConfigurableModuleBuilder<StreamOptions>({
  optionsInjectionToken: STREAM_OPTIONS,
})
  .setClassMethodName('forRoot')
  .build();

/** Needs `AiModule` (global) and `AuthModule` (global). */
@Module({ controllers: [AnalysisStatsController, AnalysisController] })
export class AnalysisModule extends ConfigurableModuleClass {}

import { ConfigurableModuleBuilder, Module } from '@nestjs/common';
import { AnalysisController } from './analysis.controller.js';
import { AnalysisOptions } from './analysis.options.js';
import { AnalysisStatsController } from './analysis-stats.controller.js';
import { BatchController } from './batch.controller.js';

const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN } = new ConfigurableModuleBuilder<AnalysisOptions>()
  .setClassMethodName('forRoot')
  .build();

/** Needs `AiModule` (global) and `AuthModule` (global). */
@Module({
  controllers: [AnalysisStatsController, AnalysisController, BatchController],
  providers: [{ provide: AnalysisOptions, useExisting: MODULE_OPTIONS_TOKEN }],
})
export class AnalysisModule extends ConfigurableModuleClass {}

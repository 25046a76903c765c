import { Module } from '@nestjs/common';
import { AnalysisController } from './analysis.controller.js';

/** Needs `AiModule` (global) and `AuthModule` (global). */
@Module({ controllers: [AnalysisController] })
export class AnalysisModule {}

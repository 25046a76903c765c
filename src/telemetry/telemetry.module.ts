import { Module } from '@nestjs/common';
import { ProcessMetrics } from './metrics.js';
import { MetricsController } from './metrics.controller.js';

/** What the process measures. Imported first, for instruments that are made before it go nowhere. */
@Module({
  controllers: [MetricsController],
  providers: [{ provide: ProcessMetrics, useFactory: () => ProcessMetrics.start() }],
})
export class TelemetryModule {}

import { Controller, Get, Header } from '@nestjs/common';
import { ProcessMetrics } from './metrics.js';

@Controller('metrics')
export class MetricsController {
  constructor(private readonly metrics: ProcessMetrics) {}

  @Get()
  @Header('content-type', 'text/plain; version=0.0.4; charset=utf-8')
  @Header('cache-control', 'no-store')
  text(): Promise<string> {
    return this.metrics.text();
  }
}

import { metrics } from '@opentelemetry/api';
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';

/** What the process measures, as Prometheus reads it. */
export class ProcessMetrics {
  private readonly reader = new PrometheusExporter({ preventServerStart: true });
  private readonly serializer = new PrometheusSerializer();

  /** Instruments that are made before this go nowhere. */
  static start(): ProcessMetrics {
    const started = new ProcessMetrics();
    metrics.setGlobalMeterProvider(new MeterProvider({ readers: [started.reader] }));
    return started;
  }

  /** In the Prometheus text format 0.0.4. */
  async text(): Promise<string> {
    const { resourceMetrics } = await this.reader.collect();
    return this.serializer.serialize(resourceMetrics);
  }
}

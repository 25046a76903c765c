import { metrics, ValueType } from '@opentelemetry/api';
import type { CostAccount } from './cost-ledger.js';
import type { AiProvider, ProviderUsage } from './providers/ai-provider.js';
import type { AnalysisType } from './analysis.js';

/** Seconds, as the GenAI conventions want them: 0.01 doubling to 81.92. */
const DURATION_BUCKETS = Array.from({ length: 14 }, (_, power) => 0.01 * 2 ** power);

/** The instruments of the AI module. They go to whatever meter provider the process has, or nowhere. */
export class AiMetrics {
  private readonly meter = metrics.getMeter('athena');
  private readonly calls = this.meter.createCounter('athena.ai.calls', {
    description: 'Turns of providers, by how they ended',
  });
  private readonly durations = this.meter.createHistogram('gen_ai.client.operation.duration', {
    unit: 's',
    description: 'How long a provider took, its queue and retries included',
    advice: { explicitBucketBoundaries: DURATION_BUCKETS },
  });
  private readonly tokens = this.meter.createCounter('athena.ai.tokens', {
    description: 'Tokens, spent on calls or saved by the cache',
    valueType: ValueType.INT,
  });
  private readonly cost = this.meter.createCounter('athena.ai.cost.usd', {
    description: 'US dollars, spent on calls or saved by the cache, of providers with a price',
    valueType: ValueType.DOUBLE,
  });

  /** `outcome`: `ok`, or the code of the error. */
  call({ name, model }: AiProvider, type: AnalysisType, outcome: string, durationMs: number): void {
    const attributes = { 'gen_ai.provider.name': name, 'gen_ai.request.model': model, type };
    this.calls.add(1, { ...attributes, outcome });
    this.durations.record(durationMs / 1000, {
      ...attributes,
      'gen_ai.operation.name': 'chat',
      ...(outcome === 'ok' ? {} : { 'error.type': outcome }),
    });
  }

  usage(side: 'spent' | 'saved', { provider, model, type }: CostAccount, usage: ProviderUsage): void {
    const attributes = { side, provider, model, type };
    this.tokens.add(usage.inputTokens, { ...attributes, token: 'input' });
    this.tokens.add(usage.outputTokens, { ...attributes, token: 'output' });
    if (usage.costUsd !== undefined) this.cost.add(usage.costUsd, attributes);
  }

  /** 1 for the state that a provider is in, 0 for the others. */
  watch(providers: readonly AiProvider[]): void {
    const gauge = this.meter.createObservableGauge('athena.ai.provider.state', {
      description: 'How a provider stands: 1 for the state that it is in',
      valueType: ValueType.INT,
    });
    gauge.addCallback((result) => {
      for (const provider of providers) {
        const { state } = provider.health();
        for (const name of ['up', 'degraded', 'down'])
          result.observe(name === state ? 1 : 0, { provider: provider.name, state: name });
      }
    });
  }
}

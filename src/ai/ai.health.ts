import { Inject, Injectable } from '@nestjs/common';
import type { HealthIndicatorResult } from '@nestjs/terminus';
import { HealthIndicatorService } from '@nestjs/terminus';
import { AI_PROVIDERS } from './ai.tokens.js';
import type { AiProvider } from './providers/ai-provider.js';

/** How the providers stand, by what they know of themselves: asking costs nothing. */
@Injectable()
export class AiHealthIndicator {
  constructor(
    private readonly indicators: HealthIndicatorService,
    @Inject(AI_PROVIDERS) private readonly providers: readonly AiProvider[],
  ) {}

  /**
   * `down` only where this instance itself cannot analyse. A vendor that fails is no reason to take it out of service: what
   * is stored is served, and only requests find out when the vendor is well again.
   */
  check(): HealthIndicatorResult {
    const session = this.indicators.check('providers');
    const states = this.providers.map((provider) => ({ provider, health: provider.health() }));
    const facts = Object.fromEntries(
      states.map(({ provider, health }) => [
        provider.name,
        { state: health.state, model: provider.model, ...health.details },
      ]),
    );
    const isUnfit = states.every(
      ({ provider, health }) => provider.name === 'local' && health.state === 'down',
    );
    if (isUnfit) return session.down(facts);
    if (states.some(({ health }) => health.state !== 'up')) return session.degraded(facts);
    return session.up(facts);
  }
}

import { Inject, Injectable } from '@nestjs/common';
import type { HealthIndicatorResult } from '@nestjs/terminus';
import { HealthIndicatorService } from '@nestjs/terminus';
import { REDIS_CONNECTION } from './cache.tokens.js';
import type { RedisLink } from './redis/link.js';
import { CacheStorage } from './storage/cache-storage.js';
import type { CacheStorage as Storage } from './storage/cache-storage.js';

/** How the cache stands. Redis away is `degraded`, never `down`: the local storage serves. */
@Injectable()
export class CacheHealthIndicator {
  constructor(
    private readonly indicators: HealthIndicatorService,
    @Inject(CacheStorage) private readonly storage: Storage,
    @Inject(REDIS_CONNECTION) private readonly connection: RedisLink | undefined,
  ) {}

  async redis(): Promise<HealthIndicatorResult> {
    const session = this.indicators.check('redis');
    const { connection } = this;
    if (connection === undefined) return session.up({ enabled: false });
    const facts = { enabled: true, address: connection.address };
    try {
      const inspection = await connection.inspect();
      return session.up({ ...facts, state: connection.state, ...inspection });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return session.degraded({ ...facts, state: connection.state, reason, serving: this.localKind() });
    }
  }

  cacheStorage(): HealthIndicatorResult {
    return this.indicators.check('storage').up({ ...this.storage.stats() });
  }

  private localKind(): string {
    const stats = this.storage.stats();
    return stats.parts?.[0]?.kind ?? stats.kind;
  }
}

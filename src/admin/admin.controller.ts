import { Controller, Delete, Get, HttpCode, UseGuards } from '@nestjs/common';
import { AdminGuard } from '../auth/auth.guards.js';
import type { CacheStats } from '../cache/cache.js';
import { Cache } from '../cache/cache.js';

/** The HTTP face of the cache, for operators. */
@Controller('v1/cache')
@UseGuards(AdminGuard)
export class AdminController {
  constructor(private readonly cache: Cache) {}

  @Get('stats')
  stats(): CacheStats {
    return this.cache.stats();
  }

  /** Removes every entry of Athena's namespace; foreign keys in the same Redis are left alone. */
  @Delete()
  @HttpCode(204)
  clear(): Promise<void> {
    return this.cache.clear();
  }
}

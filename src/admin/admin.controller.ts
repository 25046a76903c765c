import { Body, Controller, Delete, Get, HttpCode, Post, UseGuards } from '@nestjs/common';
import { z } from 'zod';
import { AdminGuard } from '../auth/auth.guards.js';
import type { CacheStats } from '../cache/cache.js';
import { Cache } from '../cache/cache.js';
import { MAX_TAG_LENGTH, MAX_TAGS } from '../cache/cache.options.js';
import type { WriteOutcome } from '../cache/storage/cache-storage.js';
import { validate } from '../request/validate.js';

const tag = z
  .string('must be a string')
  .min(1, 'must not be empty')
  .max(MAX_TAG_LENGTH, `must have at most ${MAX_TAG_LENGTH} characters`);
const invalidation = z.strictObject({
  tags: z
    .array(tag, 'must be a list of strings')
    .min(1, 'must not be empty')
    .max(MAX_TAGS, `must have at most ${MAX_TAGS} elements`),
});

/** Where it landed: `outbox` until Redis is back, `local` where there is none. */
interface Accepted {
  readonly landed: WriteOutcome;
}

/** The HTTP face of the cache, for operators. */
@Controller('v1/cache')
@UseGuards(AdminGuard)
export class AdminController {
  constructor(private readonly cache: Cache) {}

  @Get('stats')
  stats(): CacheStats {
    return this.cache.stats();
  }

  /** Makes every entry with one of the tags a miss, on all instances. */
  @Post('invalidate')
  @HttpCode(200)
  async invalidate(@Body() body: unknown): Promise<Accepted & { readonly tags: readonly string[] }> {
    const { tags } = validate(invalidation, body);
    return { tags, landed: await this.cache.invalidateTags(tags) };
  }

  /** Removes every entry of Athena's namespace; foreign keys in the same Redis are left alone. */
  @Delete()
  @HttpCode(204)
  async clear(): Promise<void> {
    await this.cache.clear();
  }
}

import { VENDOR_NAMES } from '../../src/ai/analysis.js';
import { Athena } from '../support/athena.js';
import { RedisServer } from '../support/redis-server.js';
import type { Vendors } from '../support/all-vendors.js';
import { startVendors, variablesOf } from '../support/all-vendors.js';

/** How the instances are configured: short times, so that a run with many faults ends. */
const VARIABLES: Readonly<Record<string, string>> = {
  REDIS_ENABLED: 'true',
  // On a busy machine an instance that stands still takes Redis for away, and computes what others have.
  REDIS_COMMAND_TIMEOUT_MS: '5000',
  AI_TIMEOUT_MS: '1500',
  AI_DEADLINE_MS: '6000',
  AI_CONCURRENCY: '64',
  AI_QUEUE: '1000',
  AI_MAX_RETRIES: '1',
  AI_BREAKER_RESET_MS: '1000',
  AI_STAND_IN_TTL_MS: '500',
  LOCAL_QUEUE: '1000',
  ...Object.fromEntries(VENDOR_NAMES.map((name) => [`${name.toUpperCase()}_PRICE`, '3/15'])),
};

export interface VendorFleet {
  readonly instances: readonly Athena[];
  readonly vendors: Vendors;
}

/** Runs `work` with three instances, their Redis and all vendors. */
export async function withFleet<T>(work: (fleet: VendorFleet) => Promise<T>): Promise<T> {
  const redis = await RedisServer.start(['--save', '', '--appendonly', 'no']);
  const vendors = await startVendors();
  const variables = { ...VARIABLES, ...variablesOf(vendors), REDIS_URL: redis.url };
  const instances: Athena[] = [];
  try {
    for (let index = 0; index < 3; index += 1) instances.push(await Athena.start(variables));
    return await work({ instances, vendors });
  } finally {
    await Promise.all(instances.map((instance) => instance.remove()));
    await Promise.all(Object.values(vendors).map((vendor) => vendor.close()));
    await redis.close();
  }
}

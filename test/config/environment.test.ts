import { readFileSync } from 'node:fs';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import type { Environment } from '../../src/config/environment.js';
import { parseEnvironment, SECRET_NAMES, VARIABLE_NAMES } from '../../src/config/environment.js';

function parsed(raw: Record<string, string>): Environment {
  const result = parseEnvironment(raw);
  if ('faults' in result) throw new Error(result.faults.join('\n'));
  return result.environment;
}

function faultsOf(raw: Record<string, string>): readonly string[] {
  const result = parseEnvironment(raw);
  return 'faults' in result ? result.faults : [];
}

const SENTINEL = { REDIS_MODE: 'sentinel', REDIS_NODES: 'a:1', REDIS_SENTINEL_NAME: 'main' };
/** What must be said beside a variable that is for some of the modes only. */
const around = (name: string): Record<string, string> =>
  name === 'REDIS_NODES' || name.startsWith('REDIS_SENTINEL') ? SENTINEL : {};

/** Name, value and whether the line is commented out, of every assignment in `.env.example`. */
function exampleLines(): { name: string; value: string; active: boolean }[] {
  const text = readFileSync(new URL('../../.env.example', import.meta.url), 'utf8');
  return [...text.matchAll(/^(# )?([A-Z][A-Z0-9_]*)=(.*)$/gm)].map(([, comment, name = '', value = '']) => ({
    name,
    value,
    active: comment === undefined,
  }));
}

describe('the environment', () => {
  it('has a default for everything', () => {
    expect(parsed({})).toMatchObject({
      HOST: '127.0.0.1',
      PORT: 3000,
      REDIS_ENABLED: false,
      CACHE_LOCAL: 'memory',
      REDIS_COMMAND_TIMEOUT_MS: 250,
      AI_PROVIDERS: ['claude', 'openai', 'deepseek', 'compatible', 'local'],
    });
  });

  it('reports all faults at once, each with variable, rule and value', () => {
    const faults = faultsOf({
      PORT: '70000',
      REDIS_ENABLED: 'yes',
      CACHE_TTL_MS: '-1',
      AI_PROVIDERS: 'local,skynet',
      HOST: '0.0.0.0',
    });
    expect(faults).toEqual([
      'PORT must be a whole number from 0 to 65535; got "70000"',
      'REDIS_ENABLED must be true or false; got "yes"',
      'CACHE_TTL_MS must be a whole number from 1 to 31536000000; got "-1"',
      expect.stringMatching(/^AI_PROVIDERS must be comma-separated.*; got "local,skynet"$/),
      expect.stringMatching(/^HOST must be a loopback address.*; got "0.0.0.0"$/),
    ]);
  });

  it.each(['NaN', '1e3', ' 5', '0x10', '1.5', '٣', '9'.repeat(30)])('refuses %j as a number', (value) => {
    expect(faultsOf({ CACHE_TTL_MS: value })).toHaveLength(1);
  });

  it('never shows a secret', () => {
    const secrets = {
      ATHENA_API_KEYS: 'short-secret',
      ATHENA_ADMIN_KEYS: 'te nant:another-secret-key',
      REDIS_URL: 'http://user:hidden-secret@host',
      CACHE_ENCRYPTION_KEYS: 'k1:c2VjcmV0',
      CLAUDE_API_KEY: 'two secret-words',
    };
    const text = faultsOf(secrets).join('\n');
    expect(faultsOf(secrets)).toHaveLength(5);
    for (const secret of [
      'short-secret',
      'another-secret-key',
      'hidden-secret',
      'c2VjcmV0',
      'secret-words',
    ]) {
      expect(text).not.toContain(secret);
    }
  });

  it('takes what is empty as not set', () => {
    expect(parsed({ PORT: '', ATHENA_API_KEYS: '', REDIS_PASSWORD: '' }).PORT).toBe(3000);
  });

  it('reads keys of tenants', () => {
    const { ATHENA_API_KEYS } = parsed({ ATHENA_API_KEYS: 'acme:0123456789abcdef, 0123456789abcdefg' });
    expect(ATHENA_API_KEYS).toEqual([
      { tenant: 'acme', key: '0123456789abcdef' },
      { tenant: 'default', key: '0123456789abcdefg' },
    ]);
  });

  it.each(SECRET_NAMES)('reads %s from a file', (name) => {
    const file = join(mkdtempSync(join(tmpdir(), 'athena-secret-')), 'secret');
    const value = {
      ATHENA_API_KEYS: 'acme:0123456789abcdef',
      ATHENA_ADMIN_KEYS: '0123456789abcdef',
      REDIS_URL: 'redis://:secret@host:1234/2',
      REDIS_PASSWORD: 'secret',
      REDIS_SENTINEL_PASSWORD: 'secret',
      CACHE_ENCRYPTION_KEYS: `k1:${Buffer.alloc(32, 7).toString('base64')}`,
      CLAUDE_API_KEY: 'sk-secret',
      OPENAI_API_KEY: 'sk-secret',
      DEEPSEEK_API_KEY: 'sk-secret',
      COMPATIBLE_API_KEY: 'sk-secret',
    }[name];
    writeFileSync(file, `${value}\n`);
    const rest = around(name);
    expect(parsed({ ...rest, [`${name}_FILE`]: file })[name]).toEqual(
      parsed({ ...rest, [name]: value })[name],
    );
    expect(faultsOf({ ...rest, [`${name}_FILE`]: file, [name]: value })).toHaveLength(1);
    expect(faultsOf({ ...rest, [`${name}_FILE`]: `${file}.missing` })).toEqual([
      expect.stringContaining('ENOENT'),
    ]);
  });

  it('needs keys, or a word, for a host that others can reach', () => {
    expect(faultsOf({ HOST: '0.0.0.0' })).toHaveLength(1);
    expect(faultsOf({ HOST: '::' })).toHaveLength(1);
    expect(faultsOf({ HOST: '0.0.0.0', AUTH_DISABLED: 'true' })).toEqual([]);
    expect(faultsOf({ HOST: '0.0.0.0', ATHENA_API_KEYS: '0123456789abcdef' })).toEqual([]);
    for (const HOST of ['localhost', '127.0.0.1', '127.1.2.3', '::1']) expect(faultsOf({ HOST })).toEqual([]);
  });

  it('refuses contradictions', () => {
    expect(faultsOf({ AUTH_DISABLED: 'true', ATHENA_API_KEYS: '0123456789abcdef' })).toHaveLength(1);
    expect(faultsOf({ REDIS_URL: 'redis://host', REDIS_PORT: '1', REDIS_HOST: 'host' })).toHaveLength(2);
  });

  it('reads the nodes of a sentinel group or a cluster', () => {
    expect(parsed({ ...SENTINEL, REDIS_NODES: 'a.b:26379, [::1]:7000,10.0.0.1:1' }).REDIS_NODES).toEqual([
      { host: 'a.b', port: 26379 },
      { host: '::1', port: 7000 },
      { host: '10.0.0.1', port: 1 },
    ]);
  });

  it.each(['a', 'a:', ':1', 'a:0', 'a:65536', '::1:7000', 'a:1,a:1', ',', 'redis://a:1'])(
    'refuses %j as nodes',
    (REDIS_NODES) => expect(faultsOf({ ...SENTINEL, REDIS_NODES })).toHaveLength(1),
  );

  it.each([
    [{ REDIS_MODE: 'sentinel' }, ['REDIS_NODES must be set', 'REDIS_SENTINEL_NAME must be set']],
    [{ ...SENTINEL, REDIS_PORT: '1' }, ['REDIS_PORT must not be set while REDIS_MODE is sentinel']],
    [{ REDIS_MODE: 'cluster' }, ['REDIS_NODES must be set']],
    [{ REDIS_MODE: 'cluster', REDIS_NODES: 'a:1', REDIS_DB: '1' }, ['REDIS_DB must be 0']],
    [
      { REDIS_MODE: 'cluster', REDIS_NODES: 'a:1', REDIS_SENTINEL_NAME: 'x' },
      ['REDIS_SENTINEL_NAME must not'],
    ],
    [{ REDIS_MODE: 'cluster', REDIS_NODES: 'a:1', REDIS_URL: 'redis://a' }, ['REDIS_URL must not']],
    [{ REDIS_NODES: 'a:1' }, ['REDIS_NODES must not be set while REDIS_MODE is standalone']],
    [{ REDIS_MODE: 'cluster', REDIS_NODES: 'a:1', REDIS_DB: '0' }, []],
    [{ ...SENTINEL, REDIS_DB: '3' }, []],
  ])('holds %j to its mode', (variables: Record<string, string>, expected: string[]) => {
    const faults = faultsOf(variables);
    expect(faults).toHaveLength(expected.length);
    for (const [index, text] of expected.entries()) expect(faults[index]).toContain(text);
  });

  it('tells variables that look like its own and are none', () => {
    const result = parseEnvironment({ REDIS_PASWORD: 'x', CACHE_DIR: '/tmp', HOME: '/root' });
    expect(result).toMatchObject({ unknown: ['REDIS_PASWORD'] });
  });
});

describe('.env.example', () => {
  it('has every variable once, and no other', () => {
    expect(
      exampleLines()
        .map(({ name }) => name)
        .sort(),
    ).toEqual([...VARIABLE_NAMES].sort());
  });

  it('shows the defaults, and comments out what has none', () => {
    const defaults = parsed({});
    for (const { name, value, active } of exampleLines()) {
      const key = name as keyof Environment;
      const hasDefault = defaults[key] !== undefined && JSON.stringify(defaults[key]) !== '[]';
      expect([name, active]).toEqual([name, hasDefault]);
      if (active) expect([name, parsed({ [name]: value })[key]]).toEqual([name, defaults[key]]);
    }
  });

  it('gives examples that are valid', () => {
    for (const { name, value } of exampleLines()) {
      expect(faultsOf({ ...around(name), [name]: value })).toEqual([]);
    }
  });
});

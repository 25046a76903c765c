import { createHash, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Analysis } from '../../src/ai/analysis-cache-manager.js';
import { Athena } from '../support/athena.js';

const sample = (path: string): string => readFileSync(new URL(`../corpus/${path}`, import.meta.url), 'utf8');
const sha256 = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const OBFUSCATED = sample('obfuscated/01-jo-default.js');
const VULNERABLE = sample('vulnerabilities/v01-eval-query.js');

/** Content that nobody has sent yet. */
const fresh = (): string => `console.log(${JSON.stringify(randomUUID())});`;

describe('/v1/analyses', () => {
  let athena: Athena;
  beforeAll(async () => {
    athena = await Athena.start();
  });
  afterAll(() => athena.remove());

  it('deobfuscates: the strings can be read again', async () => {
    const response = await athena.post({ type: 'deobfuscate', content: OBFUSCATED, filename: 'cart.js' });
    expect(response.status).toBe(200);
    const analysis = (await response.json()) as Analysis<'deobfuscate'>;
    expect(analysis).toMatchObject({ fileHash: sha256(OBFUSCATED), type: 'deobfuscate', provider: 'local' });
    expect(analysis.result.deobfuscatedCode).toContain('Price must not be negative');
    expect(OBFUSCATED).not.toContain('Price must not be negative');
    expect(analysis.result.analysisReport).toMatch(/string array/i);
    expect(analysis.result.coverage).toMatchObject({ language: 'javascript', parsed: true });
    expect(response.headers.get('content-location')).toBe(`/v1/analyses/${analysis.fileHash}`);
    expect(response.headers.get('server-timing')).toMatch(/^total;dur=\d/);
  });

  it('finds vulnerabilities, with severity, CWE and line', async () => {
    const response = await athena.post({ type: 'vulnerabilities', content: VULNERABLE });
    const { result } = (await response.json()) as Analysis<'vulnerabilities'>;
    expect(result.vulnerabilities).toContainEqual(
      expect.objectContaining({ severity: 'critical', cweId: 'CWE-95', line: 4 }),
    );
  });

  it('answers the second time from the cache, with the same body and an age', async () => {
    const body = { type: 'deobfuscate', content: fresh() };
    const first = await athena.post(body);
    expect(first.headers.get('cache-status')).toBe('athena; fwd=miss; stored');
    expect(first.headers.get('age')).toBeNull();
    const second = await athena.post(body);
    expect(second.headers.get('cache-status')).toMatch(/^athena; hit; ttl=\d+; detail=memory$/);
    expect(second.headers.get('age')).toMatch(/^\d+$/);
    expect(await second.text()).toBe(await first.text());
    expect(second.headers.get('cache-control')).toBe('private, max-age=3600');
    expect(second.headers.get('vary')).toContain('Authorization');
  });

  it('takes one file in three shapes as the same file', async () => {
    const content = fresh();
    await athena.post({ type: 'deobfuscate', content, filename: 'a.js' });
    const base64 = Buffer.from(content).toString('base64');
    const encoded = await athena.post({
      filename: 'b.js',
      encoding: 'base64',
      content: base64,
      type: 'deobfuscate',
    });
    const form = new FormData();
    form.set('file', new Blob([content]), 'c.js');
    form.set('type', 'deobfuscate');
    const uploaded = await athena.fetch('/v1/analyses', { method: 'POST', body: form });
    for (const response of [encoded, uploaded]) {
      expect(response.headers.get('cache-status')).toMatch(/^athena; hit/);
    }
  });

  it('runs one computation for identical requests that arrive together', async () => {
    const body = { type: 'deobfuscate', content: fresh() };
    const responses = await Promise.all(Array.from({ length: 20 }, () => athena.post(body)));
    const statuses = responses.map((response) => response.headers.get('cache-status') ?? '');
    expect(statuses.filter((status) => status === 'athena; fwd=miss; stored')).toHaveLength(1);
    expect(statuses.filter((status) => status === 'athena; fwd=miss; collapsed').length).toBeGreaterThan(0);
    const bodies = new Set(await Promise.all(responses.map((response) => response.text())));
    expect(bodies.size).toBe(1);
  });

  describe('honours Cache-Control:', () => {
    const ask = (content: string, cacheControl: string): Promise<Response> =>
      athena.post({ type: 'deobfuscate', content }, { 'cache-control': cacheControl });

    it('only-if-cached', async () => {
      const content = fresh();
      const miss = await ask(content, 'only-if-cached');
      expect(miss.status).toBe(504);
      expect(await miss.json()).toMatchObject({ code: 'not_cached' });
      await ask(content, '');
      expect((await ask(content, 'only-if-cached')).status).toBe(200);
    });

    it('no-store: leaves no trace', async () => {
      const content = fresh();
      const bypassed = await ask(content, 'no-store');
      expect(bypassed.headers.get('cache-status')).toBe('athena; fwd=bypass');
      expect(bypassed.headers.get('cache-control')).toBe('private, no-store');
      expect((await ask(content, 'only-if-cached')).status).toBe(504);
    });

    it('no-cache: computes anew, and stores what it computed', async () => {
      const content = fresh();
      const first = (await (await ask(content, '')).json()) as Analysis;
      const response = await ask(content, 'no-cache');
      expect(response.headers.get('cache-status')).toBe('athena; fwd=request; stored');
      const second = (await response.json()) as Analysis;
      expect(second.createdAt >= first.createdAt).toBe(true);
      const third = (await (await ask(content, '')).json()) as Analysis;
      expect(third).toEqual(second);
    });

    it('max-age: takes what is young enough', async () => {
      const content = fresh();
      await ask(content, '');
      expect((await ask(content, 'max-age=60')).headers.get('cache-status')).toMatch(/hit/);
      // The clock has moved since by a millisecond at least, for an answer has come and gone.
      expect((await ask(content, 'max-age=0')).headers.get('cache-status')).toBe('athena; fwd=miss; stored');
    });
  });

  it('finds, revalidates and forgets a file by its hash', async () => {
    const content = fresh();
    const path = `/v1/analyses/${sha256(content)}`;
    expect((await athena.fetch(path)).status).toBe(404);
    await athena.post({ type: 'deobfuscate', content, filename: 'x.js' });
    await athena.post({ type: 'vulnerabilities', content, provider: 'local' });

    const found = await athena.fetch(path);
    expect(found.status).toBe(200);
    const { analyses } = (await found.json()) as { analyses: Analysis[] };
    expect(analyses.map(({ type }) => type).sort()).toEqual(['deobfuscate', 'vulnerabilities']);
    const etag = found.headers.get('etag') ?? '';
    expect(etag).toMatch(/^"[0-9a-f]{32}"$/);
    expect(found.headers.get('cache-status')).toMatch(/^athena; hit; ttl=\d+; detail=memory$/);

    const unchanged = await athena.fetch(path, { headers: { 'if-none-match': `"other", W/${etag}` } });
    expect([unchanged.status, await unchanged.text()]).toEqual([304, '']);
    const head = await athena.fetch(path, { method: 'HEAD' });
    expect([head.status, head.headers.get('etag'), await head.text()]).toEqual([200, etag, '']);

    const removed = await athena.fetch(path, { method: 'DELETE' });
    expect(await removed.json()).toEqual({ fileHash: sha256(content), deleted: 2 });
    expect((await athena.fetch(path)).status).toBe(404);
    expect((await athena.fetch(path, { method: 'DELETE' })).status).toBe(404);
    const again = await athena.post({ type: 'deobfuscate', content, filename: 'x.js' });
    expect(again.headers.get('cache-status')).toBe('athena; fwd=miss; stored');
  });

  it('says so where the content is not JavaScript', async () => {
    const response = await athena.post({
      type: 'vulnerabilities',
      filename: 'x.py',
      content: 'import os\nprint("hello")\n',
    });
    const { result } = (await response.json()) as Analysis<'vulnerabilities'>;
    expect(result.coverage).toMatchObject({ language: 'python', level: 'pattern-only' });
    expect(result.analysisReport).toMatch(/does not mean that nothing is there/);
  });
});

describe('/v1/cache', () => {
  let athena: Athena;
  beforeAll(async () => {
    athena = await Athena.start();
  });
  afterAll(() => athena.remove());

  it('counts, and is emptied', async () => {
    const body = { type: 'deobfuscate', content: fresh() };
    await athena.post(body);
    await athena.post(body);
    const stats = await (await athena.fetch('/v1/cache/stats')).json();
    expect(stats).toMatchObject({
      hits: 1,
      misses: 1,
      computed: 1,
      hitRatio: 0.5,
      storage: { kind: 'memory', entries: 1, maxBytes: 104_857_600 },
    });
    expect((await athena.fetch('/v1/cache', { method: 'DELETE' })).status).toBe(204);
    expect((await athena.post(body)).headers.get('cache-status')).toBe('athena; fwd=miss; stored');
  });
});

describe('keys', () => {
  const tenant = {
    acme: 'acme-key-0123456789',
    globex: 'globex-key-0123456789',
    ops: 'admin-key-0123456789',
  };
  const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
  let athena: Athena;
  beforeAll(async () => {
    athena = await Athena.start({
      ATHENA_API_KEYS: `acme:${tenant.acme},globex:${tenant.globex}`,
      ATHENA_ADMIN_KEYS: tenant.ops,
    });
  });
  afterAll(() => athena.remove());

  it('are asked for', async () => {
    const response = await athena.post({ type: 'deobfuscate', content: 'x' });
    expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, 'Bearer']);
    expect(await response.json()).toMatchObject({ code: 'unauthorized' });
    const wrong = await athena.post({ type: 'deobfuscate', content: 'x' }, bearer('acme-key-012345678X'));
    expect(wrong.status).toBe(401);
    expect((await athena.fetch('/health/live')).status).toBe(200);
  });

  it('keep tenants apart', async () => {
    const content = fresh();
    await athena.post({ type: 'deobfuscate', content }, bearer(tenant.acme));
    const path = `/v1/analyses/${sha256(content)}`;
    expect((await athena.fetch(path, { headers: bearer(tenant.acme) })).status).toBe(200);
    expect((await athena.fetch(path, { headers: bearer(tenant.globex) })).status).toBe(404);
    expect((await athena.fetch(path, { headers: bearer(tenant.globex), method: 'DELETE' })).status).toBe(404);
    const other = await athena.post({ type: 'deobfuscate', content }, bearer(tenant.globex));
    expect(other.headers.get('cache-status')).toBe('athena; fwd=miss; stored');
  });

  it('tell administrators from others', async () => {
    const status = async (headers: Record<string, string>) =>
      (await athena.fetch('/v1/cache/stats', { headers })).status;
    expect([await status({}), await status(bearer(tenant.acme)), await status(bearer(tenant.ops))]).toEqual([
      401, 403, 200,
    ]);
  });

  it('never reach the log', async () => {
    await athena.post({ type: 'deobfuscate', content: 'x' }, bearer(tenant.acme));
    await athena.stop();
    const log = JSON.stringify(athena.logs);
    for (const key of Object.values(tenant)) expect(log).not.toContain(key);
  });
});

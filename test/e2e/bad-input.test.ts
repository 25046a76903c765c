import { Agent, request as httpRequest } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Athena } from '../support/athena.js';

const MIB = 1024 * 1024;

describe('bad input', () => {
  let athena: Athena;
  beforeAll(async () => {
    athena = await Athena.start({ LOCAL_TIMEOUT_MS: '4000' });
  });
  afterAll(() => athena.remove());

  async function problem(response: Promise<Response>): Promise<unknown[]> {
    const { status, headers, ...rest } = await response.then(async (answer) => ({
      status: answer.status,
      headers: answer.headers,
      body: (await answer.json()) as { code?: string; detail?: string },
    }));
    expect(headers.get('content-type')).toMatch(/^application\/problem\+json/);
    return [status, rest.body.code, rest.body.detail];
  }

  it.each([
    ['nothing', '', 'invalid_json', /./],
    ['no tags', {}, 'invalid_request', /tags: must be a list of strings/],
    ['an empty list', { tags: [] }, 'invalid_request', /tags: must not be empty/],
    ['a number', { tags: ['a', 1] }, 'invalid_request', /tags.1: must be a string/],
    ['an empty tag', { tags: [''] }, 'invalid_request', /tags.0: must not be empty/],
    ['a long tag', { tags: ['x'.repeat(1001)] }, 'invalid_request', /tags.0: .* 1000 characters/],
    ['too many tags', { tags: Array.from({ length: 101 }, String) }, 'invalid_request', /100 elements/],
    ['an unknown field', { tags: ['a'], tag: 'a' }, 'invalid_request', /tag: /],
  ])('refuses to invalidate with %s', async (_name, body, code, detail) => {
    const answer = athena.fetch('/v1/cache/invalidate', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    expect(await problem(answer)).toEqual([400, code, expect.stringMatching(detail)]);
  });

  it.each([
    ['broken JSON', '{"type": "deobfuscate", "content": ', 400, 'invalid_json', /JSON/i],
    ['no body', '', 400, 'invalid_json', /./],
    ['an array', '[]', 400, 'invalid_request', /body: must be an object/],
    ['null', 'null', 400, 'invalid_request', /body: must be an object/],
    ['no fields', {}, 400, 'invalid_request', /type: .*content: /],
    [
      'an unknown type',
      { type: 'decompile', content: 'x' },
      400,
      'invalid_request',
      /deobfuscate, vulnerabilities/,
    ],
    ['an unknown field', { type: 'deobfuscate', content: 'x', typ: 1 }, 400, 'invalid_request', /typ: /],
    [
      'a number as content',
      { type: 'deobfuscate', content: 1 },
      400,
      'invalid_request',
      /content: must be a string/,
    ],
    [
      'an unknown encoding',
      { type: 'deobfuscate', content: 'x', encoding: 'hex' },
      400,
      'invalid_request',
      /base64/,
    ],
    [
      'an unknown provider',
      { type: 'deobfuscate', content: 'x', provider: 'skynet' },
      400,
      'invalid_request',
      /local/,
    ],
    [
      'a provider without its key',
      { type: 'deobfuscate', content: 'x', provider: 'claude' },
      422,
      'provider_unavailable',
      /available: local/,
    ],
    [
      'bad base64',
      { type: 'deobfuscate', content: 'a$b', encoding: 'base64' },
      400,
      'invalid_base64',
      /base64/,
    ],
    [
      'truncated base64',
      { type: 'deobfuscate', content: 'abcde', encoding: 'base64' },
      400,
      'invalid_base64',
      /base64/,
    ],
    ['empty content', { type: 'deobfuscate', content: '' }, 400, 'content_empty', /empty/],
    ['lone surrogates', '{"type":"deobfuscate","content":"\\ud800"}', 400, 'invalid_request', /surrogates/],
    [
      'a file over the limit',
      { type: 'deobfuscate', content: 'x'.repeat(MIB + 1) },
      413,
      'content_too_large',
      /1048576/,
    ],
    [
      'a body over the limit',
      { type: 'deobfuscate', content: 'x'.repeat(7 * MIB) },
      413,
      'body_too_large',
      /./,
    ],
    [
      'a polluted prototype',
      '{"type":"deobfuscate","content":"x","__proto__":{"a":1}}',
      400,
      'invalid_json',
      /./,
    ],
    ['50 000 nested brackets as body', '['.repeat(50_000) + ']'.repeat(50_000), 400, 'invalid_request', /./],
  ])('%s is a problem document', async (_name, body, status, code, detail) => {
    expect(await problem(athena.post(body))).toEqual([status, code, expect.stringMatching(detail)]);
  });

  it('a body over the limit is answered while it is still being sent', async () => {
    const body = { type: 'deobfuscate', content: 'x'.repeat(30 * MIB) };
    const answers = await Promise.all(Array.from({ length: 8 }, () => athena.post(body)));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 413));
  });

  it.each(['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx'])(
    '%s is refused',
    async (type) => {
      expect((await problem(athena.post('x', { 'content-type': type }))).slice(0, 2)).toEqual([
        415,
        'unsupported_media_type',
      ]);
    },
  );

  it('JSON that is not UTF-8 is a problem document', async () => {
    const body = Buffer.from('{"type":"deobfuscate","content":"\xff"}', 'latin1');
    const headers = { 'content-type': 'application/json' };
    const response = athena.fetch('/v1/analyses', { method: 'POST', headers, body });
    expect((await problem(response)).slice(0, 2)).toEqual([400, 'invalid_json']);
  });

  it('no content type is refused', async () => {
    expect((await problem(athena.fetch('/v1/analyses', { method: 'POST' }))).slice(0, 2)).toEqual([
      415,
      'unsupported_media_type',
    ]);
  });

  it.each([
    ['no file', (form: FormData) => form.delete('file'), 400, 'invalid_request', /file: is missing/],
    [
      'two files',
      (form: FormData) => form.append('file', new Blob(['y']), 'b.js'),
      400,
      'invalid_multipart',
      /./,
    ],
    [
      'a file of another name',
      (form: FormData) => {
        form.delete('file');
        form.set('sample', new Blob(['y']), 'b.js');
      },
      400,
      'invalid_request',
      /sample/,
    ],
    ['no type', (form: FormData) => form.delete('type'), 400, 'invalid_request', /type: /],
    ['an unknown field', (form: FormData) => form.set('tenant', 'other'), 400, 'invalid_request', /tenant: /],
    [
      'an empty file',
      (form: FormData) => form.set('file', new Blob([]), 'a.js'),
      400,
      'content_empty',
      /empty/,
    ],
    [
      'a file over the limit',
      (form: FormData) => form.set('file', new Blob([new Uint8Array(MIB + 1)]), 'a.js'),
      413,
      'content_too_large',
      /./,
    ],
  ])('a form with %s is a problem document', async (_name, change, status, code, detail) => {
    const form = new FormData();
    form.set('type', 'deobfuscate');
    form.set('file', new Blob(['x']), 'a.js');
    change(form);
    const response = athena.fetch('/v1/analyses', { method: 'POST', body: form });
    expect(await problem(response)).toEqual([status, code, expect.stringMatching(detail)]);
  });

  it('a form that ends in the middle is a problem document', async () => {
    const headers = { 'content-type': 'multipart/form-data; boundary=x' };
    const body = '--x\r\nContent-Disposition: form-data; name="file"; filename="a.js"\r\n\r\nabc';
    const response = athena.fetch('/v1/analyses', { method: 'POST', headers, body });
    expect((await problem(response)).slice(0, 2)).toEqual([400, 'invalid_multipart']);
  });

  it.each([
    ['/v1/analyses/nonsense', 400, 'invalid_file_hash'],
    [`/v1/analyses/${'a'.repeat(64)}`, 404, 'analysis_not_found'],
    ['/nowhere', 404, 'not_found'],
  ])('GET %s is a problem document', async (path, status, code) => {
    expect((await problem(athena.fetch(path))).slice(0, 2)).toEqual([status, code]);
  });

  describe('hostile files', () => {
    const friendly = { type: 'deobfuscate', content: 'console.log("friendly")' };
    const nested = '['.repeat(50_000) + ']'.repeat(50_000);
    const decoder = (body: string): string =>
      `function d(a){${body}} console.log(d("a1"), d("b2"), d("c3")); eval(d("e4"));`;

    it.each([
      ['50 000 nested brackets', nested],
      ['a decoder that loops for ever', decoder('while(true){} return a')],
      ['a memory bomb', decoder('var x=[]; while(true) x.push(new Array(1e6).fill(a)); return a')],
      ['a regex bomb', decoder('return String(/^(a+)+$/.test("a".repeat(40)+"!"))')],
      ['a string bomb', 'eval("x".repeat(5e8).split(""))'],
      ['an eval bomb', 'eval("var s=\'x\'; while(1) s+=s; s")'],
      ['NUL bytes', 'console.log("a\0b")\0\0\0'],
      ['nothing but NUL bytes', '\0'.repeat(1000)],
      ['a reach for the process', 'eval([].constructor.constructor("return process.exit(1)")())'],
    ])('%s: an honest answer, and nobody else notices', async (_name, content) => {
      for (const type of ['deobfuscate', 'vulnerabilities']) {
        const hostile = athena.post({ type, content });
        const others = await Promise.all([
          athena.post(friendly),
          athena.fetch('/health/live'),
          athena.fetch('/health/ready'),
        ]);
        expect(others.map(({ status }) => status)).toEqual([200, 200, 200]);
        const response = await hostile;
        const answer = (await response.json()) as { code?: string; result?: { coverage?: unknown } };
        if (response.status === 200) expect(answer.result?.coverage).toBeDefined();
        else expect(['analysis_timeout', 'analysis_crashed']).toContain(answer.code);
      }
      expect(athena.running).toBe(true);
    });

    it('binary: says that it is none of ours', async () => {
      const content = Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7919) % 256)).toString(
        'base64',
      );
      const response = await athena.post({ type: 'vulnerabilities', content, encoding: 'base64' });
      expect(response.status).toBe(200);
      expect(await response.json()).toMatchObject({
        result: { vulnerabilities: [], coverage: { level: 'none' } },
      });
    });
  });

  it('a client that leaves in the middle does no harm', async () => {
    const leaver = new AbortController();
    const left = athena.fetch('/v1/analyses', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ type: 'deobfuscate', content: 'for(;;){eval("1")}'.repeat(1000) }),
      signal: leaver.signal,
    });
    setImmediate(() => leaver.abort());
    await expect(left).rejects.toThrow();
    expect((await athena.post({ type: 'deobfuscate', content: 'after()' })).status).toBe(200);
  });

  it.each([
    ['a form without a boundary', '/v1/analyses', 'multipart/form-data'],
    ['a form that is none', '/v1/analyses', 'multipart/form-data; boundary=x'],
    ['a type that nobody reads', '/v1/analyses', 'text/plain'],
    ['a batch that is no form', '/v1/analyses/batch', 'multipart/form-data'],
    ['a path that is none', '/v1/nothing', 'application/json'],
  ])('%s leaves its connection to the next request', async (_, path, contentType) => {
    const { port } = new URL(athena.url);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ask = (
      method: string,
      where: string,
      body: string,
      headers: Record<string, string>,
    ): Promise<number> =>
      new Promise((resolve, reject) => {
        const request = httpRequest(
          { agent, port, host: '127.0.0.1', path: where, method, headers },
          (response) => {
            response.resume().on('end', () => resolve(response.statusCode ?? 0));
          },
        );
        request.on('error', reject).end(body);
      });
    const refused = await ask('POST', path, 'x'.repeat(MIB), { 'content-type': contentType });
    expect([200, 400, 404, 415]).toContain(refused);
    expect(await ask('GET', '/health/live', '', {})).toBe(200);
    agent.destroy();
  });

  it('a body that is announced and never sent does not block the others', async () => {
    const { port } = new URL(athena.url);
    const hanging = httpRequest({
      port,
      host: '127.0.0.1',
      path: '/v1/analyses',
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-length': '1000' },
    });
    hanging.on('error', () => {});
    hanging.write('{');
    expect((await athena.post({ type: 'deobfuscate', content: 'meanwhile()' })).status).toBe(200);
    hanging.destroy();
  });

  it('a wrong configuration is told whole, and nothing starts', async () => {
    const { code, stderr } = await Athena.fails({
      PORT: 'x',
      REDIS_ENABLED: 'maybe',
      REDIS_PASSWORD: 'hidden',
    });
    expect(code).toBe(1);
    expect(stderr).toContain('PORT must be a whole number from 0 to 65535; got "x"');
    expect(stderr).toContain('REDIS_ENABLED must be true or false; got "maybe"');
    expect(stderr).not.toContain('hidden');
    expect(stderr).not.toContain('    at ');
  });
});

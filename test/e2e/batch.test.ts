import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { request as httpRequest } from 'node:http';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Athena } from '../support/athena.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const PATH = '/v1/analyses/batch';
const NDJSON = 'application/x-ndjson';

interface Line {
  readonly id?: string;
  readonly index?: number;
  readonly status?: number;
  readonly cacheStatus?: string;
  readonly analysis?: { readonly type: string; readonly result: { readonly deobfuscatedCode?: string } };
  readonly error?: { readonly code: string; readonly detail?: string; readonly status: number };
  readonly done?: boolean;
  readonly total?: number;
  readonly succeeded?: number;
  readonly failed?: number;
  readonly cached?: number;
}

/** Takes a child a second and more. */
const SLOW = readFileSync(new URL('../corpus/obfuscated/13-jo-rc4-cff-max.js', import.meta.url), 'utf8');

/** Content that nobody has sent yet. */
const fresh = (): string => `console.log(${JSON.stringify(randomUUID())});`;
const item = (content: string, fields: object = {}) => ({ type: 'deobfuscate', content, ...fields });
const ndjson = (items: readonly unknown[]): string =>
  items.map((value) => (typeof value === 'string' ? value : JSON.stringify(value))).join('\n');
const linesOf = (text: string): Line[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
const byIndex = (lines: readonly Line[]): Line[] =>
  lines.filter(({ index }) => index !== undefined).sort((a, b) => (a.index ?? 0) - (b.index ?? 0));
const outcome = ({ id, status, error }: Line): unknown[] => [id, status, error?.code];

describe('POST /v1/analyses/batch', () => {
  let athena: Athena;
  beforeAll(async () => {
    athena = await Athena.start();
  });
  afterAll(() => athena.remove());

  const post = (body: BodyInit, type: string, headers: Record<string, string> = {}): Promise<Response> =>
    athena.fetch(PATH, { method: 'POST', headers: { 'content-type': type, ...headers }, body });

  const batch = async (
    items: readonly unknown[],
    headers: Record<string, string> = {},
    type = NDJSON,
  ): Promise<Line[]> => {
    const body = type === 'application/json' ? JSON.stringify(items) : ndjson(items);
    const response = await post(body, type, headers);
    expect([response.status, response.headers.get('content-type')]).toEqual([200, NDJSON]);
    return linesOf(await response.text());
  };

  /** A request whose body and answer are in the test's hands. */
  const open = (headers: Record<string, string> = {}): ClientRequest => {
    const request = httpRequest(`${athena.url}${PATH}`, {
      method: 'POST',
      agent: false,
      headers: { 'content-type': NDJSON, ...headers },
    });
    request.on('error', () => {});
    return request;
  };
  const answerTo = async (request: ClientRequest): Promise<IncomingMessage> =>
    (await once(request, 'response'))[0] as IncomingMessage;

  it.each([NDJSON, 'application/jsonl', 'application/json'])(
    'analyses the items of a body of %s',
    async (type) => {
      const contents = [fresh(), fresh()];
      const items = [
        item(contents[0] ?? '', { id: 'first', filename: 'a.js' }),
        {
          type: 'vulnerabilities',
          content: Buffer.from(contents[1] ?? '').toString('base64'),
          encoding: 'base64',
        },
      ];
      const lines = await batch(items, {}, type);
      const [first, second] = byIndex(lines);
      expect(first).toMatchObject({
        id: 'first',
        index: 0,
        status: 200,
        cacheStatus: 'athena; fwd=miss; stored',
      });
      expect(first?.analysis?.result.deobfuscatedCode).toBe(contents[0]);
      expect(second).toMatchObject({ id: '1', index: 1, status: 200, analysis: { type: 'vulnerabilities' } });
      expect(lines.at(-1)).toEqual({ done: true, total: 2, succeeded: 2, failed: 0, cached: 0 });
      expect(lines).toHaveLength(3);
    },
  );

  it('takes an object with `items`, blank lines, CRLF, and nothing at all', async () => {
    const wrapped = await post(JSON.stringify({ items: [item(fresh())] }), 'application/json');
    expect(linesOf(await wrapped.text()).at(-1)).toMatchObject({ done: true, total: 1 });
    const blank = await post(`\n\r\n${JSON.stringify(item(fresh()))}\r\n \t\n`, NDJSON);
    expect(linesOf(await blank.text()).at(-1)).toMatchObject({ done: true, total: 1 });
    for (const [body, type] of [
      ['', NDJSON],
      ['[]', 'application/json'],
    ] as const) {
      const empty = linesOf(await (await post(body, type)).text());
      expect(empty).toEqual([{ done: true, total: 0, succeeded: 0, failed: 0, cached: 0 }]);
    }
  });

  it('takes files, each with the fields before it', async () => {
    const form = new FormData();
    form.append('type', 'deobfuscate');
    form.append('file', new Blob([fresh()]), 'a.js');
    form.append('file', new Blob(['']), 'b.js');
    form.append('file', new Blob([fresh()]), 'a.js');
    form.append('file', new Blob([fresh()]), `${'x'.repeat(200)}.js`);
    form.append('type', 'vulnerabilities');
    form.append('file', new Blob([fresh()]), 'c.js');
    const lines = linesOf(await (await athena.fetch(PATH, { method: 'POST', body: form })).text());
    const items = byIndex(lines);
    expect(items.map(outcome)).toEqual([
      ['a.js', 200, undefined],
      ['b.js', 400, 'content_empty'],
      ['a.js', 400, 'duplicate_id'],
      ['3', 200, undefined],
      ['c.js', 200, undefined],
    ]);
    expect([items[0], items[4]].map((line) => line?.analysis?.type)).toEqual([
      'deobfuscate',
      'vulnerabilities',
    ]);
    expect(lines.at(-1)).toEqual({ done: true, total: 5, succeeded: 3, failed: 2, cached: 0 });
  });

  it('says that a field comes too late for a file', async () => {
    const form = new FormData();
    form.append('file', new Blob([fresh()]), 'a.js');
    form.append('type', 'deobfuscate');
    const [line, end] = linesOf(await (await athena.fetch(PATH, { method: 'POST', body: form })).text());
    expect(line?.error).toMatchObject({
      code: 'invalid_request',
      detail: expect.stringMatching(/before the file/),
    });
    expect(end).toMatchObject({ done: true, failed: 1 });
  });

  it('tells of each item when it is done, not when its turn comes', async () => {
    const quick = item(fresh(), { id: 'quick' });
    await batch([quick]);
    const lines = await batch([item(`${SLOW}\n// ${randomUUID()}`, { id: 'slow' }), quick]);
    expect(lines.map(({ id }) => id)).toEqual(['quick', 'slow', undefined]);
    expect(lines.at(-1)).toMatchObject({ done: true, succeeded: 2, cached: 1 });
  });

  it('answers an item before the next is sent', async () => {
    const request = open();
    request.flushHeaders();
    const answer = createInterface({ input: await answerTo(request) })[Symbol.asyncIterator]();
    for (let index = 0; index < 3; index += 1) {
      request.write(`${JSON.stringify(item(fresh()))}\n`);
      expect(JSON.parse(String((await answer.next()).value))).toMatchObject({ index, status: 200 });
    }
    request.end();
    expect(JSON.parse(String((await answer.next()).value))).toMatchObject({ done: true, total: 3 });
  });

  it('lets no bad item fail the others', async () => {
    const lines = await batch([
      item(fresh()),
      { id: 'a', type: 'nope', content: 'x' },
      item('', { id: 'b' }),
      item('a$', { id: 'c', encoding: 'base64' }),
      item('x', { id: 'd', provider: 'claude' }),
      item('x'.repeat(MIB + 1), { id: 'e' }),
      item('x'.repeat(7 * MIB), { id: 'f' }),
      '[1, 2]',
      { ...item('x'), id: 7 },
      { ...item('x'), id: 'x'.repeat(129) },
      { ...item(fresh()), id: 'a' },
      item(fresh()),
    ]);
    expect(byIndex(lines).map(outcome)).toEqual([
      ['0', 200, undefined],
      ['a', 400, 'invalid_request'],
      ['b', 400, 'content_empty'],
      ['c', 400, 'invalid_base64'],
      ['d', 422, 'provider_unavailable'],
      ['e', 413, 'content_too_large'],
      ['6', 413, 'item_too_large'],
      ['7', 400, 'invalid_request'],
      ['8', 400, 'invalid_request'],
      ['9', 400, 'invalid_request'],
      ['a', 400, 'duplicate_id'],
      ['11', 200, undefined],
    ]);
    expect(lines.at(-1)).toEqual({ done: true, total: 12, succeeded: 2, failed: 10, cached: 0 });
  });

  it('gives an item the problem document that it would get alone', async () => {
    const broken = { type: 'nope', content: 1, more: true };
    const [line] = await batch([broken]);
    const alone = (await (await athena.post(broken)).json()) as object;
    expect(line?.error).toEqual({ ...alone, instance: PATH });
  });

  it('computes identical items once, and counts what was stored', async () => {
    const body = item(`${fresh()}${'x();'.repeat(1000)}`);
    const lines = await batch(Array.from({ length: 8 }, () => body));
    const statuses = byIndex(lines).map(({ cacheStatus }) => cacheStatus?.replace(/;? ?ttl.*/, ''));
    expect(statuses.filter((status) => status === 'athena; fwd=miss; stored')).toHaveLength(1);
    expect(lines.at(-1)).toMatchObject({ done: true, succeeded: 8 });
    const again = await batch([body, body, item(fresh())]);
    expect(again.at(-1)).toEqual({ done: true, total: 3, succeeded: 3, failed: 0, cached: 2 });
  });

  it('asks the cache for each item what `Cache-Control` says', async () => {
    const stored = item(fresh());
    await batch([stored]);
    const cached = await batch([stored, item(fresh())], { 'cache-control': 'only-if-cached' });
    expect(byIndex(cached).map(outcome)).toEqual([
      ['0', 200, undefined],
      ['1', 504, 'not_cached'],
    ]);
    const bypassed = await batch([stored], { 'cache-control': 'no-store' });
    expect(bypassed[0]?.cacheStatus).toBe('athena; fwd=bypass');
    expect(bypassed[1]).toMatchObject({ succeeded: 1, cached: 0 });
  });

  it.each([
    [
      'JSON that is broken in the middle',
      ndjson([item('a()'), '{"type":"deob', item('b()')]),
      /Line 2 is not valid/,
    ],
    [
      'a line that is not UTF-8',
      Buffer.concat([
        Buffer.from(`${ndjson([item('a()')])}\n`),
        Buffer.from('{"type":"deobfuscate","content":"\xff"}\n', 'latin1'),
        Buffer.from(ndjson([item('b()')])),
      ]),
      /Line 2 is not valid/,
    ],
    ['a name that reaches for a prototype', ndjson([item('a()'), '{"__proto__":{}}', item('b()')]), /Line 2/],
  ])('ends with an error after %s, and does not pass for whole', async (_name, body, detail) => {
    const response = await post(body, NDJSON);
    const lines = linesOf(await response.text());
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatchObject({ index: 0, status: 200 });
    expect(lines[1]).toMatchObject({
      done: false,
      total: 1,
      succeeded: 1,
      error: { code: 'invalid_json', detail: expect.stringMatching(detail) },
    });
  });

  it('ends with an error where a form is broken off', async () => {
    const head = (name: string) => `Content-Disposition: form-data; name="${name}"`;
    const file = (name: string) => `--x\r\n${head('file')}; filename="${name}"\r\n\r\n`;
    const body = `--x\r\n${head('type')}\r\n\r\ndeobfuscate\r\n${file('a.js')}a()\r\n${file('b.js')}b(`;
    const lines = linesOf(await (await post(body, 'multipart/form-data; boundary=x')).text());
    expect(lines.map(outcome)).toEqual([
      ['a.js', 200, undefined],
      [undefined, undefined, 'invalid_multipart'],
    ]);
    expect(lines[1]?.done).toBe(false);
  });

  it.each([
    ['another type', 'x', 'text/plain', 415, 'unsupported_media_type'],
    ['broken JSON', '[{', 'application/json', 400, 'invalid_json'],
    ['JSON that is no list', '{"item":[]}', 'application/json', 400, 'invalid_request'],
    ['a number', '7', 'application/json', 400, 'invalid_request'],
    [
      'too many items',
      JSON.stringify(Array.from({ length: 101 }, () => 1)),
      'application/json',
      413,
      'too_many_items',
    ],
    ['too much JSON', `["${'x'.repeat(17 * MIB)}"]`, 'application/json', 413, 'body_too_large'],
  ])('refuses %s before it begins', async (_name, body, type, status, code) => {
    const response = await post(body, type);
    expect([response.status, await response.json()]).toEqual([status, expect.objectContaining({ code })]);
  });

  it('takes more JSON than one analysis may have', async () => {
    const lines = await batch(
      Array.from({ length: 14 }, () => item('x'.repeat(MIB))),
      { 'cache-control': 'only-if-cached' },
      'application/json',
    );
    expect(lines.at(-1)).toMatchObject({ done: true, total: 14, failed: 14 });
  });

  it('takes NDJSON nowhere else', async () => {
    const response = await athena.post(ndjson([item('a()')]), { 'content-type': NDJSON });
    expect([response.status, await response.json()]).toEqual([
      415,
      expect.objectContaining({ code: 'unsupported_media_type' }),
    ]);
  });

  it('ends what runs when the client goes', async () => {
    const from = athena.logs.length;
    const quick = item(fresh());
    await batch([quick]);
    const request = open();
    request.end(ndjson([item(`${SLOW}\n// ${randomUUID()}`), quick]));
    const response = await answerTo(request);
    await once(response, 'data');
    response.destroy();
    const killed = await athena.log(({ event }) => event === 'local.child_killed', from);
    expect(killed).toMatchObject({ cause: 'abort' });
    expect((await batch([item(fresh())])).at(-1)).toMatchObject({ done: true, succeeded: 1 });
  });

  it('survives an upload that breaks off', async () => {
    const request = open();
    request.write(`${JSON.stringify(item(fresh()))}\n{"type":`);
    const response = await answerTo(request);
    await once(response, 'data');
    response.on('error', () => {});
    request.destroy();
    expect((await batch([item(fresh())])).at(-1)).toMatchObject({ done: true, succeeded: 1 });
    expect(athena.logs.filter(({ level }) => level >= 50)).toEqual([]);
  });

  describe('as server-sent events', () => {
    const eventsOf = async (body: string): Promise<[string, Line][]> => {
      const response = await post(body, NDJSON, { accept: 'text/event-stream' });
      expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
      return [...(await response.text()).matchAll(/^event: (.*)\ndata: (.*)\n\n/gm)].map(
        ([, event = '', data = '']) => [event, JSON.parse(data) as Line],
      );
    };

    it('tells of items, of progress, and of the end', async () => {
      const events = await eventsOf(ndjson([item(fresh(), { id: 'a' }), item('')]));
      const named = (name: string): Line[] =>
        events.filter(([event]) => event === name).map(([, data]) => data);
      expect(byIndex(named('item')).map(outcome)).toEqual([
        ['a', 200, undefined],
        ['1', 400, 'content_empty'],
      ]);
      expect(named('progress')[0]).toEqual({ finished: 1, failed: 1 });
      expect(events.at(-1)).toEqual(['done', { done: true, total: 2, succeeded: 1, failed: 1, cached: 0 }]);
    });

    it('tells of a body that is broken by another name', async () => {
      const events = await eventsOf(ndjson([item(fresh()), '{']));
      expect(events.at(-1)).toEqual(['error', expect.objectContaining({ done: false, succeeded: 1 })]);
      expect(events.filter(([event]) => event === 'done')).toEqual([]);
    });
  });
});

describe('a batch', () => {
  let athena: Athena;
  beforeAll(async () => {
    athena = await Athena.start({ BATCH_MAX_ITEMS: '5', MAX_FILE_BYTES: '1024' });
  });
  afterAll(() => athena.remove());

  const lines = async (body: BodyInit, type?: string): Promise<Line[]> => {
    const headers = type === undefined ? {} : { headers: { 'content-type': type } };
    const response = await athena.fetch(PATH, { method: 'POST', body, ...headers });
    expect(response.status).toBe(200);
    return linesOf(await response.text());
  };

  it('of too many lines ends with an error after those that it may have', async () => {
    const all = await lines(ndjson(Array.from({ length: 7 }, () => item(fresh()))), NDJSON);
    expect(byIndex(all).map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect(all.at(-1)).toMatchObject({
      done: false,
      total: 5,
      error: { code: 'too_many_items', maxItems: 5 },
    });
    const full = await lines(ndjson(Array.from({ length: 5 }, () => item(fresh()))), NDJSON);
    expect(full.at(-1)).toMatchObject({ done: true, total: 5 });
  });

  it('of too many files ends with an error after those that it may have', async () => {
    const form = new FormData();
    form.append('type', 'deobfuscate');
    for (let i = 0; i < 12; i += 1) form.append('file', new Blob([fresh()]), `${i}.js`);
    const all = await lines(form);
    expect(byIndex(all).map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect(all.at(-1)).toMatchObject({ done: false, total: 5, error: { code: 'too_many_items' } });
  });

  it('passes over a file that is too large', async () => {
    const form = new FormData();
    form.append('type', 'deobfuscate');
    form.append('file', new Blob(['x'.repeat(1025)]), 'a.js');
    form.append('file', new Blob(['x'.repeat(1024)]), 'b.js');
    const all = await lines(form);
    expect(byIndex(all).map(outcome)).toEqual([
      ['a.js', 413, 'content_too_large'],
      ['b.js', 200, undefined],
    ]);
    expect(all.at(-1)).toMatchObject({ done: true, total: 2 });
  });

  it.each([
    ['blank lines', '\n'.repeat(500_000), NDJSON],
    ['a line without an end', 'x'.repeat(500_000), NDJSON],
    [
      'a file without an end',
      `--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n${'x'.repeat(500_000)}`,
      'multipart/form-data; boundary=x',
    ],
  ])('is bounded where it is nothing but %s', async (_name, body, type) => {
    const all = await lines(body, type);
    expect(all).toEqual([expect.objectContaining({ done: false, total: 0 })]);
    expect(all[0]?.error?.code).toBe('body_too_large');
  });

  it('is answered while it is still being sent, and the connection goes on', async () => {
    const body = ndjson(Array.from({ length: 300 }, () => item('x'.repeat(20 * KIB))));
    for (let i = 0; i < 3; i += 1) {
      expect((await lines(body, NDJSON)).at(-1)?.error?.code).toBe('too_many_items');
    }
  });
});

describe('a large batch', () => {
  let athena: Athena;
  beforeAll(async () => {
    athena = await Athena.start({ BATCH_MAX_ITEMS: '1000' });
  });
  afterAll(() => athena.remove());

  /** The most memory that Athena has had, in bytes. */
  const peak = async (): Promise<number> => {
    const status = await readFile(`/proc/${athena.pid}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * KIB;
  };

  const hits = async (): Promise<number> =>
    ((await (await athena.fetch('/v1/cache/stats')).json()) as { hits: number }).hits;

  /** Nothing was served for a quarter of a second: that nothing happens has no event. */
  const standstill = async (): Promise<void> => {
    for (let [last, now] = [0, await hits()]; now !== last || now === 0; [last, now] = [now, await hits()]) {
      await setTimeout(250);
    }
  };

  it('of 1000 tiny items is done', async () => {
    const body = ndjson(Array.from({ length: 1000 }, (_, i) => item(`f(${i})`)));
    const response = await athena.fetch(PATH, { method: 'POST', headers: { 'content-type': NDJSON }, body });
    const all = linesOf(await response.text());
    expect(byIndex(all).map(({ index, status }) => [index, status])).toEqual(
      Array.from({ length: 1000 }, (_, i) => [i, 200]),
    );
    expect(all.at(-1)).toMatchObject({ done: true, total: 1000, succeeded: 1000 });
  }, 120_000);

  it('that nobody reads is not read either, and is whole once somebody does', async () => {
    const line = `${JSON.stringify(item(`// ${randomUUID()}${'x'.repeat(500 * KIB)}`))}\n`;
    const headers = { 'content-type': NDJSON };
    await (await athena.fetch(PATH, { method: 'POST', headers, body: line })).text();
    const [before, hitsBefore] = [await peak(), await hits()];
    const request = httpRequest(`${athena.url}${PATH}`, { method: 'POST', headers });
    const sent = pipeline(Readable.from(Array.from({ length: 1000 }, () => line)), request);
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    await standstill();
    expect((await hits()) - hitsBefore).toBeLessThan(500);
    expect(request.writableFinished).toBe(false);
    let bytes = 0;
    let last = '';
    for await (const chunk of response) {
      bytes += (chunk as Buffer).length;
      last = (last + String(chunk)).slice(-200);
    }
    await sent;
    expect(last).toMatch(/{"done":true,"total":1000,"succeeded":1000,"failed":0,"cached":1000}\n$/);
    expect(bytes).toBeGreaterThan(480 * MIB);
    expect((await peak()) - before).toBeLessThan(360 * MIB);
  });
});

it('a batch that a shutdown interrupts says so, and does not hold it up', async () => {
  const athena = await Athena.start();
  const body = JSON.stringify(Array.from({ length: 50 }, () => item(`${SLOW}\n// ${randomUUID()}`)));
  const response = await athena.fetch(PATH, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  });
  const exit = athena.stop();
  const end = linesOf(await response.text()).at(-1);
  expect(end).toMatchObject({ done: false, error: { code: 'shutting_down' } });
  expect(await exit).toBe(0);
  await athena.remove();
});

it('a batch asks for a key, and is answered for its tenant', async () => {
  const [acme, globex] = ['acme-key-0123456789', 'globex-key-0123456789'];
  const athena = await Athena.start({ ATHENA_API_KEYS: `acme:${acme},globex:${globex}` });
  const body = ndjson([item(fresh())]);
  const post = (headers: Record<string, string>): Promise<Response> =>
    athena.fetch(PATH, { method: 'POST', headers: { 'content-type': NDJSON, ...headers }, body });
  expect((await post({})).status).toBe(401);
  for (const key of [acme, globex]) {
    const [line] = linesOf(await (await post({ authorization: `Bearer ${key}` })).text());
    expect(line?.cacheStatus).toBe('athena; fwd=miss; stored');
  }
  await athena.remove();
});

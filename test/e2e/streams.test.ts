import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Athena } from '../support/athena.js';
import { ownRedis } from '../support/own-redis.js';
import type { ServerEvent } from '../support/sse.js';
import { allEventsOf, eventsOf, textOf } from '../support/sse.js';
import { startWith } from '../support/all-vendors.js';
import { ownVendors } from '../support/own-vendors.js';
import type { Behaviour } from '../support/vendors/behaviour.js';

const fresh = (): { type: 'deobfuscate'; content: string } => ({
  type: 'deobfuscate',
  content: `run(${JSON.stringify(randomUUID())}); // ${'é😀"\\'.repeat(20)}`,
});

const stream = (athena: Athena, body: object, headers: Record<string, string> = {}, signal?: AbortSignal) =>
  athena.fetch('/v1/analyses', {
    method: 'POST',
    headers: { accept: 'text/event-stream', 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
    ...(signal === undefined ? {} : { signal }),
  });

const typesOf = (events: readonly ServerEvent[]): string[] =>
  events.map(({ event, data }) => (event === 'progress' ? `${event}:${data.stage}` : event));

/** One step of a vendor: it answers, and stops in the middle until it is told to go on. */
function gated(): { behaviour: Behaviour; open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return {
    behaviour: { kind: 'answer', chunks: 8, gate: { afterChunks: 3, opens: promise } },
    open: resolve,
  };
}

const vendors = ownVendors();

/** Reads until `isEnough`; the rest can be read on. */
async function readUntil(
  events: AsyncIterator<ServerEvent>,
  isEnough: (event: ServerEvent) => boolean,
): Promise<ServerEvent[]> {
  const read: ServerEvent[] = [];
  for (;;) {
    const { done, value } = await events.next();
    if (done === true) return read;
    read.push(value);
    if (isEnough(value)) return read;
  }
}

const rest = (events: AsyncIterator<ServerEvent>): Promise<ServerEvent[]> => readUntil(events, () => false);
const isChunk = ({ event }: ServerEvent): boolean => event === 'chunk';

describe('an event stream', () => {
  let athena: Athena;
  beforeAll(async () => {
    athena = await startWith(vendors, { AI_PROVIDERS: 'claude,local', AI_MAX_RETRIES: '0' });
  });
  afterAll(() => athena.remove());

  it('tells the text while the model still writes, then the result; a hit replays it', async () => {
    const gate = gated();
    vendors.claude.script = () => gate.behaviour;
    const body = fresh();
    const response = await stream(athena, body);
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
    const events = eventsOf(response);
    const before = await readUntil(events, isChunk);
    gate.open();
    const all = [...before, ...(await rest(events))];
    expect(typesOf(all).slice(0, 2)).toEqual(['progress:attempt', 'chunk']);
    expect(all[0]?.data).toMatchObject({ provider: 'claude', attempt: 1 });
    const result = all.at(-1);
    expect(result).toMatchObject({
      event: 'result',
      data: { provider: 'claude', cacheStatus: 'athena; fwd=miss; stored' },
    });
    expect(JSON.parse(textOf(all))).toEqual(result?.data.result);
    expect(result?.data.result.deobfuscatedCode).toBe(body.content);

    const replay = await stream(athena, body);
    expect(replay.headers.get('cache-status')).toMatch(/^athena; hit; ttl=\d+; detail=memory$/);
    expect(replay.headers.get('age')).toMatch(/^\d+$/);
    const replayed = await allEventsOf(replay);
    expect(typesOf(replayed)[0]).toBe('progress:replay');
    expect(textOf(replayed)).toBe(textOf(all));
    const { cacheStatus: _, ...stored } = result?.data ?? {};
    expect(replayed.at(-1)?.data).toMatchObject(stored);
    expect(await (await athena.post(body)).json()).toEqual(stored);
  });

  it('replays what the model wrote to the letter, also where that is not how JSON is written here', async () => {
    const body = fresh();
    const text = `\n{ "analysisReport" : "r\\u00e9",\n "deobfuscatedCode":"1"}  `;
    vendors.claude.script = () => ({ kind: 'answer', text });
    const first = await allEventsOf(await stream(athena, body));
    const second = await allEventsOf(await stream(athena, body));
    expect([textOf(first), textOf(second)]).toEqual([text, text]);
    expect(JSON.stringify(second.at(-1)?.data)).not.toContain('transcript');
    expect(await (await athena.post(body)).text()).not.toContain('transcript');
  });

  it('says when a provider breaks off, begins anew with the next, and keeps what stands in for a short time', async () => {
    const body = fresh();
    vendors.claude.script = () => ({ kind: 'truncate', afterChunks: 3 });
    const response = await stream(athena, body);
    const events = await allEventsOf(response);
    const types = typesOf(events);
    expect(types.filter((type) => type !== 'chunk')).toEqual([
      'progress:attempt',
      'progress:failed',
      'progress:attempt',
      'result',
    ]);
    const result = events.at(-1)?.data;
    expect(result).toMatchObject({
      provider: 'local',
      standIn: true,
      failedBefore: [{ provider: 'claude', code: 'provider_failed' }],
    });
    expect(JSON.parse(textOf(events))).toEqual(result.result);
    const hit = await athena.post(body);
    expect(hit.headers.get('cache-control')).toBe('private, max-age=60');
  });

  it('has a status where nothing was sent yet, and an error event where something was; neither is stored', async () => {
    const missing = await stream(athena, { ...fresh(), provider: 'openai' });
    expect([missing.status, (await missing.json()).code]).toEqual([422, 'provider_unavailable']);
    const empty = await stream(athena, fresh(), { 'cache-control': 'only-if-cached' });
    expect([empty.status, (await empty.json()).code]).toEqual([504, 'not_cached']);

    const body = { ...fresh(), provider: 'claude' };
    vendors.claude.script = () => ({ kind: 'cleanEnd', afterChunks: 4 });
    const events = await allEventsOf(await stream(athena, body));
    expect(typesOf(events).at(-1)).toBe('error');
    expect(typesOf(events)).not.toContain('result');
    expect(events.at(-1)?.data).toMatchObject({
      code: 'provider_failed',
      status: 502,
      instance: '/v1/analyses',
    });
    vendors.claude.script = () => ({ kind: 'answer' });
    expect((await athena.post(body)).headers.get('cache-status')).toBe('athena; fwd=miss; stored');
  });

  it('ends the call of the model when its last listener leaves', async () => {
    const body = fresh();
    vendors.claude.script = () => ({ kind: 'hang', afterChunks: 1 });
    const calls = vendors.claude.calls.length;
    const listeners = [new AbortController(), new AbortController()];
    const streams = await Promise.all(
      listeners.map(async ({ signal }) => eventsOf(await stream(athena, body, {}, signal))),
    );
    for (const events of streams) await readUntil(events, isChunk);
    expect(vendors.claude.calls.length).toBe(calls + 1);
    const call = vendors.claude.calls.at(-1);
    listeners[0]?.abort();
    await expect(rest(streams[0] as AsyncIterator<ServerEvent>)).rejects.toThrow();
    expect(call?.aborted).toBe(false);
    listeners[1]?.abort();
    await call?.closed;
    expect(call?.aborted).toBe(true);
  });

  it('is joined by who wants JSON, and the other way round', async () => {
    const gate = gated();
    vendors.claude.script = () => gate.behaviour;
    const calls = vendors.claude.calls.length;
    const body = fresh();
    const json = athena.post(body);
    await vendors.claude.awaitCalls(calls + 1);
    const events = eventsOf(await stream(athena, body));
    const before = await readUntil(events, isChunk);
    gate.open();
    const all = [...before, ...(await rest(events))];
    const { cacheStatus, ...streamed } = all.at(-1)?.data ?? {};
    expect(cacheStatus).toBe('athena; fwd=miss; collapsed');
    expect(await (await json).json()).toEqual(streamed);
    expect(vendors.claude.calls.length).toBe(calls + 1);
  });
});

it('an event stream has comments while nothing happens, and goes on to its end when its listener leaves, if it is told to', async () => {
  const gate = gated();
  vendors.openai.script = () => gate.behaviour;
  const athena = await startWith(
    { openai: vendors.openai },
    { STREAM_HEARTBEAT_MS: '100', AI_WHEN_ABANDONED: 'finish' },
  );
  try {
    const body = fresh();
    const leaving = new AbortController();
    const response = await stream(athena, body, {}, leaving.signal);
    const reader = (response.body as ReadableStream).pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    while (!/^:$/m.test(text)) text += (await reader.read()).value ?? '';
    leaving.abort();
    gate.open();
    await vendors.openai.calls.at(-1)?.closed;
    expect(vendors.openai.calls.at(-1)?.aborted).toBe(false);
    const json = await athena.post(body);
    expect(json.headers.get('cache-status')).toMatch(/hit|collapsed/);
  } finally {
    await athena.remove();
  }
});

it('an event stream that a shutdown would cut off ends with an error that says so', async () => {
  vendors.openai.script = () => ({ kind: 'hang', afterChunks: 1 });
  const calls = vendors.openai.calls.length;
  const athena = await startWith({ openai: vendors.openai }, { SHUTDOWN_TIMEOUT_MS: '1000' });
  try {
    const events = eventsOf(await stream(athena, fresh()));
    await readUntil(events, isChunk);
    const json = athena.post({ ...fresh(), provider: 'openai' });
    await vendors.openai.awaitCalls(calls + 2);
    const stopped = athena.stop();
    expect((await rest(events)).at(-1)).toMatchObject({
      event: 'error',
      data: { code: 'shutting_down', status: 503 },
    });
    expect((await json).status).toBe(503);
    expect(await stopped).toBe(0);
  } finally {
    await athena.remove();
  }
});

describe('streams of several instances', () => {
  const redis = ownRedis();
  let fleet: Athena[];
  const start = (): Promise<Athena> =>
    startWith(vendors, {
      AI_PROVIDERS: 'claude',
      AI_MAX_RETRIES: '0',
      REDIS_ENABLED: 'true',
      REDIS_URL: redis.server.url,
    });
  beforeAll(async () => {
    fleet = await Promise.all([start(), start(), start()]);
  });
  afterAll(() => Promise.all(fleet.map((athena) => athena.remove())));

  it('are one stream of the model: 200 listeners, early and late, get every byte in order', async () => {
    const gate = gated();
    vendors.claude.script = () => gate.behaviour;
    const calls = vendors.claude.calls.length;
    const body = fresh();
    const listen = async (index: number): Promise<ServerEvent[]> =>
      allEventsOf(await stream(fleet[index % fleet.length] as Athena, body));
    const early = Array.from({ length: 150 }, (_, index) => listen(index));
    await vendors.claude.awaitCalls(calls + 1);
    const late = Array.from({ length: 50 }, (_, index) => listen(index));
    // One that listens on another instance has the first pieces already: the model still writes.
    const leader = eventsOf(await stream(fleet[1] as Athena, body));
    await readUntil(leader, isChunk);
    gate.open();
    const all = await Promise.all([...early, ...late]);
    expect(vendors.claude.calls.length).toBe(calls + 1);
    const results = new Set(all.map((events) => JSON.stringify(events.at(-1)?.data.result)));
    expect(results.size).toBe(1);
    for (const events of all) {
      expect(events.at(-1)?.event).toBe('result');
      expect(JSON.parse(textOf(events))).toEqual(events.at(-1)?.data.result);
    }
    expect(new Set(all.map(textOf)).size).toBe(1);
    await rest(leader);
  });

  it('are taken over where the instance dies that had the call, or end with an error', async () => {
    const [leader, follower] = [await start(), await start()];
    const calls = vendors.claude.calls.length;
    vendors.claude.script = ({ index }) =>
      index === calls ? { kind: 'hang', afterChunks: 2 } : { kind: 'answer' };
    const body = fresh();
    const first = eventsOf(await stream(leader, body));
    await readUntil(first, isChunk);
    const second = eventsOf(await stream(follower, body));
    const before = await readUntil(second, isChunk);
    await leader.kill();
    await expect(rest(first)).rejects.toThrow();
    const all = [...before, ...(await rest(second))];
    expect(all.at(-1)).toMatchObject({ event: 'result', data: { provider: 'claude' } });
    expect(JSON.parse(textOf(all))).toEqual(all.at(-1)?.data.result);
    expect(typesOf(all).filter((type) => type === 'progress:attempt')).toHaveLength(2);
    expect(vendors.claude.calls.length).toBe(calls + 2);
    await follower.remove();
    await leader.remove();
  });

  it('take no longer than one deadline, though each instance waits for the one before it', async () => {
    const instances = await Promise.all(
      [1, 2, 3].map(() =>
        startWith(vendors, {
          AI_PROVIDERS: 'claude',
          AI_TIMEOUT_MS: '1000',
          AI_DEADLINE_MS: '1500',
          REDIS_ENABLED: 'true',
          REDIS_URL: redis.server.url,
        }),
      ),
    );
    vendors.claude.script = () => ({ kind: 'hang' });
    const body = fresh();
    const begun = performance.now();
    const answers = await Promise.all(instances.map((instance) => instance.post(body)));
    expect(performance.now() - begun).toBeLessThan(2_900);
    for (const answer of answers) expect(await answer.json()).toMatchObject({ code: 'analysis_timeout' });
    await Promise.all(instances.map((instance) => instance.remove()));
  });

  it('go on as long as anybody listens, on whatever instance', async () => {
    const gate = gated();
    vendors.claude.script = () => gate.behaviour;
    const body = fresh();
    const leaving = new AbortController();
    const first = eventsOf(await stream(fleet[0] as Athena, body, {}, leaving.signal));
    await readUntil(first, isChunk);
    const second = eventsOf(await stream(fleet[1] as Athena, body));
    const before = await readUntil(second, isChunk);
    const call = vendors.claude.calls.at(-1);
    leaving.abort();
    await expect(rest(first)).rejects.toThrow();
    gate.open();
    const all = [...before, ...(await rest(second))];
    expect(all.at(-1)?.event).toBe('result');
    expect(call?.aborted).toBe(false);
    expect(vendors.claude.calls.at(-1)).toBe(call);
  });
});

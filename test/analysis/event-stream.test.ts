import type { IncomingMessage, ServerResponse } from 'node:http';
import { get } from 'node:http';
import { createInterface } from 'node:readline';
import { once } from 'node:events';
import { Controller, Get, Module, Res } from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import type { FastifyReply } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { EventStreamOptions } from '../../src/analysis/event-stream.js';
import { acceptsEvents, EventStream } from '../../src/analysis/event-stream.js';

/** What the next request does with its stream. */
let play: (stream: EventStream) => Promise<void>;
let options: EventStreamOptions;
let played: Promise<void>;
let raw: ServerResponse | undefined;

@Controller()
class StreamController {
  @Get()
  stream(@Res() reply: FastifyReply): void {
    ({ raw } = reply);
    reply.header('x-request', '7');
    played = play(new EventStream(reply, options));
    played.catch(() => {});
  }
}

@Module({ controllers: [StreamController] })
class StreamModule {}

const MIB = 1024 * 1024;

describe('EventStream', () => {
  let app: NestFastifyApplication;
  let url: string;
  beforeEach(async () => {
    options = {};
    const module = await Test.createTestingModule({ imports: [StreamModule] }).compile();
    app = module.createNestApplication<NestFastifyApplication>(new FastifyAdapter());
    await app.listen(0, '127.0.0.1');
    url = await app.getUrl();
  });
  afterEach(() => app.close());

  const open = async (): Promise<IncomingMessage> => {
    const [response] = (await once(get(url, { agent: false }), 'response')) as [IncomingMessage];
    return response;
  };

  it('sends its head at once, and events with their names and JSON', async () => {
    const begin = Promise.withResolvers<void>();
    play = async (stream) => {
      await begin.promise;
      await stream.send('item', { text: 'a\nb\r\n\u2028c' });
      await stream.send('done', 1);
      await stream.end();
    };
    const response = await fetch(url);
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'private, no-store',
      'x-accel-buffering': 'no',
      'x-request': '7',
    });
    begin.resolve();
    expect(await response.text()).toBe(
      'event: item\ndata: {"text":"a\\nb\\r\\n\u2028c"}\n\nevent: done\ndata: 1\n\n',
    );
    await played;
  });

  it('keeps the order of events that nobody waited for', async () => {
    play = async (stream) => {
      const sent = Array.from({ length: 100 }, (_, i) => stream.send('n', [i, 'x'.repeat(10_000)]));
      await stream.end();
      await Promise.all(sent);
    };
    const text = await (await fetch(url)).text();
    const numbers = [...text.matchAll(/^data: \[(\d+)/gm)].map(([, number]) => Number(number));
    expect(numbers).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });

  it('keeps one event at a time for a client that reads slowly', async () => {
    let most = 0;
    play = async (stream) => {
      for (let i = 0; i < 64; i += 1) {
        await stream.send('n', 'x'.repeat(MIB));
        most = Math.max(most, raw?.writableLength ?? Infinity);
      }
      await stream.end();
    };
    const response = await open();
    let bytes = 0;
    for await (const chunk of response) {
      bytes += (chunk as Buffer).length;
      await new Promise(setImmediate);
    }
    await played;
    expect(bytes).toBeGreaterThan(64 * MIB);
    expect(most).toBeLessThan(1.1 * MIB);
  });

  it.each(['in the middle', 'at the end'])(
    'gives up a client that reads nothing any more, %s',
    async (where) => {
      options = { stallMs: 50 };
      const sent = Promise.withResolvers<unknown>();
      const text = 'x'.repeat(32 * MIB);
      play = async (stream) => {
        await stream.send('item', text);
        if (where === 'in the middle') await stream.send('item', 2).catch(sent.resolve);
        await stream.end();
        sent.resolve(stream.signal.reason);
      };
      const response = await open();
      expect(await sent.promise).toMatchObject({ name: 'AbortError' });
      await played;
      response.destroy();
    },
  );

  it('sends comments while nothing happens', async () => {
    options = { heartbeatMs: 5 };
    const beaten = Promise.withResolvers<void>();
    play = async (stream) => {
      await beaten.promise;
      await stream.send('done', {});
      await stream.end();
    };
    const lines: string[] = [];
    for await (const line of createInterface({ input: await open() })) {
      lines.push(line);
      if (line === ':') beaten.resolve();
    }
    expect(lines.slice(0, 2)).toEqual([':', '']);
    expect(lines.slice(-3)).toEqual(['event: done', 'data: {}', '']);
  });

  it('tells that the client has gone, and refuses to send', async () => {
    const aborted = Promise.withResolvers<void>();
    play = async (stream) => {
      stream.signal.addEventListener('abort', () => aborted.resolve());
      await stream.send('item', 1);
      await aborted.promise;
      await expect(stream.send('item', 2)).rejects.toMatchObject({ name: 'AbortError' });
      await stream.end();
    };
    const response = await open();
    await once(response, 'readable');
    response.destroy();
    await aborted.promise;
    await played;
  });

  it('lets go of a writer that waits when the client goes', async () => {
    play = async (stream) => {
      for (;;) await stream.send('n', 'x'.repeat(MIB));
    };
    const response = await open();
    await once(response, 'readable');
    response.destroy();
    await expect(played).rejects.toMatchObject({ name: 'AbortError' });
  });

  it('does not abort once it has ended', async () => {
    let signal: AbortSignal | undefined;
    play = async (stream) => {
      ({ signal } = stream);
      await stream.end();
    };
    await (await fetch(url)).text();
    await played;
    expect(signal?.aborted).toBe(false);
  });
});

describe('acceptsEvents', () => {
  it.each([
    ['text/event-stream', true],
    ['TEXT/Event-Stream ; charset=utf-8', true],
    ['text/event-stream, */*', true],
    ['application/json, text/event-stream', true],
    ['application/json;q=0.5, text/event-stream;q=0.7', true],
    ['application/json, text/event-stream;q=0.5', false],
    ['application/*;q=0.9, text/event-stream;q=0.5', false],
    ['application/json;q=0.1, */*, text/event-stream;q=0.5', true],
    ['text/event-stream;q=0', false],
    ['text/event-stream;q=0.0', false],
    ['text/event-stream;q=x', false],
    ['*/*', false],
    ['text/*', false],
    ['', false],
    [undefined, false],
  ])('%j: %j', (accept, expected) => expect(acceptsEvents(accept)).toBe(expected));
});

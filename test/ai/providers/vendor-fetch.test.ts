import '../../support/one-realm.js';
import { once } from 'node:events';
import type { Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { vendorFetch } from '../../../src/ai/providers/vendor-fetch.js';

const MIB = 2 ** 20;

/** Writes until the client has gone. */
async function endlessly(response: ServerResponse): Promise<void> {
  const piece = Buffer.alloc(MIB, 'x');
  const closed = once(response, 'close');
  while (!response.destroyed) {
    if (!response.write(piece)) await Promise.race([once(response, 'drain'), closed]);
  }
}

describe('vendorFetch', () => {
  let server: Server;
  let url: string;
  let answer: (response: ServerResponse) => void;
  const paths: string[] = [];

  beforeAll(async () => {
    server = createServer((request, response) => {
      paths.push(request.url ?? '');
      request.resume().once('end', () => answer(response));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => new Promise((resolve) => server.close(resolve).closeAllConnections()));

  const post = (): Promise<Response> =>
    vendorFetch('compatible')(`${url}/first`, { method: 'POST', body: 'a sample' });

  it('hands on what was answered', async () => {
    answer = (response) => response.writeHead(201, { 'x-fact': 'yes' }).end('an answer');
    const response = await post();
    expect([response.status, response.headers.get('x-fact')]).toEqual([201, 'yes']);
    expect(await response.text()).toBe('an answer');
  });

  it('leaves an answer that does not end', async () => {
    const left = Promise.withResolvers<unknown>();
    answer = (response) => {
      response.writeHead(200);
      left.resolve(endlessly(response));
    };
    const response = await post();
    await expect(response.text()).rejects.toMatchObject({ code: 'invalid_answer', provider: 'compatible' });
    await left.promise;
  });

  it('reads the beginning of an error that does not end', async () => {
    const left = Promise.withResolvers<unknown>();
    answer = (response) => {
      response.writeHead(500);
      left.resolve(endlessly(response));
    };
    const response = await post();
    expect(response.status).toBe(500);
    expect((await response.text()).length).toBeLessThanOrEqual(64 * 1024);
    await left.promise;
  });

  it('counts what is unpacked', async () => {
    const packed = gzipSync(Buffer.alloc(16 * MIB));
    answer = (response) => response.writeHead(500, { 'content-encoding': 'gzip' }).end(packed);
    expect((await (await post()).text()).length).toBeLessThanOrEqual(64 * 1024);
  });

  it.each([301, 302, 307, 308])('does not carry the sample to where a %s leads', async (status) => {
    paths.length = 0;
    answer = (response) => response.writeHead(status, { location: `${url}/elsewhere` }).end();
    await expect(post()).rejects.toThrow('fetch failed');
    expect(paths).toEqual(['/first']);
  });
});

import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { connect } from 'node:net';
import type { Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Connections } from '../src/connections.js';

describe('Connections', () => {
  let server: Server;
  let connections: Connections;
  let open: Promise<ServerResponse>;

  beforeEach(async () => {
    server = createServer();
    connections = new Connections(server);
    open = once(server, 'request').then(([, response]) => response as ServerResponse);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(() => server.closeAllConnections());

  const dial = async (): Promise<Socket> => {
    const connected = once(server, 'connection');
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.setEncoding('utf8').on('error', () => {});
    await connected;
    return socket;
  };
  const close = (): Promise<unknown> => {
    const closed = once(server, 'close');
    server.close();
    connections.close();
    return closed;
  };

  it('closes one on which nothing was ever asked', async () => {
    await dial();
    await close();
  });

  it('lets an answer that runs come to its end, and closes the connection then', async () => {
    const socket = await dial();
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    const response = await open;
    response.write('be');
    const closed = close();
    response.end('gun');
    let text = '';
    for await (const piece of socket) text += String(piece);
    expect(text).toContain('gun');
    await closed;
  });

  it('closes one that is kept after its answer', async () => {
    const socket = await dial();
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    (await open).end('done');
    await once(socket, 'data');
    await close();
  });
});

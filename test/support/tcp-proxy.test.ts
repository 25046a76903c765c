import type { Server, Socket } from 'node:net';
import { createConnection, createServer } from 'node:net';
import { once } from 'node:events';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { freePort } from './free-port.js';
import { TcpProxy } from './tcp-proxy.js';

/** Answers each byte with the same byte, and remembers what came. */
let server: Server;
let received: string;
let proxy: TcpProxy;
const sockets: Socket[] = [];

beforeEach(async () => {
  received = '';
  const port = await freePort();
  server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on('data', (bytes) => {
      received += bytes.toString();
      socket.write(bytes);
    });
    socket.once('end', () => socket.end('.'));
    socket.once('error', () => {});
  }).listen(port, '127.0.0.1');
  await once(server, 'listening');
  proxy = await TcpProxy.start(port);
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await proxy.close();
  server.close();
});

/** A client that collects what it gets. */
class Client {
  text = '';
  error: string | undefined;
  ended = false;
  readonly socket: Socket;

  constructor(port = proxy.port) {
    this.socket = createConnection({ port, host: '127.0.0.1', allowHalfOpen: true });
    sockets.push(this.socket);
    this.socket.on('data', (bytes) => (this.text += bytes.toString()));
    this.socket.once('end', () => (this.ended = true));
    this.socket.once('error', (error: NodeJS.ErrnoException) => (this.error = error.code));
  }

  static async connect(): Promise<Client> {
    const client = new Client();
    await once(client.socket, 'connect');
    return client;
  }

  /** Whether by an end or an error. */
  async closed(): Promise<void> {
    if (!this.socket.destroyed) await new Promise((resolve) => this.socket.once('close', resolve));
  }

  async gets(text: string): Promise<void> {
    while (this.text !== text) await once(this.socket, 'data');
  }

  /** Sends, and waits for the echo. */
  async echo(text: string): Promise<number> {
    const begun = performance.now();
    const expected = this.text + text;
    this.socket.write(text);
    await this.gets(expected);
    return performance.now() - begun;
  }
}

/** The server's side has no event for the client's test to await. */
async function until(holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds() && waited < 2000; waited += 1) await pause(1);
  expect(holds()).toBe(true);
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

it('passes', async () => {
  const client = await Client.connect();
  await client.echo('one');
  await client.echo('x'.repeat(3_000_000));
  expect(proxy.connections).toBe(1);
});

it('passes on the end of either side, after what was sent before it', async () => {
  const client = await Client.connect();
  client.socket.end('bye');
  await once(client.socket, 'end');
  expect(client.text).toBe('bye.');
});

it('cut: resets what is open, takes what is new', async () => {
  const client = await Client.connect();
  await client.echo('one');
  proxy.cut();
  await client.closed();
  expect(client.error).toBe('ECONNRESET');
  expect(proxy.connections).toBe(0);
  await (await Client.connect()).echo('two');
});

it('refuse: nothing listens until it passes again', async () => {
  const client = await Client.connect();
  await client.echo('one');
  const closed = client.closed();
  await proxy.refuse();
  await closed;
  const refused = new Client();
  await refused.closed();
  expect(refused.error).toBe('ECONNREFUSED');
  await proxy.pass();
  await (await Client.connect()).echo('two');
});

it('freeze: accepts, stays open, passes nothing; what was sent comes late and in order', async () => {
  const client = await Client.connect();
  await client.echo('a');
  proxy.freeze();
  client.socket.write('b');
  const other = await Client.connect();
  other.socket.write('z');
  await pause(50);
  client.socket.write('c');
  client.socket.end();
  await pause(50);
  expect({ received, text: client.text, ended: client.ended }).toEqual({
    received: 'a',
    text: 'a',
    ended: false,
  });
  await proxy.pass();
  await once(client.socket, 'end');
  expect(client.text).toBe('abc.');
  await other.gets('z');
});

it('freeze of those that mention something: they stand from the request that does, and the others pass', async () => {
  const [former, next, other] = [await Client.connect(), await Client.connect(), await Client.connect()];
  await former.echo('this: a');
  await next.echo('b');
  proxy.freeze('this');
  former.socket.write('c');
  await next.echo('t');
  next.socket.write('his');
  await other.echo('z');
  const late = await Client.connect();
  await late.echo('y');
  late.socket.write('this');
  await other.echo('that');
  await pause(50);
  expect([former.text, next.text, late.text]).toEqual(['this: a', 'bt', 'y']);
  await proxy.pass();
  await Promise.all([former.gets('this: ac'), next.gets('bthis'), late.gets('ythis')]);
});

it('half-close: the receiver reads to its end, and what it writes still passes', async () => {
  const client = await Client.connect();
  await client.echo('one');
  proxy.halfClose('replies');
  await once(client.socket, 'end');
  client.socket.write('two');
  await until(() => received === 'onetwo');
  expect(client.error).toBeUndefined();
});

it('half-close of the requests: the server ends, and its answer still passes', async () => {
  const client = await Client.connect();
  await client.echo('one');
  proxy.halfClose('requests');
  await once(client.socket, 'end');
  expect(client.text).toBe('one.');
});

it('delay: each way', async () => {
  const client = await Client.connect();
  await client.echo('one');
  proxy.delay(40);
  expect(await client.echo('two')).toBeGreaterThanOrEqual(79);
  const begun = performance.now();
  await Promise.all(Array.from('345', (text) => client.socket.write(text)));
  await client.gets('onetwo345');
  expect(performance.now() - begun).toBeLessThan(200);
  await proxy.pass();
  expect(await client.echo('six')).toBeLessThan(79);
});

it('lost replies: requests arrive, answers do not, and the connection does not go on with a gap', async () => {
  const client = await Client.connect();
  await client.echo('one');
  proxy.loseReplies();
  client.socket.write('two');
  await until(() => received === 'onetwo');
  await pause(20);
  expect(client.text).toBe('one');
  await proxy.pass();
  await client.closed();
  expect(client.error).toBe('ECONNRESET');
});

it('lost replies: a connection that lost none goes on', async () => {
  const client = await Client.connect();
  await client.echo('one');
  proxy.loseReplies();
  await proxy.pass();
  await client.echo('two');
});

it('lost requests: they do not arrive', async () => {
  const client = await Client.connect();
  await client.echo('one');
  proxy.loseRequests();
  client.socket.write('two');
  await pause(50);
  expect(received).toBe('one');
  await proxy.pass();
  await client.closed();
});

it('throttle: so many bytes in a second', async () => {
  const client = await Client.connect();
  await client.echo('one');
  proxy.throttle(20_000);
  const ms = await client.echo('x'.repeat(4000));
  expect(ms).toBeGreaterThan(150);
  expect(ms).toBeLessThan(1500);
});

it('a server that is away looks like a reset', async () => {
  const lonely = await TcpProxy.start(await freePort());
  const client = new Client(lonely.port);
  await client.closed();
  expect(client.error).toBe('ECONNRESET');
  await lonely.close();
});

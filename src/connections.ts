import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * The connections of a server that is about to close. Node's `closeIdleConnections` leaves alone those on which nothing
 * was asked yet, which browsers and fetch open in advance: they would hold up the end until a time-out.
 */
export class Connections {
  /** With the number of requests that are not answered yet. */
  private readonly open = new Map<Socket, number>();
  private isClosing = false;

  constructor(server: Server) {
    server.on('connection', (socket) => {
      if (this.isClosing) socket.destroy();
      this.open.set(socket, 0);
      socket.once('close', () => this.open.delete(socket));
    });
    server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
      this.count(socket, 1);
      response.once('close', () => this.count(socket, -1));
    });
  }

  /** Closes those without a request now, and the others after their answers. */
  close(): void {
    this.isClosing = true;
    for (const [socket, requests] of this.open) if (requests === 0) socket.destroy();
  }

  private count(socket: Socket, change: number): void {
    const requests = this.open.get(socket);
    if (requests === undefined) return;
    this.open.set(socket, requests + change);
    if (this.isClosing && requests + change === 0) socket.end();
  }
}

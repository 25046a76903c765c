import type { IncomingMessage } from 'node:http';

/** A client that still sends then is not one that is about to read. */
const MAX_MS = 30_000;

/**
 * Reads away what is left of a body that nobody wants, because a client that cannot go on sending may not get to read
 * the answer, and no further request would be read from its connection; after half a minute that is cut.
 */
export function discardBody(raw: IncomingMessage): void {
  if (raw.complete || raw.destroyed) return;
  raw.unpipe();
  raw.on('error', () => {});
  const timer = setTimeout(() => raw.destroy(), MAX_MS).unref();
  raw.once('close', () => clearTimeout(timer));
  raw.once('end', () => clearTimeout(timer));
  raw.resume();
}

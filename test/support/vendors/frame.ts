/** One event of a stream; a string is sent as it is. */
export interface Frame {
  readonly event?: string;
  readonly data: unknown;
}

/** An event as bytes of `text/event-stream`. */
export function serialize({ event, data }: Frame): string {
  const text = typeof data === 'string' ? data : JSON.stringify(data);
  return `${event === undefined ? '' : `event: ${event}\n`}data: ${text}\n\n`;
}

/** One server-sent event. */
export interface ServerEvent {
  readonly event: string;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly data: any;
}

/** Reads `text/event-stream`; comments are dropped. Throws where the connection breaks, or there is no stream. */
export async function* eventsOf(response: Response): AsyncGenerator<ServerEvent, void, undefined> {
  let text = '';
  if (response.status !== 200) throw new Error(await response.text());
  const pieces = (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream());
  for await (const piece of pieces) {
    text += piece;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const event = parse(text.slice(0, end));
      text = text.slice(end + 2);
      if (event !== undefined) yield event;
    }
  }
}

export async function allEventsOf(response: Response): Promise<ServerEvent[]> {
  const events: ServerEvent[] = [];
  for await (const event of eventsOf(response)) events.push(event);
  return events;
}

/** The text that the chunks make, by their offsets. */
export function textOf(events: readonly ServerEvent[]): string {
  let whole = '';
  for (const { event, data } of events) {
    if (event === 'chunk') whole = whole.slice(0, data.offset) + data.text;
  }
  return whole;
}

function parse(block: string): ServerEvent | undefined {
  const lines = block.split('\n').filter((line) => !line.startsWith(':'));
  const field = (name: string): string =>
    lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2) ?? '';
  return lines.length === 0 ? undefined : { event: field('event'), data: JSON.parse(field('data')) };
}

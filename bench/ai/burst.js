import { randomUUID } from 'node:crypto';
import { allEventsOf, textOf } from '../../test/support/sse.js';

const LISTENERS = 200;

/** Everybody wants the same stream: one call of the model. */
export async function burst({ instances, vendors }) {
  const { claude } = vendors;
  claude.script = () => ({ kind: 'answer', chunks: 40, gapMs: 25 });
  const before = claude.calls.length;
  const body = JSON.stringify({
    type: 'deobfuscate',
    content: `burst("${randomUUID()}"); ${'x'.repeat(20_000)}`,
  });
  const begun = performance.now();
  const all = await Promise.all(
    Array.from({ length: LISTENERS }, async (_, index) => {
      const response = await instances[index % instances.length].fetch('/v1/analyses', {
        method: 'POST',
        headers: { accept: 'text/event-stream', 'content-type': 'application/json' },
        body,
      });
      return allEventsOf(response);
    }),
  );
  const durationMs = performance.now() - begun;
  claude.script = () => ({ kind: 'answer' });
  const calls = claude.calls.length - before;
  const texts = new Set(all.map(textOf));
  const results = all.filter((events) => events.at(-1)?.event === 'result');
  const live = all.filter((events) => events.filter(({ event }) => event === 'chunk').length >= 10);
  const faults = [];
  if (calls !== 1) faults.push(`${calls} calls of the model`);
  if (texts.size !== 1) faults.push(`${texts.size} different texts`);
  if (results.length !== LISTENERS) faults.push(`${LISTENERS - results.length} streams without a result`);
  for (const events of results) {
    if (JSON.stringify(JSON.parse(textOf(events))) !== JSON.stringify(events.at(-1).data.result))
      faults.push('a text that is not the result');
  }
  return {
    figures: {
      'listeners, on 3 instances': LISTENERS,
      'calls of the model': calls,
      'different texts': texts.size,
      'listeners who got it in 10 pieces or more': live.length,
      'took, ms (the model writes for 1000)': Math.round(durationMs),
    },
    faults,
  };
}

import { randomUUID } from 'node:crypto';
import { allEventsOf } from '../../test/support/sse.js';

const ROUNDS = 400;
const WARM_UP = 50;

/** One after the other, each of the five in each round, so that noise hits all alike. */
export async function latency({ instances, vendors }) {
  const [athena] = instances;
  vendors.claude.script = () => ({ kind: 'answer' });
  const json = { 'content-type': 'application/json' };
  const post = (body, headers = {}) =>
    athena.fetch('/v1/analyses', {
      method: 'POST',
      headers: { ...json, ...headers },
      body: JSON.stringify(body),
    });
  const fresh = () => ({ type: 'deobfuscate', content: `latency("${randomUUID()}")` });
  const known = fresh();
  await (await post(known)).text();
  const bareBody = vendors.claude.calls.at(-1).body;
  const bare = async () => {
    const response = await fetch(`${vendors.claude.url}/messages`, {
      method: 'POST',
      headers: { ...json, 'x-api-key': 'sk' },
      body: JSON.stringify(bareBody),
    });
    await response.text();
  };
  const kinds = {
    'bare call of the vendor': bare,
    'miss, JSON': async () => (await post(fresh())).text(),
    'miss, stream': async () => allEventsOf(await post(fresh(), { accept: 'text/event-stream' })),
    'hit, JSON': async () => (await post(known)).text(),
    'hit, stream': async () => allEventsOf(await post(known, { accept: 'text/event-stream' })),
  };
  const times = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, []]));
  for (let round = 0; round < ROUNDS + WARM_UP; round += 1) {
    for (const [kind, run] of Object.entries(kinds)) {
      const begun = performance.now();
      await run();
      if (round >= WARM_UP) times[kind].push(performance.now() - begun);
    }
  }
  const at = (kind, part) => times[kind].sort((a, b) => a - b)[Math.floor(part * (ROUNDS - 1))];
  const figures = {};
  for (const kind of Object.keys(kinds)) {
    figures[`${kind}: p50, p99, ms`] = `${at(kind, 0.5).toFixed(2)}, ${at(kind, 0.99).toFixed(2)}`;
  }
  for (const kind of ['miss, JSON', 'miss, stream']) {
    const added = at(kind, 0.5) - at('bare call of the vendor', 0.5);
    figures[`${kind}: added to the bare call, p50, ms`] = added.toFixed(2);
  }
  const ratio = at('hit, JSON', 0.5) / at('bare call of the vendor', 0.5);
  figures['hit, JSON: part of the bare call, p50'] = ratio.toFixed(2);
  return { figures, faults: [] };
}

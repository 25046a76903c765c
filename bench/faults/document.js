import { availableParallelism } from 'node:os';
import { format } from 'prettier';
import { markdown } from '../outage/report/format.js';

const introduction = `# What Redis adds to a call

Each state of Redis beside an instance that has none, in one run: the same callers make each call on both, one right after
the other, so both meet whatever the machine does. This page is written by \`npm run bench:faults\`: repeat it instead of
editing it. What an outage costs beyond time, and what other caches make of it, is [outage.md](outage.md)'s.`;

const reading = `## How to read it

- **Times are milliseconds, p50 / p99 / longest.** One machine, loopback, everything in one process but Redis itself (and
  the proxy that makes it slow): differences of some microseconds, and p99 and longest where Redis is up, are as much of the
  machine as of the cache. A stall of the process hits both sides; the ratio of the p50 is the steadiest figure.
- **A call that finds out pays one time-out** (250 ms), and only those that were under way then: at most as many as there
  are callers, or the whole of a burst, at each change for the worse. Whoever calls later pays what a local call costs; a \`set\` and the
  outbox that it fills cost some microseconds more.
- **Slow within the time-out is not a fault**: what has to be asked takes as long as Redis takes, which \`REDIS_COMMAND_TIMEOUT_MS\`
  bounds. Hits in L1 do not.
- **Slow beyond the time-out** is like stopped: a reply that comes too late proves that the server lives, not that it is of use.
  It is used again when a \`PING\` in the background is answered in time; if it fails again within ten seconds, the next
  attempt comes later, up to two seconds.
- **Killed** costs nobody a time-out: a closed socket tells at once.
- **Flapping**: after each return what an instance has is compared once more, beside the merge of what was written.
  The p99, of hits in L1 too, is most likely that; it was not taken apart.
- *In L1*: what this instance has and Redis would have told a change of. *To be compared*: what it has and Redis has to be
  asked about, after a gap of what is told. *A miss*: what nobody has. The callers rest up to 10 ms after each pair of calls.
- A burst waits for itself as well: its calls start together, and share one thread with each other.`;

const method = (seconds) => `## Method

Redis is a process of its own for each state, with one instance of the cache on it and its defaults. It is broken while 16 callers call, for ${seconds} s; then come 1000 calls at once ("within it"). It is healed; when everything
is merged it is broken again, and 1000 calls are made at that moment ("at its beginning"). Slow is a proxy between the two
that holds everything back for half the time in each direction; without that there is none.

\`\`\`sh
npm run bench:faults
npm run bench:faults -- --only stopped,slow-400    # a part of it; this page is left alone
\`\`\``;

/** `docs/latency.md`. */
export function asDocument(tables, { seconds, redis, loadBefore }) {
  const machine = `${new Date().toISOString().slice(0, 10)}, Node ${process.versions.node}, redis-server ${redis}, ${availableParallelism()} cores with a load of ${loadBefore.toFixed(1)} before the run.`;
  const parts = [introduction, markdown(tables), reading, method(seconds), machine];
  return format(parts.join('\n\n'), { parser: 'markdown', printWidth: 120 });
}

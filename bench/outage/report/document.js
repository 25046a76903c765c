import { format } from 'prettier';
import { SETTLE_MS } from '../measures/settle.js';
import { TICKS, UPDATES } from '../workload.js';
import { markdown, milliseconds } from './format.js';
import { failuresOf } from './results.js';
import { summaryTable } from './summary.js';
import { tablesOf } from './tables.js';
import { targetsTable } from './targets.js';

const introduction = `# What an outage of Redis costs

Every cache that keeps a local copy in front of Redis has an answer to the question what happens while Redis is away:
the calls wait, or the writes are lost, or neither. This page measures it, for Athena and for the caches that a Nest
team would otherwise take, in one run of one program. The page and the plot are written by \`npm run bench:outage\`:
repeat it instead of editing them.`;

const method = (seconds) => `## Method

- Each configuration has a Redis of its own on loopback, and its processes: **A** works, **B** holds old values in its
  L1, **C** starts when all is over. One more has written what is in Redis only, and has ended.
- Redis goes away for ${seconds} s (and up to 3 s more, while nobody calls: the servers come back one after the other), in two ways. **kill -9**: the process is gone and its sockets are closed; it comes
  back with its data (AOF). **SIGSTOP**: the sockets stay open and nothing answers, as behind a silent cut; then SIGCONT.
- A calls at a steady pace and does not wait for answers, as users do not wait for each other. While Redis is away:
  ${TICKS.during} rounds of 5 \`set\`, one \`get\` of a key in its L1, one \`get\` of a key that is in Redis only, one \`getOrSet\` of
  a new key and one \`delete\`, and ${UPDATES} updates of keys that B holds. Before and after it, rounds on other keys. The
  calls of a round start together, so each time includes a part of the others.
- After the return everybody has ${SETTLE_MS / 1000} s. Then C, a second instance that has seen nothing of it, reads everything
  that was written and deleted, and B and C read the updated keys, by \`getOrSet\` as applications do. A call that is
  still open then counts with the time until then.
- The restart: A makes the same calls in 4 s, is killed with \`kill -9\` while Redis is away, and started again. The
  empty Redis: away for 3 s, and back without its data. The start: the process is there, Redis is not. Memory: after a
  forced collection, before and after 100 000 writes of 1 KB to 100 keys, as fast as they can be called.
- All configurations go through the same steps at the same time, and their rounds are spread over the beat so that they
  meet as little as possible. Processes start two at a time, before anything is measured; starts and floods, which are
  measured, are taken one or two at a time.`;

const reading = `## How to read it

- **A blocked call lasts as long as the outage.** Its p50 says only that the calls were spread evenly: read it as "waits
  until Redis is back". Such a configuration loses nothing because everybody waited; one that answers at once and loses
  nothing has kept more. Only the two together are an answer.
- **"Of these called stored"** are lost writes whose call had resolved without an error and without \`false\`, \`local\` or
  \`superseded\`: the caller was told that all is well. \`outbox\` counts as stored, for it is a promise.
- **Some configurations are tuned, after the documentation of each peer**; none is an official preset. *bentocache,
  tuned*: no offline queue, one retry, 200 ms command time-out, a breaker of 2 s. *non-blocking*: \`nonBlocking: true\`
  and \`createKeyvNonBlocking\`. *cacheable, sync*: with the bus of \`@qified/redis\`, and listeners on its private clients,
  without which the process ends when Redis does.
- *cacheable, sync* sends each value to the L1 of the others, so for it no key is "not in L1". Configurations without a
  bus keep old values in B until their TTL also without any outage.
- What a bus says while the other has not subscribed again is lost: whether B keeps old values after a kill -9 is chance
  with a bus, and differs from run to run.
- bentocache runs on ioredis 5 (its peer range), where a call gives up after about 10 s; the keyv stores on node-redis.
- **With \`memory\` a restart in the outage loses what only that process knew**, by design: \`disk\` is there for it. Under
  SIGSTOP some writes of a killed process are still in the socket, and run when Redis goes on; that is why the figures
  of a restart under SIGSTOP are below those under kill -9.
- **\`disk\` answers a write when it is synced in its database**, in an outage or not: its writes take what the disk
  takes, and survive a \`kill -9\` for it. What a synced transaction of the database alone took meanwhile stands under
  Versions.
- **Fast while Redis is there is not the question here**: the first column is there to show what an outage adds.
- "Resident" is all memory of the process; with \`disk\` it includes the pages of the database that are mapped.

## What it does not say

One machine, loopback, one run: differences below a millisecond mean little, and the longest call of a few hundred
includes whatever else the machine did. No host was cut off, there is no Sentinel and no Cluster here, and the values
are small. An outage longer than the TTL of the values is another question.`;

const repeat = (tookMs) => `## How to repeat it

\`\`\`sh
npm ci
npm run bench:outage                                   # all of it; this run took ${Math.round(tookMs / 1000)} s
npm run bench:outage -- --only athena-memory,outage    # a part of it; this page is left alone
npm run bench:outage -- --help
\`\`\`

The peers are installed into \`bench/outage/node_modules\` at the first use, from a lock file of their own. A
\`redis-server\` is taken from the \`PATH\`, from \`REDIS_SERVER\`, or fetched as for the tests.`;

const versionsOf = ({ date, node, redis, cores, loadBefore, syncedMs, athena, peers }) => `## Versions

${date}, Node ${node}, redis-server ${redis}, ${cores} cores with a load of ${loadBefore.toFixed(1)} before the run, a synced transaction of LMDB alone in ${milliseconds(syncedMs)} ms (p50 of the run). Athena with ${athena.join(', ')}. Peers: ${peers.join(', ')}.`;

function failures(measured) {
  const all = failuresOf(measured);
  if (all.length === 0) return '';
  return `What could not be measured to its end, and why:\n\n${all.map((each) => `- ${each}`).join('\n')}`;
}

/** `docs/outage.md`. */
export function asDocument(measured) {
  const parts = [
    introduction,
    '![The longest call of each half second through an outage, by operation and cache](outage.svg)',
    '## Results',
    markdown([targetsTable(measured), summaryTable(measured)]),
    failures(measured),
    method(measured.seconds),
    reading,
    '## All figures',
    markdown(tablesOf(measured)),
    repeat(measured.tookMs),
    versionsOf(measured.environment),
  ];
  return format(parts.filter(Boolean).join('\n\n'), { parser: 'markdown' });
}

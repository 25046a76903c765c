import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { InvalidationStats } from './invalidation.js';
import { worstOf } from './invalidation.js';
import type { RedisLink, RedisMaster } from './link.js';
import { noticesTo } from './notices.js';
import { channelOf } from './redis-side.js';

/** How instances learn of each other's changes through this Redis, and whether they hear of this one's. */
export type ChangeNews = Pick<InvalidationStats, 'state' | 'reason' | 'unpublished'>;

/** Beside the time-outs of the connection: one canary. */
const CANARY_MS = 1000;

/** Of several masters the worst. Nothing of it stays in Redis. */
export async function changeNews(connection: RedisLink): Promise<ChangeNews> {
  const all = await Promise.all(connection.masters.map((master) => newsOf(connection, master)));
  return worstOf(all) ?? { state: 'lost', reason: 'there is no master', unpublished: undefined };
}

async function newsOf(connection: RedisLink, master: RedisMaster): Promise<ChangeNews> {
  const notices = noticesTo(master, connection.settings);
  const told = Promise.withResolvers<void>();
  const options = { clientId: randomUUID(), onChange: () => {}, onEvent: () => told.resolve() };
  const channel = channelOf(connection, master, options, notices);
  try {
    const patience = new AbortController();
    const limitMs = master.settings.connectTimeoutMs + 2 * CANARY_MS;
    await Promise.race([
      told.promise,
      sleep(limitMs, undefined, { signal: patience.signal }).catch(() => {}),
    ]);
    patience.abort();
    await notices?.publish('redis-check');
    const { state, reason, unpublished } = channel.stats();
    return { state, reason, unpublished };
  } finally {
    channel.close();
  }
}

export const meaningOf = ({ state }: ChangeNews): string => MEANINGS[state];

const MEANINGS: Readonly<Record<ChangeNews['state'], string>> = {
  armed: 'Redis tells each instance',
  notices: 'the instances tell each other, Redis does not',
  refused: 'nobody tells: every hit costs a round trip',
  lost: 'nothing was told in time: every hit costs a round trip',
};

export function notesOn({ state, reason, unpublished }: ChangeNews, channel: string | undefined): string[] {
  const notes: string[] = [];
  if (state === 'notices' || state === 'refused') {
    const rights = channel === undefined ? '' : ` ${channel}`;
    const cost =
      state === 'refused'
        ? 'every hit costs a round trip'
        : 'instances tell each other what they change, and nobody tells of evictions and of what other programs write';
    notes.push(
      `Redis does not tell of changes (${reason}): ${cost}. Allow CLIENT TRACKING, SUBSCRIBE and PUBLISH, and the channels __redis__:invalidate${rights && ` and${rights}`}.`,
    );
  }
  if (unpublished !== undefined) {
    notes.push(
      `This user may not publish what it changes (${unpublished}): instances that rely on notices compare every read with Redis instead. Allow PUBLISH, and the channel ${channel}.`,
    );
  }
  return notes;
}

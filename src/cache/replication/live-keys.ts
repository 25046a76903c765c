import { StorageUnavailableError } from '../cache.errors.js';
import type { Marks } from './marks.js';
import type { LiveKey, Remote } from './remote.js';
import type { EntryCodec, ReplicaState } from './replica-state.js';

/**
 * The keys of both sides, each once: what Redis has and is neither dead by the marks nor about to be replaced from here,
 * then what waits to be sent. Where Redis is away, or goes away on the way, what is known here.
 */
export async function* liveKeys(
  state: ReplicaState,
  remote: Remote | undefined,
  prefix: string,
): AsyncIterable<string> {
  const seen = new Set<string>();
  const fresh = (key: string): boolean => !seen.has(key) && seen.add(key) !== undefined;
  if (remote !== undefined) {
    try {
      for await (const page of remote.keys(prefix)) {
        for (const key of await servedOf(remote, page, servedBy(state))) if (fresh(key)) yield key;
      }
      for (const key of waiting(state, prefix)) if (fresh(key)) yield key;
      return;
    } catch (error) {
      if (!(error instanceof StorageUnavailableError)) throw error;
    }
  }
  for (const key of waiting(state, prefix)) if (fresh(key)) yield key;
  for await (const key of state.local.keys(prefix)) {
    if (!seen.has(key) && state.visible((await state.known(key))?.entry) !== undefined && fresh(key))
      yield key;
  }
}

/** What decides whether a value in Redis would be served. */
export interface Served {
  readonly marks: Marks;
  readonly codec: Pick<EntryCodec, 'decode'>;
  readonly nowMs: number;
  /** The newest version that is known of a key; '' if none is. */
  readonly known: (key: string) => string;
}

/** Of the values in Redis, those that a read would serve. Only what a tag mark may concern is fetched whole. */
export async function servedOf(remote: Remote, page: readonly LiveKey[], by: Served): Promise<string[]> {
  const { marks, codec, nowMs, known } = by;
  const live = page.filter(
    ({ key, version, expiresAt }) => version > marks.clear && version >= known(key) && expiresAt > nowMs,
  );
  const newestMark = marks.newestOfTags;
  const doubtful = live.filter(({ version }) => version <= newestMark);
  if (doubtful.length === 0) return live.map(({ key }) => key);
  const values = await remote.values(doubtful.map(({ key }) => key));
  const dead = new Set<string>();
  for (const [index, { key }] of doubtful.entries()) {
    const bytes = values[index];
    const entry = bytes && codec.decode(key, bytes);
    if (entry === undefined || marks.hides(entry)) dead.add(key);
  }
  return live.flatMap(({ key }) => (dead.has(key) ? [] : [key]));
}

function* waiting(state: ReplicaState, prefix: string): Iterable<string> {
  for (const { mutation, state: itemState } of state.outbox.all()) {
    const { key, bytes } = mutation;
    if (itemState !== 'pending' || bytes === undefined || !key.startsWith(prefix)) continue;
    if (state.visible(state.codec.decode(key, bytes)) !== undefined) yield key;
  }
}

const servedBy = ({ marks, codec, clock, outbox }: ReplicaState): Served => ({
  marks,
  codec,
  nowMs: clock.time(),
  known: (key) => outbox.get(key)?.mutation.version ?? '',
});

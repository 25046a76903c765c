import { StorageUnavailableError } from '../cache.errors.js';

/** What an error reply means for the call, and for the connection that it came over. */
export interface Reaction {
  /**
   * - `elsewhere`: another server has the key; in a cluster the call goes there.
   * - `again`: a moment later it may succeed.
   * - `refused`: Redis takes no such write now; what waits is kept, and sent later.
   * - `unavailable`: Redis can't serve at all; the local storage does.
   */
  readonly call: 'elsewhere' | 'again' | 'refused' | 'unavailable';
  /**
   * - `keep`: the server is sound.
   * - `probe`: no calls before it answers a PING.
   * - `renew`: connect anew, where that may lead to another server, or with a right that is back.
   * - `map`: ask the cluster who has which slots.
   */
  readonly connection: 'keep' | 'probe' | 'renew' | 'map';
}

/**
 * The first that fits counts. Redis puts the kind first, but where a script met an error its own text may come before
 * (redis.io/docs/latest/develop/reference/errors; redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec).
 */
const REACTIONS: readonly (readonly [sign: RegExp, call: Reaction['call'], then: Reaction['connection']])[] =
  [
    [/^(MOVED|ASK) \d/, 'elsewhere', 'map'],
    [/^TRYAGAIN\b/, 'again', 'keep'],
    // Sent again as EVAL at once, so it is not seen unless scripts are flushed all the time.
    [/^NOSCRIPT\b/, 'unavailable', 'keep'],
    [/^(LOADING|BUSY|MASTERDOWN)\b/, 'unavailable', 'probe'],
    [/^CLUSTERDOWN Hash slot not served/, 'unavailable', 'keep'],
    [/^CLUSTERDOWN\b/, 'unavailable', 'map'],
    [/^(NOAUTH|WRONGPASS)\b/, 'unavailable', 'renew'],
    [/\bREADONLY\b/, 'refused', 'renew'],
    [/\b(OOM|MISCONF|NOREPLICAS|NOPERM|unknown command)\b/, 'refused', 'keep'],
  ];

/** Undefined for an error that concerns nothing but its command. */
export function reactionTo(error: Error): Reaction | undefined {
  const known = REACTIONS.find(([sign]) => sign.test(error.message));
  if (known !== undefined) return { call: known[1], connection: known[2] };
  // Not a reply: a closed connection, a time-out of the client.
  return error.name === 'ReplyError' ? undefined : { call: 'unavailable', connection: 'keep' };
}

/**
 * Redis errors carry the failed command with its arguments, which are keys, values and passwords: none of that may
 * travel with an error that somebody logs.
 */
export function unavailable(error: unknown): StorageUnavailableError {
  const message = describeError(error);
  return new StorageUnavailableError('redis', message, { cause: new Error(message) });
}

export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  // "ERR unknown command 'x', with args beginning with: ..."
  return error.message.replace(/, with args beginning with:.*/s, '') || code || error.name;
}

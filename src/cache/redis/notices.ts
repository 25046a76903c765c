import type { RedisSettings } from './client.js';
import { databaseOf } from './client.js';
import type { RedisMaster } from './link.js';
import { valueOf } from './pipeline.js';
import type { Argument, Request } from './requests.js';
import type { Script } from './scripts.js';
import { NOTICE } from './scripts.js';

/** So long nobody relies on notices after a change of which none could be published. */
const SILENCE_MS = 60_000;

/**
 * The channel on which instances tell each other what they have changed, for those whom Redis itself does not tell.
 * Pub/sub knows no databases (redis.io/docs/latest/develop/interact/pubsub, "Database & Scoping"), so its name has the
 * number; `~` begins no namespace. None in a cluster: it would send each notice to all of its nodes.
 */
export function noticesOf(settings: RedisSettings): string | undefined {
  return settings.mode === 'cluster' ? undefined : `${settings.keyPrefix}~notices:${databaseOf(settings)}`;
}

/** A script that tells of what it changes, if there is a channel for it. */
export function telling(
  run: Script,
  keys: readonly string[],
  args: readonly Argument[],
  channel: string | undefined,
): Request {
  if (channel === undefined) return { run, args: [...keys, ...args] };
  return { run: { ...run, keys: run.keys + 1 }, args: [...keys, channel, ...args] };
}

/**
 * The sending end, by the connection that the data go by. A writer that may not publish can't say so on the channel: its
 * change leaves another value under the channel's name, in the same step, and who relies on notices looks there with each
 * of its canaries.
 */
export class Notices {
  private silence: string | undefined;
  private refused: string | undefined;

  constructor(
    readonly channel: string,
    private readonly master: RedisMaster,
  ) {}

  /** Why nobody hears what this instance changes, when it was last tried. */
  get refusal(): string | undefined {
    return this.refused;
  }

  /** Publishes a name. Returns why what was told until now, or will be, may not be all; undefined: it is. */
  async publish(name: string): Promise<string | undefined> {
    const [reply] = await this.master.send([{ run: NOTICE, args: [this.channel, name] }]);
    const [refusal, silence, nowMs] = valueOf(reply) as [string, string, string];
    const isNews = this.silence !== undefined && silence !== this.silence;
    this.silence = silence;
    this.refused = refusal === '' ? undefined : `PUBLISH: ${refusal}`;
    const isRecent = Math.abs(Number(nowMs) - Number(silence) / 1000) < SILENCE_MS;
    return this.refused ?? (isNews || isRecent ? 'an instance may not publish what it changes' : undefined);
  }
}

/** Undefined where there are none. */
export function noticesTo(master: RedisMaster, settings: RedisSettings): Notices | undefined {
  const channel = noticesOf(settings);
  return channel === undefined ? undefined : new Notices(channel, master);
}

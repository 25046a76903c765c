import { HybridLogicalClock } from '../../src/cache/replication/clock.js';
import { Canary } from '../../src/cache/replication/canary.js';
import { Coherence } from '../../src/cache/replication/coherence.js';
import { LocalCopy } from '../../src/cache/replication/local-copy.js';
import { Marks } from '../../src/cache/replication/marks.js';
import type { Mutation } from '../../src/cache/replication/mutation.js';
import type { Overflow } from '../../src/cache/replication/outbox.js';
import { Outbox } from '../../src/cache/replication/outbox.js';
import { Persistence } from '../../src/cache/replication/persistence.js';
import type { EntryDraft } from '../../src/cache/replication/replica.js';
import { Replica } from '../../src/cache/replication/replica.js';
import { ReplicaState } from '../../src/cache/replication/replica-state.js';
import { Session } from '../../src/cache/replication/session.js';
import type { CacheEntry } from '../../src/cache/storage/cache-entry.js';
import type { Known, Slot } from './model-redis.js';
import { Link } from './simulated-network.js';
import { ModelRedis } from './model-redis.js';

/** The core, or the scripts in Redis, without one of their rules. */
export interface Mutant {
  readonly name: string;
  /** Of the replication rules; the number is the section. */
  readonly rule: string;
  /** Takes the rule out of the core; returns how to put it back. */
  readonly apply?: () => () => void;
  /** The scripts without the rule. */
  readonly redis?: typeof ModelRedis;
  /** No promise depends on it: why it is there all the same. */
  readonly reason?: string;
}

type Method = (this: unknown, ...args: unknown[]) => unknown;

const HOUR_MS = 3_600_000;
const REPLICA = Replica.prototype;
const SESSION = Session.prototype;
const OUTBOX = Outbox.prototype;
const COHERENCE = Coherence.prototype;

/** The methods are private to the code, and the point here is to break them. */
function patch(owner: object, name: string, make: (original: Method) => Method): () => void {
  const original: unknown = Reflect.get(owner, name);
  if (typeof original !== 'function') throw new Error(`${name} is gone: its mutant has to follow the core`);
  Reflect.set(owner, name, make(original as Method));
  return () => void Reflect.set(owner, name, original);
}

const state = (owner: unknown): ReplicaState => Reflect.get(owner as object, 'state') as ReplicaState;
/** Changes what is known of a fetch before it is confirmed. */
function withFill(change: (of: { fill: object; coherence: object }) => void): () => void {
  return patch(
    COHERENCE,
    'confirm',
    (confirm) =>
      function (this, fill) {
        change({ fill: fill as object, coherence: this as object });
        confirm.call(this, fill);
      },
  );
}

const nothing: Method = () => undefined;
const nothingLater: Method = () => Promise.resolve();

class WithoutVersionCheck extends ModelRedis {
  protected override isBeaten(): boolean {
    return false;
  }
}

class WithoutTombstones extends ModelRedis {
  protected override slotAfter(slot: Slot, mutation: Mutation, isSet: boolean): Slot {
    return isSet ? super.slotAfter(slot, mutation, isSet) : { fence: slot.fence };
  }
}

class WithShortTombstones extends ModelRedis {
  protected override guardUntil(): number {
    return this.options.now() + HOUR_MS;
  }
}

class WithoutGuardAfterExpiry extends ModelRedis {
  protected override slotAfter(slot: Slot, mutation: Mutation, isSet: boolean): Slot {
    const after = super.slotAfter(slot, mutation, isSet);
    if (!isSet || after.guard === undefined) return after;
    return { ...after, guard: { ...after.guard, untilMs: Math.ceil(mutation.expiresAt) } };
  }
}

/** What has expired on its way leaves no trace. */
class SkippingExpired extends ModelRedis {
  protected override applyOne(mutation: Mutation, live: boolean): ReturnType<ModelRedis['applyOne']> {
    const isLate = mutation.bytes !== undefined && mutation.expiresAt <= this.options.now();
    return isLate ? { kind: 'applied', existed: false } : super.applyOne(mutation, live);
  }
}

class WithoutAheadGate extends ModelRedis {
  protected override believes(): boolean {
    return true;
  }
}

class WithoutFence extends ModelRedis {
  protected override newestFence(_slot: Slot, known: string): string {
    return known;
  }
}

class WithSetWinningTies extends ModelRedis {
  protected override isBeaten(version: string, isSet: boolean, known: Known, bound: string): boolean {
    return super.isBeaten(version, isSet, { ...known, deleted: false }, bound);
  }
}

class WithoutMarkGate extends ModelRedis {
  protected override believesMark(): boolean {
    return true;
  }
}

class WithoutExclusion extends ModelRedis {
  protected override isOfAnother(): boolean {
    return false;
  }
}

class WithLateLeases extends ModelRedis {
  protected override isLate(): boolean {
    return false;
  }
}

class WithPlainUnlink extends ModelRedis {
  protected override isRemoved({ value }: Slot): boolean {
    return value !== undefined;
  }
}

export const MUTANTS: readonly Mutant[] = [
  { name: 'no-version-check', rule: '3: newest wins in Redis', redis: WithoutVersionCheck },
  { name: 'no-tombstone', rule: '2: a delete leaves a tombstone', redis: WithoutTombstones },
  {
    name: 'short-tombstone',
    rule: '2: tombstones live MAX_LIFE from their version, not some time from their arrival',
    redis: WithShortTombstones,
  },
  {
    name: 'no-guard-after-expiry',
    rule: '2: short TTLs must not reopen the past',
    redis: WithoutGuardAfterExpiry,
  },
  {
    name: 'late-set-skipped',
    rule: '2: a set that arrives expired becomes a tombstone',
    redis: SkippingExpired,
  },
  {
    name: 'no-ahead-gate',
    rule: '1: Redis is the gate for versions from the future',
    redis: WithoutAheadGate,
  },
  { name: 'no-fence', rule: '7: a live write is above the fence of a running factory', redis: WithoutFence },
  {
    name: 'tie-won-by-set',
    rule: '3: of one version, the delete wins',
    redis: WithSetWinningTies,
    reason:
      'a value that was given up here may be served as long as others have it; the rule only ends the matter',
  },
  {
    name: 'expired-set-dropped',
    rule: '3: a queued set is never just skipped: expired, it shrinks to a tombstone',
    apply: () =>
      patch(
        SESSION,
        'drain',
        (drain) =>
          function (this) {
            const { outbox, clock } = state(this);
            for (const { mutation, state: kind } of outbox.all()) {
              if (kind === 'pending' && mutation.bytes !== undefined && mutation.expiresAt <= clock.time())
                outbox.remove(mutation);
            }
            return drain.call(this);
          },
      ),
  },
  {
    name: 'overflow-drops',
    rule: '3: at the bound, sets shrink to tombstones',
    apply: () =>
      patch(
        OUTBOX,
        'shrink',
        () =>
          function (this, mutation) {
            (this as Outbox).remove(mutation as Mutation);
          },
      ),
  },
  {
    name: 'stamp-at-end',
    rule: '7: a computed value carries the version at which its factory began',
    apply: () =>
      patch(
        REPLICA,
        'complete',
        (complete) =>
          function (this, key, draft) {
            return complete.call(this, key, draft, state(this).clock.tick());
          },
      ),
  },
  {
    name: 'acknowledged-by-key',
    rule: '3: an acknowledgement is of the version that it names',
    apply: () =>
      patch(
        OUTBOX,
        'acknowledge',
        (acknowledge) =>
          function (this, mutation, sinceMs) {
            const waiting = (this as Outbox).get((mutation as Mutation).key)?.mutation;
            return acknowledge.call(this, waiting ?? mutation, sinceMs);
          },
      ),
  },
  {
    name: 'marks-at-connect-only',
    rule: '5: a changed revision starts a merge of the marks',
    apply: () => patch(SESSION, 'hasMarks', () => () => true),
  },
  {
    name: 'serves-before-marks',
    rule: '5: nothing read from Redis is served before its marks are merged',
    apply: () =>
      patch(
        SESSION,
        'confirms',
        () =>
          function (this, _marks, number) {
            const session = this as Session;
            return Promise.resolve(number === session.current && session.online);
          },
      ),
  },
  {
    name: 'no-read-merge',
    rule: '3: a read merges the local copy, the outbox and Redis by version',
    apply: () =>
      patch(
        REPLICA,
        'reconcile',
        () =>
          function (this, key, value) {
            const { codec } = state(this);
            const { bytes } = value as { bytes?: Uint8Array };
            const entry = bytes && codec.decode(String(key), bytes);
            return Promise.resolve(entry && { entry, from: 'redis' });
          },
      ),
  },
  {
    name: 'no-restamp-of-live',
    rule: '1: a refused live write moves the clock and is sent again',
    apply: () =>
      patch(
        REPLICA,
        'write',
        (write) =>
          function (this, key, draft, begun) {
            return write.call(this, key, draft, begun ?? state(this).clock.tick());
          },
      ),
  },
  {
    name: 'mark-at-clock',
    rule: '1: a mark is stamped ahead by the alignment error',
    apply: () =>
      patch(
        REPLICA,
        'markVersion',
        () =>
          function (this) {
            return state(this).clock.tick();
          },
      ),
  },
  {
    name: 'no-restamp-at-connect',
    rule: '1: what was stamped before the first alignment is re-stamped',
    apply: () => patch(SESSION, 'restamp', () => nothing),
  },
  {
    name: 'no-alignment',
    rule: '1: the clock goes by Redis TIME',
    apply: () =>
      patch(
        HybridLogicalClock.prototype,
        'align',
        (align) =>
          function (this) {
            const clock = this as HybridLogicalClock;
            return align.call(this, clock.machineTime(), clock.machineTime());
          },
      ),
  },
  {
    name: 'acknowledged-is-kept',
    rule: '3: acknowledged writes are offered again after a failover',
    reason: 'a failover shows by the run id, and is taken for a loss of data; this does not depend on that',
    apply: () =>
      patch(
        SESSION,
        'reopen',
        (reopen) =>
          function (this) {
            return Reflect.get(this as object, 'dataLost') === true ? reopen.call(this) : Promise.resolve();
          },
      ),
  },
  {
    name: 'no-reopen-after-loss',
    rule: '3: acknowledged deletes are offered again after a loss',
    apply: () => patch(SESSION, 'reopen', () => nothingLater),
  },
  {
    name: 'no-offers-after-loss',
    rule: '4: live entries are offered to a Redis that lost its data',
    apply: () =>
      patch(
        SESSION,
        'offer',
        () =>
          function (this) {
            Reflect.set(this as object, 'dataLost', false);
          },
      ),
  },
  {
    name: 'no-incarnation-check',
    rule: '4: another incarnation of the marks is a loss of data',
    apply: () => patch(SESSION, 'noteLoss', () => nothing),
  },
  {
    name: 'no-read-repair',
    rule: '3: who knows something newer than Redis has offers it',
    apply: () => patch(REPLICA, 'repair', () => nothing),
  },
  {
    name: 'expiry-renewed',
    rule: '2: a replay renews no expiry',
    apply: () =>
      patch(
        SESSION,
        'asSent',
        (asSent) =>
          function (this, mutation) {
            const sent = asSent.call(this, mutation) as Mutation;
            return sent.bytes === undefined ? sent : { ...sent, expiresAt: sent.expiresAt + 60_000 };
          },
      ),
  },
  {
    name: 'deletes-kept-as-sets',
    rule: '3: tombstones stay in the log for their whole life',
    apply: () =>
      patch(
        OUTBOX,
        'expire',
        (expire) =>
          function (this, setsBeforeMs) {
            return expire.call(this, setsBeforeMs, 'f'.repeat(32));
          },
      ),
  },
  {
    name: 'seen-not-noted',
    rule: '3: what somebody else deleted does not come back from here',
    apply: () => patch(OUTBOX, 'see', () => nothing),
  },
  {
    name: 'journal-not-awaited',
    rule: 'P7: what was accepted in an outage is durable before it is answered',
    apply: () => {
      const inBackground = (original: Method): Method =>
        function (this, ...args) {
          void original.apply(this, args);
          return Promise.resolve();
        };
      const undoJournal = patch(Persistence.prototype, 'saveItems', inBackground);
      // It is written after the journal.
      const undoStore = patch(ReplicaState.prototype, 'storeLocally', inBackground);
      return () => {
        undoJournal();
        undoStore();
      };
    },
  },
  {
    name: 'marks-not-in-journal',
    rule: 'P7: marks that Redis has not got survive a crash',
    apply: () => patch(Persistence.prototype, 'saveMarks', () => nothingLater),
  },
  {
    name: 'local-copy-last-wins',
    rule: '3: the local copy keeps the newest, too',
    apply: () =>
      patch(
        LocalCopy.prototype,
        'put',
        () =>
          function (this, key, _version, entry) {
            const copy = this as LocalCopy;
            const value = (entry as () => Parameters<LocalCopy['store']['set']>[1] | undefined)();
            const { store } = { store: copy['store'] };
            return value === undefined ? store.delete(String(key)) : store.set(String(key), value);
          },
      ),
  },
  {
    name: 'marks-last-wins',
    rule: '5: marks merge by maximum',
    apply: () =>
      patch(
        Marks.prototype,
        'merge',
        () =>
          function (this, record) {
            for (const [name, version] of record as ReadonlyMap<string, string>)
              (this as Marks).restamp(name, version);
            return true;
          },
      ),
  },
  {
    name: 'tags-forgotten-at-the-cap',
    rule: '3: at the cap, tag marks fold into a floor',
    apply: () =>
      patch(
        Marks.prototype,
        'fold',
        () =>
          function (this) {
            const marks = this as Marks;
            const [tags, most] = [marks['tags'], marks['maxTags']];
            for (const tag of tags.keys()) if (tags.size > most) tags.delete(tag);
          },
      ),
  },
  { name: 'marks-from-the-future', rule: '1: Redis is the gate for marks, too', redis: WithoutMarkGate },
  {
    name: 'plain-unlink',
    rule: '5: reclaiming removes a value of exactly the version that is dead',
    redis: WithPlainUnlink,
  },
  {
    name: 'stamps-made-twice',
    rule: '1: a clock that was set back has another name, or two values have one version',
    apply: () =>
      patch(
        HybridLogicalClock.prototype,
        'rewind',
        (rewind) =>
          function (this, isWrong) {
            const name: unknown = Reflect.get(this as object, 'nodeId');
            rewind.call(this, isWrong);
            Reflect.set(this as object, 'nodeId', name);
          },
      ),
  },
  {
    name: 'rewound-too-far',
    rule: '1: a clock that is set back stays above what it has made while it was right',
    apply: () =>
      patch(
        HybridLogicalClock.prototype,
        'rewind',
        (rewind) =>
          function (this) {
            return rewind.call(this, () => true);
          },
      ),
  },
  {
    name: 'factory-of-a-wrong-clock',
    rule: '7: the result of a factory that began by a wrong clock is not stored',
    apply: () =>
      patch(
        REPLICA,
        'complete',
        () =>
          async function (this, key, draft, version) {
            const replica = this as Replica;
            const entryOf = () => replica['entryOf'](draft as EntryDraft, String(version));
            return (await replica['write'](String(key), entryOf, String(version))).landed;
          },
      ),
  },
  {
    name: 'life-from-the-end-of-a-factory',
    rule: '2: nothing lives longer than MAX_LIFE from its version',
    apply: () =>
      patch(
        REPLICA,
        'entryOf',
        (entryOf) =>
          function (this, draft, version) {
            const entry = entryOf.call(this, draft, version) as CacheEntry;
            return { ...entry, expiresAt: entry.createdAt + (draft as EntryDraft).lifeMs };
          },
      ),
  },
  {
    name: 'fold-without-clear',
    rule: '3: tombstones that the outbox has no room for fold into a clear',
    apply: () =>
      patch(
        ReplicaState.prototype,
        'settleOverflow',
        (settle) =>
          function (this, overflow) {
            const { foldInto, ...rest } = overflow as Overflow;
            if (foldInto !== undefined) (this as ReplicaState).outbox.clearUpTo(foldInto);
            return settle.call(this, { ...rest, foldInto: undefined });
          },
      ),
  },
  {
    name: 'marks-told-once',
    rule: '5: a mark that Redis did not take is told again at the next heartbeat',
    apply: () =>
      patch(
        SESSION,
        'beat',
        (beat) =>
          function (this) {
            Reflect.set(this as object, 'marksUntold', false);
            return beat.call(this);
          },
      ),
  },
  {
    name: 'held-by-key',
    rule: '3: while a write is being sent, a newer one of its key is not held back',
    apply: () =>
      patch(
        OUTBOX,
        'insert',
        (insert) =>
          function (this, item) {
            const { items } = this as { readonly items: ReadonlyMap<string, { held: boolean }> };
            const { key } = (item as { mutation: Mutation }).mutation;
            const held = items.get(key)?.held === true;
            insert.call(this, item);
            const placed = items.get(key);
            if (placed !== undefined) placed.held ||= held;
          },
      ),
  },
  {
    name: 'beaten-by-its-delete-and-waits',
    rule: '3: a waiting set gives way to the delete of its own version',
    apply: () =>
      patch(
        OUTBOX,
        'see',
        (see) =>
          function (this, key, version, kind, sinceMs) {
            if ((this as Outbox).get(String(key))?.mutation.version === version) return undefined;
            return see.call(this, key, version, kind, sinceMs);
          },
      ),
  },
  {
    name: 'run-id-ignored',
    rule: '4: another run id is a loss of data',
    apply: () =>
      patch(
        Link.prototype,
        'hello',
        (hello) =>
          async function (this) {
            return { ...((await hello.call(this)) as object), runId: 'the same' };
          },
      ),
  },
  {
    name: 'acknowledged-before-the-loss',
    rule: '4: what Redis took before a loss is not acknowledged by what comes after',
    apply: () =>
      patch(
        SESSION,
        'noteLoss',
        (noteLoss) =>
          function (this) {
            noteLoss.call(this);
            (this as Session).losses = 0;
          },
      ),
  },
  {
    name: 'expired-not-restored',
    rule: '4: a set that has expired is offered as a tombstone, after a loss, too',
    apply: () =>
      patch(
        OUTBOX,
        'reopen',
        (reopen) =>
          function (this, key, version, bytes, sinceMs) {
            const item = (this as Outbox).get(String(key));
            if (bytes === undefined && item !== undefined && item.mutation.expiresAt > 0) return;
            reopen.call(this, key, version, bytes, sinceMs);
          },
      ),
  },
  {
    name: 'gone-is-not-remembered',
    rule: '3: whoever has read that a key is gone restores that where Redis has lost it',
    apply: () =>
      patch(
        ReplicaState.prototype,
        'learn',
        (learn) =>
          function (this, key, version, value, beaten) {
            return learn.call(this, key, version, value === 'gone' ? 'unknown' : value, beaten);
          },
      ),
  },
  {
    name: 'not-above-what-is-known',
    rule: '1: a write is stamped above what is known of its key',
    apply: () => patch(REPLICA, 'isStale', () => () => false),
  },
  {
    name: 'journal-not-written',
    rule: 'P7: what was accepted in an outage is written to the journal',
    apply: () => patch(Persistence.prototype, 'saveItems', () => nothingLater),
  },
  {
    name: 'journal-not-loaded',
    rule: 'P7: a restarted instance takes up what its journal has',
    apply: () =>
      patch(Persistence.prototype, 'load', () => () => {
        return Promise.resolve({ items: [], marks: new Map(), acquaintance: undefined, version: '' });
      }),
  },
  {
    name: 'acquaintance-not-in-journal',
    rule: '4: a restarted instance knows which Redis it was connected to',
    apply: () => patch(Persistence.prototype, 'saveState', () => nothingLater),
  },
  {
    name: 'sets-drained-first',
    rule: '3: deletes are drained before sets',
    reason: 'keys do not depend on each other; the order makes what is urgent quick, and versions decide',
    apply: () =>
      patch(
        OUTBOX,
        'batch',
        (batch) =>
          function (this, maxBytes, maxEntries) {
            return (batch.call(this, maxBytes, maxEntries) as Mutation[]).toReversed();
          },
      ),
  },
  {
    name: 'cold-joiner-believes',
    rule: '5: without marks and memory of them, entries are misses for a heartbeat',
    apply: () => patch(SESSION, 'beCold', () => nothing),
  },
  {
    name: 'told-and-served',
    rule: '6: what Redis told of is looked up before it is served again',
    apply: () => patch(COHERENCE, 'changed', () => nothing),
  },
  {
    name: 'marks-told-and-served',
    rule: '5: when the record of the marks has changed, nothing is served until they are merged',
    apply: () => patch(SESSION, 'marksChanged', () => nothing),
  },
  {
    name: 'fill-survives-a-push',
    rule: '6: what changes while it is fetched is not known to be what Redis has',
    apply: () => withFill(({ fill }) => void Reflect.set(fill, 'isSpoilt', false)),
  },
  {
    name: 'fill-survives-a-gap',
    rule: '6: what was being fetched when the channel was lost is not known to be what Redis has',
    reason:
      'a fetch has to outlast a gap and the new arming within its time-out: too rare here, a unit test has it',
    apply: () =>
      withFill(({ fill, coherence }) => void Reflect.set(fill, 'epoch', Reflect.get(coherence, 'epoch'))),
  },
  {
    name: 'checked-for-ever',
    rule: '6: after a gap of the channel every entry is looked up again',
    apply: () =>
      patch(
        COHERENCE,
        'disarm',
        () =>
          function (this) {
            Reflect.set(this as object, 'armed', false);
          },
      ),
  },
  {
    name: 'loss-not-noticed',
    rule: '6: while changes are not told, every read compares',
    apply: () => patch(COHERENCE, 'disarm', () => nothing),
  },
  {
    name: 'checked-while-armed',
    rule: '6: coherence belongs to an entry, not only to the channel',
    apply: () =>
      patch(
        COHERENCE,
        'isChecked',
        () =>
          function (this) {
            return (this as Coherence).isArmed;
          },
      ),
  },
  {
    name: 'peek-unchecked',
    rule: '6: peek answers only what is checked, while Redis is up',
    apply: () =>
      patch(
        REPLICA,
        'peek',
        () =>
          function (this, key) {
            return state(this).visible(state(this).peek(String(key))?.entry);
          },
      ),
  },
  {
    name: 'echoes-suppressed',
    rule: '6: echoes are never counted or suppressed',
    apply: () => {
      const echoes = new WeakMap<object, Map<unknown, number>>();
      const expected = (owner: unknown): Map<unknown, number> => {
        const own = echoes.get(owner as object) ?? new Map<unknown, number>();
        echoes.set(owner as object, own);
        return own;
      };
      const undoAttempt = patch(
        REPLICA,
        'attempt',
        (attempt) =>
          async function (this, mutation, live, budget) {
            const outcome = (await attempt.call(this, mutation, live, budget)) as
              { kind: string } | undefined;
            const { key } = mutation as Mutation;
            if (outcome?.kind === 'applied') expected(this).set(key, (expected(this).get(key) ?? 0) + 1);
            return outcome;
          },
      );
      const undoChanged = patch(
        REPLICA,
        'changed',
        (changed) =>
          function (this, key, isLease) {
            const own = expected(this).get(key) ?? 0;
            if (isLease === true || own === 0) return changed.call(this, key, isLease);
            return void expected(this).set(key, own - 1);
          },
      );
      return () => {
        undoAttempt();
        undoChanged();
      };
    },
  },
  {
    name: 'canary-not-awaited',
    rule: '6: a channel that does not tell of its canary in time is lost',
    apply: () =>
      patch(
        Canary.prototype,
        'send',
        (send) =>
          function (this) {
            const options: object = Reflect.get(this as object, 'options') as object;
            Reflect.set(this as object, 'options', { ...options, onMissed: () => {} });
            send.call(this);
          },
      ),
  },
  {
    name: 'canary-after-it-was-heard',
    rule: '10: the bound is the heartbeat and its time-out, however slow the last canary was',
    apply: () =>
      patch(
        Canary.prototype,
        'skip',
        (skip) =>
          function (this) {
            Reflect.set(this as object, 'awaited', undefined);
            skip.call(this);
          },
      ),
  },
  { name: 'lease-for-all', rule: '7: one holder at a time', redis: WithoutExclusion },
  {
    name: 'lease-not-renewed',
    rule: '7: a lease is renewed while the factory runs',
    apply: () => patch(REPLICA, 'renew', () => nothingLater),
  },
  {
    name: 'lease-not-released',
    rule: '7: a lease ends with its computation',
    apply: () => patch(REPLICA, 'release', () => nothingLater),
  },
  {
    name: 'release-not-told',
    rule: '7: a release wakes those who wait',
    apply: () =>
      patch(
        REPLICA,
        'changed',
        (changed) =>
          function (this, key, isLease) {
            if (isLease !== true) changed.call(this, key, isLease);
          },
      ),
  },
  {
    name: 'late-lease',
    rule: '7: an acquire that runs past its deadline does nothing',
    redis: WithLateLeases,
  },
  {
    name: 'held-without-a-look',
    rule: '7: who gets the lease looks for the result of its last holder',
    apply: () =>
      patch(
        REPLICA,
        'lease',
        (lease) =>
          async function (this, ...args) {
            const answer = (await lease.apply(this, args)) as object;
            return 'known' in answer ? { ...answer, known: '' } : answer;
          },
      ),
  },
];

export function mutantNamed(name: string): Mutant {
  const mutant = MUTANTS.find((candidate) => candidate.name === name);
  if (mutant === undefined)
    throw new RangeError(`There is no mutant ${name}; --mutant list has their names.`);
  return mutant;
}

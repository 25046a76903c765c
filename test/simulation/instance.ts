import { HybridLogicalClock } from '../../src/cache/replication/clock.js';
import { placeOf } from '../../src/cache/redis/keyspace.js';
import { LEASE_MS, RENEWAL } from '../../src/cache/replication/lease.js';
import type { Busy, Held } from '../../src/cache/replication/lease.js';
import type { MarksRecord } from '../../src/cache/replication/remote.js';
import type { EntryDraft, Landing } from '../../src/cache/replication/replica.js';
import { Replica } from '../../src/cache/replication/replica.js';
import { describe } from './describe.js';
import type { EntryTable } from './entry-table.js';
import type { MarkRecord, Payload, ProcessRecord, WriteRecord } from './history.js';
import type { MachineClock } from './machine-clock.js';
import { DiskWriter, ModelDisk, ModelDiskStore, ModelJournal, ModelMemoryStore } from './model-storage.js';
import { observe } from './observer.js';
import type { Oracle } from './oracle.js';
import type { Random } from './random.js';
import type { Handle, Scheduler } from './scheduler.js';
import type { Flight } from './flight-oracle.js';
import { Channel } from './simulated-channel.js';
import type { CallName, Push, Server } from './simulated-network.js';
import { COMMAND_TIMEOUT_MS, Link } from './simulated-network.js';

export interface World {
  readonly scheduler: Scheduler;
  readonly server: Server;
  readonly oracle: Oracle;
  readonly entries: EntryTable;
  readonly maxLifeMs: number;
  trace(line: () => string): void;
}

export interface InstanceOptions {
  readonly node: number;
  readonly disk: boolean;
  readonly clock: MachineClock;
  readonly random: Random;
  readonly outboxMaxBytes: number;
  readonly outboxMaxEntries: number;
  readonly maxTagMarks: number;
}

export interface Draft {
  readonly lifeMs: number;
  readonly tags: readonly string[];
  readonly pad: number;
}

/** No call may take longer, whatever Redis does: one time-out, and what the disk takes to commit. */
const LONGEST_CALL_MS = COMMAND_TIMEOUT_MS + 50;
/** It measures by a clock that was set meanwhile: each of its attempts may take its time. */
const LONGEST_ATTEMPTS_MS = 3 * LONGEST_CALL_MS;

/** One instance of the application, from start to crash; a restart makes another, on the same disk. */
export class Instance {
  readonly record: ProcessRecord;
  readonly link: Link;
  readonly channel: Channel;
  readonly replica: Replica;
  private readonly clock: HybridLogicalClock;
  private readonly writer: DiskWriter;
  private readonly deleting = new Set<string>();
  private readonly computing = new Set<string>();
  private running = 0;
  private isArmed = false;
  private open = false;

  constructor(
    private readonly world: World,
    private readonly options: InstanceOptions,
    disk: ModelDisk,
    generation: number,
  ) {
    const { scheduler, server } = world;
    const { random, clock, node } = options;
    this.record = {
      node,
      generation,
      durable: options.disk,
      endedAt: undefined,
      overflowed: false,
      stepped: false,
    };
    this.clock = new HybridLogicalClock(random.hex(16), clock.now);
    this.link = new Link(scheduler, server, random, this);
    this.channel = new Channel(scheduler, server, random, this, random.hex(8));
    this.writer = new DiskWriter(scheduler, random);
    this.replica = this.createReplica(disk);
    observe(this.replica, this.record, world.oracle, this);
  }

  get time(): number {
    return this.clock.time();
  }

  private readonly now = (): number => this.clock.time();

  get errorMs(): number {
    return this.clock.errorMs;
  }

  get aligned(): boolean {
    return this.clock.aligned;
  }

  get alive(): boolean {
    return this.open && this.record.endedAt === undefined;
  }

  get isComputing(): boolean {
    return this.running > 0;
  }

  async start(): Promise<void> {
    await this.replica.open();
    this.open = true;
    this.link.open();
    this.channel.open();
  }

  crash(): void {
    this.record.endedAt = this.world.oracle.next();
    this.world.oracle.flights.died(this.record);
    this.link.close();
    this.channel.close();
    this.writer.die();
  }

  connected(): void {
    this.world.trace(() => `node ${this.record.node} is connected`);
    this.channel.retry();
    this.replica.connected();
  }

  disconnected(): void {
    this.world.trace(() => `node ${this.record.node} is disconnected`);
    this.replica.disconnected();
  }

  touch(name: string): Promise<unknown> {
    return this.link.touch(name);
  }

  armed(): void {
    this.world.trace(() => `node ${this.record.node} is told of changes`);
    this.isArmed = true;
    this.replica.armed();
  }

  disarmed(): void {
    this.world.trace(() => `node ${this.record.node} is not told of changes`);
    this.isArmed = false;
    this.replica.disarmed();
  }

  /** As `RedisSide` does it. */
  told(push: Push): void {
    const { oracle, scheduler } = this.world;
    if (push.names === undefined && this.isArmed) {
      this.replica.disarmed();
      this.replica.armed();
    }
    for (const name of push.names ?? []) {
      const place = placeOf('', name);
      if (place === undefined) continue;
      this.world.trace(() => `node ${this.record.node} is told of ${name}`);
      if (place.isLease && place.key !== undefined)
        scheduler.after(1, oracle.flights.waitersAtPush(this.record, place.key));
      this.replica.changed(place.key, place.isLease);
    }
    oracle.coherence.told(this.record, push);
  }

  received(call: CallName, args: readonly unknown[], reply: unknown): void {
    const { oracle, entries, trace } = this.world;
    if (call !== 'beat' && call !== 'touch') {
      trace(() => {
        const question = args.map((arg) => describe(arg, entries)).join(' ');
        return `node ${this.record.node} ${call} ${question} -> ${describe(reply, entries)}`;
      });
    }
    if (call === 'exchangeMarks') {
      oracle.learnedMarks(this.record, (reply as { marks: MarksRecord }).marks);
    }
  }

  async set(key: string, draft: Draft): Promise<void> {
    const record = this.world.oracle.begin(this.record, 'set', key, draft.tags);
    await this.run(record, () => this.replica.set(key, draftOf(record, draft)));
  }

  /** One at a time, so that the oracle can tell whose versions are whose. */
  async delete(key: string): Promise<void> {
    if (this.deleting.has(key)) return;
    this.deleting.add(key);
    const record = this.world.oracle.begin(this.record, 'delete', key, []);
    await this.run(record, async () => (await this.replica.delete(key)).landed);
    this.deleting.delete(key);
  }

  /** A computation that nobody shares. */
  async compute(key: string, draft: Draft, runMs: number): Promise<void> {
    this.running += 1;
    const version = await this.replica.begin(key);
    await this.runFactory(key, draft, runMs, version);
    this.running -= 1;
  }

  /** What `Cache` does for a caller to whom what is there is not good enough; one at a time in each instance. */
  async computeOnce(key: string, draft: Draft, runMs: number): Promise<void> {
    if (this.computing.has(key)) return;
    this.computing.add(key);
    this.running += 1;
    const { flights } = this.world.oracle;
    const token = this.options.random.hex(16);
    const flight = flights.begin(this.record, key, token);
    try {
      flight.seen = (await this.versionOf(key)) ?? '';
      const lease = await this.leaseOrResult(flight);
      if (lease === undefined) flights.joined(flight);
      else if (this.alive)
        await this.holding(flight, lease, () => this.runFlight(flight, lease, draft, runMs));
    } catch (error) {
      this.world.oracle.fail('P1', `a computation threw ${String(error)}`);
    }
    this.computing.delete(key);
    this.running -= 1;
  }

  /** Undefined: another has computed it meanwhile. */
  private async leaseOrResult(flight: Flight): Promise<Held | undefined> {
    const { flights } = this.world.oracle;
    const { key, token } = flight;
    let { seen } = flight;
    for (;;) {
      flights.asks(flight, this.world.oracle.errorOf(this));
      const lease = await this.replica.lease(key, token);
      if (lease.kind === 'theirs') await this.released(lease, flight);
      else if (lease.known <= seen) return lease;
      const version = await this.versionOf(key);
      if (version !== undefined && version > flight.seen) {
        if (lease.kind === 'mine') await this.holding(flight, lease, () => Promise.resolve());
        return undefined;
      }
      if (lease.kind === 'mine') return lease;
      seen = version ?? seen;
    }
  }

  private async released(busy: Busy, flight: Flight): Promise<void> {
    const done = this.world.oracle.flights.waits(flight);
    await this.replica.released(busy, new AbortController().signal);
    done();
  }

  private async holding(flight: Flight, { token }: Held, work: () => Promise<void>): Promise<void> {
    const { key } = flight;
    const renew = (): void => {
      if (!this.alive || flight.endedMs !== undefined || token === undefined) return;
      void this.replica.renew(key, token);
      this.world.scheduler.after(LEASE_MS * RENEWAL, renew);
    };
    this.world.scheduler.after(LEASE_MS * RENEWAL, renew);
    await work();
    this.world.oracle.flights.end(flight);
    if (token !== undefined) void this.replica.release(key, token);
  }

  private runFlight(flight: Flight, { version }: Held, draft: Draft, runMs: number): Promise<void> {
    return this.runFactory(flight.key, draft, runMs, version, (record) =>
      this.world.oracle.flights.computes(flight, record),
    );
  }

  private async runFactory(
    key: string,
    draft: Draft,
    runMs: number,
    version: string,
    begun: (record: WriteRecord) => void = () => {},
  ): Promise<void> {
    const { oracle } = this.world;
    const record = oracle.begin(this.record, 'compute', key, draft.tags);
    oracle.issued(record, version, this);
    begun(record);
    await this.run(record, async () => {
      await this.sleep(runMs);
      record.completedAt = oracle.next();
      return this.replica.complete(key, draftOf(record, draft), version);
    });
  }

  private async versionOf(key: string): Promise<string | undefined> {
    return (await this.read([key]))[0];
  }

  async mark(tags: readonly string[] | undefined): Promise<void> {
    const { oracle } = this.world;
    const names = tags === undefined ? ['clear'] : tags.map((tag) => `tag:${tag}`);
    const landing = tags === undefined ? this.replica.clear() : this.replica.invalidateTags(tags);
    // Stamped within the call; what a bound has folded at once counts under that name.
    const own = this.replica['state'].marks.record();
    const records = names.map((name) => {
      const version = own.get(name) ?? own.get('floor') ?? '';
      return oracle.marking(this.record, own.has(name) ? name : 'floor', version, this);
    });
    await this.runMark(records, landing);
  }

  async read(keys: readonly string[]): Promise<(string | undefined)[]> {
    const { oracle, server, entries } = this.world;
    const read = oracle.reading(this.record, keys, server.redis);
    const before = this.dealings;
    for (const key of keys) {
      const entry = this.replica.peek(key);
      if (entry !== undefined) oracle.served(read, key, entry, 'local', before !== undefined);
    }
    try {
      const found = await this.replica.read(keys);
      const online = before !== undefined && before === this.dealings;
      for (const [index, key] of keys.entries()) {
        const hit = found[index];
        if (hit !== undefined) oracle.served(read, key, hit.entry, hit.from, online);
      }
      this.world.trace(() => `node ${this.record.node} read ${keys.join()} -> ${describe(found, entries)}`);
      return found.map((hit) => hit?.entry.version);
    } catch (error) {
      oracle.fail('P1', `a read threw ${String(error)}`);
      return [];
    }
  }

  /** The same at two times: Redis was there all the time, and answered. */
  private get dealings(): string | undefined {
    const { online, remoteFaults } = this.replica.stats();
    const session = this.replica['session'];
    return online && !session.restoring ? `${session.current} ${remoteFaults}` : undefined;
  }

  checkBounds(): void {
    const { outbox, tagMarks } = this.replica.stats();
    const entries = outbox.pending + outbox.acknowledged;
    const { outboxMaxEntries, maxTagMarks } = this.options;
    const isWithin =
      entries <= outboxMaxEntries && outbox.bytes <= outbox.maxBytes && tagMarks <= maxTagMarks;
    if (!isWithin)
      this.world.oracle.fail(
        'P10',
        `${entries} entries, ${outbox.bytes} bytes, ${tagMarks} tags in node ${this.record.node}`,
      );
  }

  private async run(record: WriteRecord, call: () => Promise<Landing>): Promise<void> {
    const { oracle, scheduler, trace } = this.world;
    const begunMs = scheduler.nowMs;
    try {
      const landed = await call();
      oracle.end(record, landed);
      this.checkBounds();
      trace(() => `node ${this.record.node} ${record.kind} ${record.key} ${record.version} -> ${landed}`);
    } catch (error) {
      oracle.fail('P1', `a ${record.kind} threw ${String(error)}`);
    }
    const longestMs = this.record.stepped ? LONGEST_ATTEMPTS_MS : LONGEST_CALL_MS;
    if (record.kind !== 'compute' && scheduler.nowMs - begunMs > longestMs)
      oracle.fail('P1', `a ${record.kind} took ${scheduler.nowMs - begunMs} ms`);
  }

  private async runMark(records: readonly MarkRecord[], landing: Promise<Landing>): Promise<void> {
    const { oracle, scheduler, trace } = this.world;
    const begunMs = scheduler.nowMs;
    try {
      const landed = await landing;
      for (const record of records) oracle.endMark(record, landed);
      this.checkBounds();
      trace(
        () =>
          `node ${this.record.node} marked ${records.map(({ name, version }) => `${name} ${version}`).join()} -> ${landed}`,
      );
    } catch (error) {
      oracle.fail('P1', `a mark threw ${String(error)}`);
    }
    if (!this.record.stepped && scheduler.nowMs - begunMs > LONGEST_CALL_MS)
      oracle.fail('P1', `a mark took ${scheduler.nowMs - begunMs} ms`);
  }

  private sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.world.scheduler.after(ms, () => this.alive && resolve()));
  }

  private createReplica(disk: ModelDisk): Replica {
    const { scheduler, maxLifeMs } = this.world;
    const { random, outboxMaxBytes, outboxMaxEntries, maxTagMarks, disk: durable } = this.options;
    const { commit } = this.writer;
    return new Replica({
      local: durable
        ? new ModelDiskStore(disk.entries, commit, this.now)
        : new ModelMemoryStore(new Map(), this.now),
      remote: this.link,
      journal: durable ? new ModelJournal(disk.records, commit) : undefined,
      codec: this.world.entries,
      clock: this.clock,
      random: random.next,
      timers: {
        set: (ms, run) => scheduler.after(ms, () => this.record.endedAt === undefined && run()),
        clear: (handle) => scheduler.cancel(handle as Handle),
      },
      maxLifeMs,
      outboxMaxBytes,
      outboxMaxEntries,
      maxTagMarks,
      callBudgetMs: COMMAND_TIMEOUT_MS,
    });
  }
}

function draftOf({ id }: WriteRecord, { lifeMs, tags, pad }: Draft): EntryDraft {
  return { value: { id, pad } satisfies Payload, tags, freshMs: lifeMs / 2, lifeMs };
}

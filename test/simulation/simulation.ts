import { withShortVersions } from './describe.js';
import { EntryTable } from './entry-table.js';
import type { Violation } from './history.js';
import type { InstanceOptions, World } from './instance.js';
import { Instance } from './instance.js';
import { EPOCH_MS, MachineClock } from './machine-clock.js';
import { ModelRedis } from './model-redis.js';
import { ModelDisk } from './model-storage.js';
import { Oracle } from './oracle.js';
import { Random } from './random.js';
import type { Action, NodePlan, Schedule } from './schedule.js';
import { CALLS, MAX_LIFE_MS } from './schedule.js';
import { Scheduler } from './scheduler.js';
import { FAIR, Server } from './simulated-network.js';

export interface Run {
  readonly violation: Violation | undefined;
  /** Kinds of the actions that took place, by how often. */
  readonly actions: ReadonlyMap<string, number>;
  readonly trace: readonly string[];
}

export interface RunOptions {
  readonly traced?: boolean;
  readonly redis?: typeof ModelRedis;
}

interface Node {
  readonly plan: NodePlan;
  readonly options: InstanceOptions;
  readonly disk: ModelDisk;
  generation: number;
  instance: Instance | undefined;
}

const HEARTBEAT_MS = 1000;
/** When Redis saved its data last, from the start: all have met by then. */
const SNAPSHOT_MS = 1000;
/** Longer than its canary may take. */
const SLOW_CHANNEL_MS = 1300;
/** As long as all computations one after the other. */
const COMPUTE_HEARTBEATS = 150;
const MERGE_HEARTBEATS = 25;
const JOINER: NodePlan = { disk: false, skewMs: 40_000, driftPpm: 20, startMs: 0 };

/** Plays one schedule, then heals everything, and compares what is everywhere. */
export class Simulation implements World {
  readonly scheduler = new Scheduler();
  readonly server: Server;
  readonly oracle: Oracle;
  readonly entries: EntryTable;
  readonly maxLifeMs = MAX_LIFE_MS;
  private readonly redis: ModelRedis;
  private readonly nodes: Node[];
  private readonly lines: string[] = [];
  private readonly actions = new Map<string, number>();
  private leapsMs = 0;
  private redisClockMs = 0;
  private endOutage: (() => void) | undefined;

  constructor(
    private readonly schedule: Schedule,
    private readonly options: RunOptions = {},
  ) {
    this.oracle = new Oracle({
      time: this.redisTime,
      trueTime: this.trueTime,
      nowMs: () => this.scheduler.nowMs,
      maxLifeMs: MAX_LIFE_MS,
    });
    this.entries = new EntryTable((key, entry) => this.oracle.encoded(key, entry));
    const random = Random.of(schedule.seed, 'redis');
    const Redis = options.redis ?? ModelRedis;
    const { redisTime: now, oracle: observer, scheduler } = this;
    const tell = (name: string | undefined): void => this.server.tell(name);
    this.redis = new Redis({ now, maxLifeMs: MAX_LIFE_MS, runId: () => random.hex(8), observer, tell });
    this.server = new Server(this.redis, scheduler, random, () => observer.next());
    this.nodes = schedule.nodes.map((plan, index) => this.createNode(plan, index));
  }

  async run(): Promise<Run> {
    const { scheduler, oracle, schedule } = this;
    for (const node of this.nodes) scheduler.after(node.plan.startMs, () => this.start(node));
    for (const { atMs, action } of schedule.steps) {
      await scheduler.advance(Math.max(0, atMs - scheduler.nowMs));
      if (oracle.violation !== undefined) break;
      this.trace(() => `--- ${JSON.stringify(action)}`);
      this.actions.set(action.kind, (this.actions.get(action.kind) ?? 0) + 1);
      this.noteFault(action);
      this.act(action);
      for (const { instance } of this.nodes) instance?.checkBounds();
    }
    for (const phase of [this.heal, this.merge, this.join, this.compare, this.part]) {
      if (oracle.violation === undefined) await phase.call(this);
    }
    return { violation: oracle.violation, actions: this.actions, trace: this.lines };
  }

  readonly trace = (line: () => string): void => {
    if (this.options.traced !== true) return;
    this.lines.push(`${this.scheduler.nowMs.toFixed(1).padStart(9)}  ${withShortVersions(line())}`);
  };

  private readonly trueTime = (): number => EPOCH_MS + this.scheduler.nowMs + this.leapsMs;
  private readonly redisTime = (): number => this.trueTime() + this.redisClockMs;

  private get alive(): Instance[] {
    return this.nodes.flatMap(({ instance }) => (instance?.alive === true ? [instance] : []));
  }

  private createNode(plan: NodePlan, node: number): Node {
    const { seed, outboxMaxBytes, outboxMaxEntries, maxTagMarks } = this.schedule;
    const clock = new MachineClock(this.trueTime, plan.skewMs, plan.driftPpm);
    const random = Random.of(seed, `node ${node}`);
    const bounds = { outboxMaxBytes, outboxMaxEntries, maxTagMarks };
    const options = { node, disk: plan.disk, clock, random, ...bounds };
    return { plan, options, disk: new ModelDisk(), generation: 0, instance: undefined };
  }

  private start(node: Node): void {
    if (node.instance !== undefined && node.instance.record.endedAt === undefined) return;
    node.generation += 1;
    this.trace(() => `node ${node.options.node} starts${node.plan.disk ? ' with its disk' : ''}`);
    node.instance = new Instance(this, node.options, node.disk, node.generation);
    this.oracle.flights.disturbed(node.options.node, 0);
    void node.instance.start();
  }

  private act(action: Action): void {
    const node = 'node' in action ? this.nodes[action.node] : undefined;
    const instance = node?.instance?.alive === true ? node.instance : undefined;
    switch (action.kind) {
      case 'set':
        return void instance?.set(action.key, action);
      case 'delete':
        return void instance?.delete(action.key);
      case 'clear':
        return void instance?.mark(undefined);
      case 'invalidate':
        return void instance?.mark([...new Set(action.tags)]);
      case 'compute':
        return void (action.joins
          ? instance?.computeOnce(action.key, { ...action, pad: 0 }, action.runMs)
          : instance?.compute(action.key, { ...action, pad: 0 }, action.runMs));
      case 'read':
        return void instance?.read(action.keys);
      case 'cut':
        return this.cut(instance, action.what, action.forMs);
      case 'reset':
        this.cut(instance, 'both', action.forMs);
        return instance?.link.reset();
      case 'weather':
        return this.changeWeather(instance, action);
      case 'channel':
        return this.disturbChannel(instance, action);
      case 'crash':
        return this.crash(node, action.forMs);
      case 'step clock':
        if (instance !== undefined) instance.record.stepped = true;
        return node?.options.clock.step(action.byMs);
      default:
        return this.actOnRedis(action);
    }
  }

  private actOnRedis(action: Exclude<Action, { readonly node: number }>): void {
    const { redis, server, scheduler } = this;
    switch (action.kind) {
      case 'stop':
        server.stop();
        scheduler.after(action.forMs, () => server.state === 'stopped' && server.go());
        return;
      case 'restart':
        return this.outage(action.forMs, () => {
          if (action.loses === 'all') redis.flush();
          redis.restart(this.lostMs(action.loses));
        });
      case 'failover':
        return this.outage(action.forMs, () => {
          redis.failOver(action.lostWrites);
          this.setRedisClock(action.clockMs);
        });
      case 'flush':
        return redis.flush();
      case 'evict':
        for (const part of ['value', 'guard', 'fence'] as const)
          if (action.part === part || action.part === 'all') redis.evict(action.key, part);
        return;
      case 'evict marks':
        return redis.evictMarks();
      case 'refuse':
        redis.refusing = action.what;
        scheduler.after(action.forMs, () => (redis.refusing = 'nothing'));
        return;
      case 'step redis':
        return this.setRedisClock(action.clockMs);
      case 'leap':
        this.leapsMs += action.byMs;
        this.oracle.leapt();
        for (const { link } of this.alive) if (link.busy) link.reset();
    }
  }

  /** It starts again with what it had saved: every second, or once in a while, or never. */
  private lostMs(loses: Extract<Action, { kind: 'restart' }>['loses']): number {
    if (loses === 'a second') return 1000;
    return loses === 'most' ? this.trueTime() - EPOCH_MS - SNAPSHOT_MS : 0;
  }

  private setRedisClock(ms: number): void {
    this.oracle.redisClockChanges();
    this.redisClockMs = ms;
  }

  private cut(instance: Instance | undefined, what: 'requests' | 'replies' | 'both', forMs: number): void {
    if (instance === undefined) return;
    instance.link.cut = what;
    this.scheduler.after(forMs, () => (instance.link.cut = undefined));
  }

  private changeWeather(
    instance: Instance | undefined,
    { forMs, ...weather }: Extract<Action, { kind: 'weather' }>,
  ): void {
    if (instance === undefined) return;
    instance.link.weather = weather;
    this.scheduler.after(forMs, () => (instance.link.weather = FAIR));
  }

  private disturbChannel(
    instance: Instance | undefined,
    { how, forMs }: Extract<Action, { kind: 'channel' }>,
  ): void {
    const { channel } = instance ?? {};
    if (channel === undefined) return;
    if (how === 'close') return channel.reset();
    if (how === 'freeze') channel.frozen = true;
    else channel.delayMs = SLOW_CHANNEL_MS;
    this.scheduler.after(forMs, () => {
      channel.thaw();
      channel.delayMs = FAIR.delayMs;
    });
  }

  /** Who may be excused by it for not knowing what others do. */
  private noteFault(action: Action): void {
    const node = 'node' in action ? action.node : undefined;
    const forMs = 'forMs' in action ? action.forMs : 0;
    if (!(CALLS as readonly string[]).includes(action.kind)) this.oracle.flights.disturbed(node, forMs);
  }

  private crash(node: Node | undefined, forMs: number): void {
    if (node?.instance?.alive !== true) return;
    node.instance.crash();
    this.scheduler.after(forMs, () => this.start(node));
  }

  /** Nobody reaches it for a time; then it is back, or another one in its place. */
  private outage(forMs: number, takeOver: () => void): void {
    this.endOutage?.();
    this.server.kill();
    for (const { link } of this.alive) if (link.cut === undefined) link.reset();
    const end = (): void => {
      if (this.endOutage !== end) return;
      this.endOutage = undefined;
      takeOver();
      this.server.go();
    };
    this.endOutage = end;
    this.scheduler.after(forMs, end);
  }

  private async heal(): Promise<void> {
    this.trace(() => '--- everything is healed');
    this.endOutage?.();
    this.server.go();
    this.redis.refusing = 'nothing';
    for (const node of this.nodes) this.start(node);
    await this.scheduler.advance(1);
    for (const { link, channel } of this.alive) {
      link.cut = undefined;
      link.weather = FAIR;
      channel.thaw();
      channel.delayMs = FAIR.delayMs;
    }
  }

  /** Then everybody reads everything: what differs is repaired by that. */
  private async merge(): Promise<void> {
    for (let beats = 0; this.alive.some(({ isComputing }) => isComputing); beats += 1) {
      if (beats === COMPUTE_HEARTBEATS) return this.oracle.fail('P1', 'a computation does not end');
      await this.scheduler.advance(HEARTBEAT_MS);
    }
    for (let beats = 0; !(beats > 3 && this.isMerged); beats += 1) {
      if (beats === MERGE_HEARTBEATS) return this.oracle.fail('merge', this.describeUnmerged());
      await this.scheduler.advance(HEARTBEAT_MS);
    }
    this.oracle.checkDrained(this.redis);
    await this.readAll();
    await this.scheduler.advance(2 * HEARTBEAT_MS);
    await this.readAll();
    this.oracle.merged = true;
  }

  private async join(): Promise<void> {
    const others = this.alive;
    // Nor is anybody told at once that the joiner makes them anew.
    if (this.schedule.joinerFindsNoMarks) {
      this.redis.evictMarks();
      for (const { channel } of others) channel.frozen = true;
    }
    const joiner = this.createNode(JOINER, this.nodes.length);
    this.nodes.push(joiner);
    this.start(joiner);
    for (let wait = 0; wait < 4; wait += 1) {
      await this.scheduler.advance(HEARTBEAT_MS / 5);
      void joiner.instance?.read(this.schedule.keys);
    }
    for (const { channel } of others) channel.thaw();
    await this.scheduler.advance(3 * HEARTBEAT_MS);
  }

  private async compare(): Promise<void> {
    const { oracle, redis, schedule } = this;
    await this.readAll();
    await this.scheduler.advance(HEARTBEAT_MS);
    const everywhere = await this.readAll();
    for (const [index, key] of schedule.keys.entries()) {
      const { visible, accepts } = oracle.settle(key, redis);
      for (const [node, versions] of everywhere.entries()) {
        if (!accepts(versions[index]))
          oracle.fail('P4', `${key}: node ${node} has ${versions[index]}, Redis ${visible}`);
      }
    }
    this.compareMarks();
    oracle.checkAllEnded();
  }

  /** What everybody has of his own is no other. */
  private async part(): Promise<void> {
    const { oracle, schedule } = this;
    for (const instance of this.alive) {
      instance.link.cut = 'both';
      instance.link.reset();
    }
    const everywhere = await this.readAll();
    for (const [index, key] of schedule.keys.entries()) {
      const { visible, accepts } = oracle.settle(key, this.redis);
      for (const [node, versions] of everywhere.entries()) {
        if (versions[index] !== undefined && !accepts(versions[index]))
          oracle.fail('P4 local', `${key}: node ${node} has ${versions[index]}, Redis ${visible}`);
      }
    }
  }

  private compareMarks(): void {
    const { oracle, redis } = this;
    const theirs = redis.marks?.versions ?? new Map<string, string>();
    oracle.settleMarks(theirs);
    for (const { replica, record } of this.alive) {
      const own = replica['state'].marks.record();
      for (const name of new Set([...own.keys(), ...theirs.keys()])) {
        if (own.get(name) !== theirs.get(name) && !oracle.hasExpired(own.get(name) ?? theirs.get(name) ?? ''))
          oracle.fail(
            'P4 marks',
            `${name}: node ${record.node} has ${own.get(name)}, Redis ${theirs.get(name)}`,
          );
      }
    }
  }

  private get isMerged(): boolean {
    return this.alive.every(({ replica }) => {
      const { online, outbox } = replica.stats();
      return online && outbox.pending === 0 && !replica['session'].restoring;
    });
  }

  private describeUnmerged(): string {
    const states = this.alive.map(({ replica }) => {
      const { online, outbox } = replica.stats();
      return `online ${online}, ${outbox.pending} pending, restoring ${replica['session'].restoring}`;
    });
    return `not merged after ${MERGE_HEARTBEATS} heartbeats: ${states.join('; ')}`;
  }

  private async readAll(): Promise<(string | undefined)[][]> {
    const reads = Promise.all(this.alive.map((instance) => instance.read(this.schedule.keys)));
    await this.scheduler.advance(HEARTBEAT_MS / 10);
    return reads;
  }
}

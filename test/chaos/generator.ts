import { LEASE_MS } from '../../src/cache/replication/lease.js';
import type { AppInstance, Answer } from './app-instance.js';
import { InstanceDied } from './app-instance.js';
import type { History, Kind, Outcome } from './history.js';
import { Random } from './random.js';

export interface LoadOptions {
  readonly instances: readonly AppInstance[];
  readonly history: History;
  readonly seed: number;
  /** Begins every key and value of this load. */
  readonly name: string;
  readonly workersPerInstance?: number;
  /** Longest pause of a worker between two calls. */
  readonly paceMs?: number;
}

/** Its keys have one writer; are written once, by him; are written by all; carry tags; are computed. */
type Class = 'own' | 'once' | 'contested' | 'tagged' | 'computed' | 'invalidate';

const CLASSES: Readonly<Record<Class, number>> = {
  own: 27,
  once: 15,
  contested: 15,
  tagged: 20,
  computed: 20,
  invalidate: 3,
};
const KEYS: Readonly<Record<Exclude<Class, 'once' | 'invalidate'>, number>> = {
  own: 10,
  contested: 6,
  tagged: 16,
  computed: 8,
};
const TAGS = 4;
/** Outlives every run; and one that is over before the verifier looks. */
const LONG_TTLS_MS = [3_600_000, 7_200_000, 86_400_000];
export const SHORT_TTL_MS = 400;

const LONGEST_FACTORY_MS = 150;
const DISK_MS = 500;
/** A caller may wait for the factories of other instances, and for the lease of one that has been cut off. */
const OTHERS_MS = LEASE_MS + 3 * LONGEST_FACTORY_MS;

const LANDED: ReadonlySet<unknown> = new Set(['redis', 'outbox', 'local', 'superseded', 'none']);

/** Now, in epoch milliseconds with their fraction, as the instances have it. */
export const epochMs = (): number => performance.timeOrigin + performance.now();

/** Writes, deletes and reads known keys through every instance until it is told to stop, and records what came of it. */
export class Load {
  private readonly random: Random;
  private readonly stopped = new AbortController();
  private readonly workers: Promise<void>[];
  private readonly written = new Map<string, number>();
  private valueCount = 0;

  constructor(private readonly options: LoadOptions) {
    this.random = new Random(options.seed);
    const { instances, workersPerInstance = 3 } = options;
    this.workers = instances.flatMap((instance) =>
      Array.from({ length: workersPerInstance }, (_, n) => this.work(instance, n, this.random.fork())),
    );
  }

  /** Stops, and waits for the calls that run. */
  async stop(): Promise<void> {
    this.stopped.abort();
    await Promise.all(this.workers);
  }

  clear(instance: AppInstance): Promise<void> {
    return this.mark(instance, 'clear', []);
  }

  /** Sets so many keys of its own on an instance, as fast as that takes them. */
  async fill(instance: AppInstance, count: number, size: number): Promise<void> {
    const keys = Array.from({ length: count }, (_, n) => `${this.options.name}:fill:${instance.index}:${n}`);
    await inParallel(keys, 32, (key) =>
      this.set(instance, key, { size, ttlMs: LONG_TTLS_MS[0] ?? 0, tags: [] }),
    );
  }

  private async work(instance: AppInstance, number: number, random: Random): Promise<void> {
    const { paceMs = 6 } = this.options;
    while (!this.stopped.signal.aborted) {
      await Promise.race([instance.up(), aborted(this.stopped.signal)]);
      if (!instance.running) continue;
      await this.step(instance, number, random);
      if (paceMs > 0) await pause(random.next() * paceMs);
    }
  }

  private step(instance: AppInstance, worker: number, random: Random): Promise<void> {
    const kind = random.weighted(CLASSES);
    if (kind === 'invalidate') return this.invalidate(instance, random);
    if (kind === 'once') return this.writeOnce(instance, worker, random);
    const key = this.keyOf(kind, instance, worker, random.below(KEYS[kind]));
    switch (kind) {
      case 'own':
        return this.write(instance, key, random, { set: 50, delete: 20, read: 30 }, 0.2);
      case 'contested':
        return this.write(instance, key, random, { set: 45, delete: 20, read: 35 }, 0);
      case 'tagged':
        return this.write(instance, key, random, { set: 55, delete: 5, read: 40 }, 0);
      case 'computed':
        return this.compute(instance, key, random);
    }
  }

  /** What is never written again shows every loss; what is deleted and never written again, every return. */
  private writeOnce(instance: AppInstance, worker: number, random: Random): Promise<void> {
    const head = `${this.options.name}:once:${instance.index}.${worker}:`;
    const count = this.written.get(head) ?? 0;
    if (count > 0 && random.chance(0.4)) {
      const key = head + random.below(count);
      return random.chance(0.5) ? this.delete(instance, key) : this.read(instance, key);
    }
    this.written.set(head, count + 1);
    return this.set(instance, head + count, { size: 60, ttlMs: random.pick(LONG_TTLS_MS), tags: [] });
  }

  private keyOf(kind: Class, instance: AppInstance, worker: number, n: number): string {
    const owner = kind === 'own' ? `${instance.index}.${worker}:` : '';
    return `${this.options.name}:${kind}:${owner}${n}`;
  }

  /** A key always has the same tags: those of its number, and one that half of all share. */
  private tagsOf(key: string): string[] {
    if (!key.includes(':tagged:')) return [];
    const n = Number(key.slice(key.lastIndexOf(':') + 1));
    return [`${this.options.name}:tag:${n % TAGS}`, `${this.options.name}:parity:${n % 2}`];
  }

  private write(
    instance: AppInstance,
    key: string,
    random: Random,
    weights: Readonly<Record<'set' | 'delete' | 'read', number>>,
    shortShare: number,
  ): Promise<void> {
    switch (random.weighted(weights)) {
      case 'set': {
        const ttlMs = random.chance(shortShare) ? SHORT_TTL_MS : random.pick(LONG_TTLS_MS);
        const size = random.chance(0.1) ? 3000 : 60;
        return this.set(instance, key, { size, ttlMs, tags: this.tagsOf(key) });
      }
      case 'delete':
        return this.delete(instance, key);
      case 'read':
        return random.chance(0.3) ? this.readMany(instance, [key, `${key}/other`]) : this.read(instance, key);
    }
  }

  private async set(
    instance: AppInstance,
    key: string,
    { size, ttlMs, tags }: { size: number; ttlMs: number; tags: string[] },
  ): Promise<void> {
    const id = this.nextValue();
    await this.record(instance, { kind: 'set', key, value: id, tags, ttlMs }, () =>
      instance.call('set', { key, id, size, ttlMs, tags }),
    );
  }

  private async delete(instance: AppInstance, key: string): Promise<void> {
    await this.record(instance, { kind: 'delete', key }, () => instance.call('delete', { key }));
  }

  private async read(instance: AppInstance, key: string): Promise<void> {
    await this.record(instance, { kind: 'read', key }, () => instance.call('get', { key }));
  }

  private async readMany(instance: AppInstance, keys: readonly [string, ...string[]]): Promise<void> {
    await this.record(instance, { kind: 'read', key: keys[0] }, () => instance.call('getMany', { keys }));
  }

  private async invalidate(instance: AppInstance, random: Random): Promise<void> {
    const tag = `${this.options.name}:tag:${random.below(TAGS)}`;
    if (instance.supports.invalidateTags) await this.mark(instance, 'invalidate', [tag]);
  }

  private async mark(
    instance: AppInstance,
    kind: 'clear' | 'invalidate',
    tags: readonly string[],
  ): Promise<void> {
    const name = kind === 'clear' ? 'clear' : 'invalidateTags';
    await this.record(instance, { kind, key: '', tags }, () => instance.call(name, { tags }));
  }

  private async compute(instance: AppInstance, key: string, random: Random): Promise<void> {
    const kind = random.weighted({ compute: 70, delete: 20, read: 10 });
    if (kind === 'delete') return this.delete(instance, key);
    if (kind === 'read') return this.read(instance, key);
    const factoryMs = random.chance(0.5) ? 0 : random.below(LONGEST_FACTORY_MS);
    const ttlMs = random.pick(LONG_TTLS_MS);
    const id = this.nextValue();
    await this.record(instance, { kind: 'compute', key, value: id, ttlMs, factoryMs }, () =>
      instance.call('getOrSet', { key, id, size: 60, factoryMs, ttlMs }),
    );
  }

  private nextValue(): string {
    return `${this.options.name}.${(this.valueCount += 1)}`;
  }

  private async record(instance: AppInstance, attempt: Attempt, call: () => Promise<Answer>): Promise<void> {
    const { life } = instance;
    const from = epochMs();
    const facts = { life, tags: [], value: undefined, expiresAt: Infinity, ...attempt };
    try {
      const given = await call();
      // A commit waits for the disk, which all others write to at the same time; that is no wait for Redis.
      const graceMs = instance.options.local === 'disk' ? DISK_MS : 0;
      const answer = { ...given, durationMs: Math.max(0, given.durationMs - graceMs) };
      this.options.history.add({ ...facts, ...told(attempt, answer, from), from });
    } catch (error) {
      if (!(error instanceof InstanceDied)) throw error;
      if (attempt.kind === 'read') return;
      const endedAt = epochMs();
      const unanswered = {
        durationMs: 0,
        stalledMs: 0,
        outcome: 'unknown',
        ...expiry(attempt, endedAt),
      } as const;
      this.options.history.add({ ...facts, ...unanswered, from, to: endedAt, endedAt });
    }
  }
}

interface Attempt {
  readonly kind: Kind;
  readonly key: string;
  readonly value?: string;
  readonly tags?: readonly string[];
  readonly ttlMs?: number;
  readonly factoryMs?: number;
}

interface Computed {
  readonly kind: 'hit' | 'computed' | 'collapsed';
  readonly id: string | null;
  readonly write: string | null;
  readonly beganAt: number | null;
}

/** What an answer says of the attempt. */
function told(attempt: Attempt, { result, error, durationMs, stalledMs }: Answer, from: number) {
  const endedAt = epochMs();
  const facts = { durationMs, stalledMs, endedAt, to: endedAt, error, ...expiry(attempt, endedAt) };
  if (error !== undefined) return { ...facts, outcome: 'error' as const };
  switch (attempt.kind) {
    case 'read':
      return { ...facts, outcome: 'none' as const, value: readValue(result) };
    case 'compute':
      return { ...facts, ...computed(attempt, result as Computed, facts, from) };
    case 'set':
    case 'delete':
    case 'clear':
    case 'invalidate':
      return { ...facts, outcome: outcomeOf(result) };
  }
}

/** Only the instance that ran the factory has written; for everybody else it was a read. */
function computed(
  attempt: Attempt,
  result: Computed,
  facts: { durationMs: number; endedAt: number },
  from: number,
) {
  const { kind, id, write, beganAt } = result;
  if (kind !== 'computed' || beganAt === null) {
    const durationMs = Math.max(0, facts.durationMs - (kind === 'collapsed' ? OTHERS_MS : 0));
    const value = id ?? undefined;
    return { kind: 'read' as const, value, durationMs, outcome: 'none' as const, expiresAt: Infinity };
  }
  const durationMs = Math.max(0, facts.durationMs - (attempt.factoryMs ?? 0) - OTHERS_MS);
  return { outcome: outcomeOf(write), durationMs, to: Math.min(facts.endedAt, Math.max(from, beganAt)) };
}

function readValue(result: unknown): string | undefined {
  const value: unknown = Array.isArray(result) ? result[0] : result;
  return typeof value === 'string' ? value : undefined;
}

/** Before the merge existed a delete answered with whether there was something: then all that is known is that it was accepted. */
function outcomeOf(result: unknown): Outcome {
  const landed = typeof result === 'object' && result !== null && 'landed' in result ? result.landed : result;
  return LANDED.has(landed) ? (landed as Outcome) : 'local';
}

const expiry = ({ ttlMs }: Attempt, endedAt: number) =>
  ttlMs === undefined ? {} : { expiresAt: endedAt + ttlMs };

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });

export async function inParallel<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  const workers = Array.from({ length: limit }, async () => {
    for (const item of queue) await work(item);
  });
  await Promise.all(workers);
}

import { createHash } from 'node:crypto';
import type { Analysis } from '../../src/ai/analysis-cache-manager.js';
import type { AnalysisType } from '../../src/ai/analysis.js';
import type { AiStats } from '../../src/ai/ai-service-manager.js';
import { FINDING, sampleIn } from '../support/analysis-answer.js';
import { allEventsOf, eventsOf, textOf } from '../support/sse.js';
import type { Vendors } from '../support/all-vendors.js';
import type { Behaviour } from '../support/vendors/behaviour.js';
import type { Call } from '../support/vendors/loopback-vendor.js';
import { Random } from '../simulation/random.js';
import type { VendorFleet } from './vendor-fleet.js';

const WORKERS = 96;
const BATCH = 5;
const FAULT_SHARE = 0.25;
/** While this part of the requests is sent, the preferred vendor is down. */
const OUTAGE = { from: 0.3, to: 0.4 };

/** Every way in which a vendor's call can fail. */
const FAULTS: Readonly<Record<string, Behaviour>> = {
  400: { kind: 'status', status: 400 },
  '429, come back in 100 ms': { kind: 'status', status: 429, headers: { 'retry-after-ms': '100' } },
  429: { kind: 'status', status: 429 },
  500: { kind: 'status', status: 500 },
  '529 (overloaded)': { kind: 'status', status: 529 },
  reset: { kind: 'resetOnConnect' },
  'cut in the middle': { kind: 'truncate', afterChunks: 2 },
  'clean end without a finish reason': { kind: 'cleanEnd', afterChunks: 4 },
  'clean end in the middle': { kind: 'cleanEnd', afterChunks: 1 },
  'error in the stream': { kind: 'errorInStream', afterChunks: 2, status: 529 },
  refusal: { kind: 'refusal' },
  'length limit': { kind: 'length' },
  'not JSON': { kind: 'invalidJson' },
  'another schema': { kind: 'wrongSchema' },
  'a web page': { kind: 'html' },
  hang: { kind: 'hang', afterChunks: 1 },
};
const SLOW: Behaviour = { kind: 'slowBytes', bytes: 256, gapMs: 1 };

export interface VendorLoadOptions {
  /** Items of batches count. */
  readonly requests: number;
  readonly seed: number;
  readonly onProgress?: (sent: number) => void;
}

export interface VendorLoadReport {
  readonly figures: Readonly<Record<string, string | number>>;
  /** What must not be. */
  readonly faults: readonly string[];
}

interface Question {
  readonly type: AnalysisType;
  readonly content: string;
  readonly provider?: string;
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const nameOf = ({ type, content }: Pick<Question, 'type' | 'content'>): string =>
  `${type} ${sha256(content)}`;

/** Counts by name. */
class Tally extends Map<string, number> {
  add(name: string): void {
    this.set(name, this.of(name) + 1);
  }

  of(name: string): number {
    return this.get(name) ?? 0;
  }

  get sum(): number {
    return [...this.values()].reduce((total, count) => total + count, 0);
  }

  override toString(): string {
    return [...this].map(([name, count]) => `${name}: ${count}`).join(', ') || 'none';
  }
}

/** What vendors are asked for, and what they answer by the dice. */
class VendorScripts {
  readonly failed = new Tally();
  /** Those of a complete answer. */
  readonly answered: { readonly name: string; readonly call: Call }[] = [];
  isDown = false;

  constructor(
    vendors: Vendors,
    private readonly random: Random,
  ) {
    for (const [name, vendor] of Object.entries(vendors)) vendor.script = (call) => this.next(name, call);
  }

  /** Complete answers that were read to their end, by what was asked. */
  get answers(): Tally {
    const answers = new Tally();
    for (const { name, call } of this.answered) if (!call.aborted) answers.add(name);
    return answers;
  }

  private next(vendor: string, call: Call): Behaviour {
    if (vendor === 'claude' && this.isDown) return this.fault('outage', { kind: 'status', status: 503 });
    if (this.random.chance(FAULT_SHARE)) {
      const label = this.random.pick(Object.keys(FAULTS));
      return this.fault(label, FAULTS[label] ?? SLOW);
    }
    const type = JSON.stringify(call.body).includes('find security flaws')
      ? 'vulnerabilities'
      : 'deobfuscate';
    this.answered.push({ name: nameOf({ type, content: sampleIn(call.prompt) }), call });
    return this.random.chance(0.1) ? SLOW : { kind: 'answer' };
  }

  private fault(label: string, behaviour: Behaviour): Behaviour {
    this.failed.add(label);
    return behaviour;
  }
}

/** One load: what it asks, and what it makes of the answers. */
class Load {
  readonly outcomes = new Tally();
  readonly faults: string[] = [];
  readonly asked = new Map<string, Question>();
  /** Those that asked for a computation of their own. */
  readonly refreshed = new Tally();
  /** Whose last listener may have left when the model was through already. */
  readonly left = new Set<string>();
  stored = 0;
  private readonly files: number;
  private readonly random: Random;

  constructor(
    private readonly fleet: VendorFleet,
    private readonly options: VendorLoadOptions,
  ) {
    this.files = Math.ceil(options.requests / 5);
    this.random = new Random(options.seed);
  }

  /** The next one, and for how many it counts. */
  next(): [count: number, done: Promise<void>] {
    const dice = this.random.next();
    if (dice < 0.6) return [1, this.json()];
    if (dice < 0.9) return [1, this.stream()];
    if (dice < 0.95) return [1, this.leave()];
    return [BATCH, this.batch()];
  }

  /** What is stored now is right, on every instance. */
  async verify(): Promise<void> {
    for (const question of this.asked.values()) {
      for (const instance of this.fleet.instances) {
        const response = await instance.post(question, { 'cache-control': 'only-if-cached' });
        const answer = (await response.json()) as Analysis;
        if (response.status !== 200) continue;
        this.stored += 1;
        this.check(answer, question);
      }
    }
  }

  private async json(): Promise<void> {
    const question = this.question();
    const isRefresh = this.random.chance(0.02);
    if (isRefresh) this.refreshed.add(nameOf(question));
    const response = await this.send(question, isRefresh ? { 'cache-control': 'no-cache' } : {});
    const answer = (await response.json()) as never;
    if (response.status === 200) this.check(answer, question);
    else this.fail(answer);
  }

  private async stream(): Promise<void> {
    const question = this.question();
    const response = await this.send(question, { accept: 'text/event-stream' });
    if (response.status !== 200) return this.fail(await response.json());
    const events = await allEventsOf(response);
    const ends = events.filter(({ event }) => event === 'result' || event === 'error');
    const last = events.at(-1);
    if (last === undefined || ends.length !== 1 || ends[0] !== last) {
      this.faults.push('a stream that ends as it must not');
      return undefined;
    }
    if (last.event === 'error') return this.fail(last.data);
    // A model says null where the result says nothing.
    const told = JSON.parse(textOf(events), (_, member: unknown) => member ?? undefined) as unknown;
    if (JSON.stringify(told) !== JSON.stringify(last.data.result)) {
      this.faults.push('a stream whose text is not its result');
    }
    return this.check(last.data as Analysis, question);
  }

  private async batch(): Promise<void> {
    const items = Array.from({ length: BATCH }, () => this.question());
    const response = await this.send(items, {}, '/batch');
    const lines = (await response.text())
      .trim()
      .split('\n')
      .map(
        (line) => JSON.parse(line) as { done?: boolean; index: number; analysis?: Analysis; error?: unknown },
      );
    const end = lines.pop();
    if (end?.done !== true || lines.length !== items.length) this.faults.push('a batch that broke off');
    for (const { index, analysis, error } of lines) {
      if (analysis === undefined) this.fail(error);
      else this.check(analysis, items[index] as Question);
    }
  }

  /** Listens to the beginning only. */
  private async leave(): Promise<void> {
    const leaving = new AbortController();
    const question = this.question();
    this.left.add(nameOf(question));
    try {
      const response = await this.send(question, { accept: 'text/event-stream' }, '', leaving.signal);
      for await (const { event } of eventsOf(response)) if (event === 'chunk') break;
    } catch {
      // It has a status of its own.
    }
    leaving.abort();
    this.outcomes.add('left');
  }

  private question(): Question {
    // Some files are asked for again and again.
    const index = Math.floor(this.files * this.random.next() ** 3);
    const type = this.random.chance(0.5) ? 'deobfuscate' : 'vulnerabilities';
    // A named provider has no other to fall back on.
    const provider = index % 10 === 0 ? this.random.pick(['claude', 'openai']) : undefined;
    const filling = 'é"\\'.repeat(index % 50);
    const content = `file(${this.options.seed}, ${index}, "${provider ?? 'any'}"); // ${filling}`;
    const question = { type, content, ...(provider === undefined ? {} : { provider }) } as const;
    this.asked.set(nameOf(question), question);
    return question;
  }

  private send(
    body: object,
    headers: Readonly<Record<string, string>>,
    path = '',
    signal?: AbortSignal,
  ): Promise<Response> {
    return this.random.pick(this.fleet.instances).fetch(`/v1/analyses${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  private check(
    { provider, standIn, failedBefore = [], result }: Analysis,
    { type, content }: Question,
  ): void {
    if (provider === 'local') {
      if (standIn !== true || failedBefore.length === 0) this.faults.push('local, and it does not say why');
      return this.outcomes.add('stand-in of local');
    }
    const isRight =
      result.analysisReport === `Report on ${sha256(content)}` &&
      ('deobfuscatedCode' in result
        ? type === 'deobfuscate' && result.deobfuscatedCode === content
        : type === 'vulnerabilities' && result.vulnerabilities[0]?.name === FINDING.name);
    if (isRight) return this.outcomes.add('right');
    this.faults.push(`a wrong answer for ${type} of ${content.slice(0, 40)}`);
    return undefined;
  }

  private fail(problem: unknown): void {
    const { code } = problem as { code?: unknown };
    if (typeof code !== 'string' || code === 'internal_error') this.faults.push(JSON.stringify(problem));
    this.outcomes.add(`failed, ${String(code)}`);
  }
}

/**
 * JSON, event streams and batches for known and new files, on all instances, while a quarter of the vendors' calls fail in
 * one of sixteen ways; then every stored answer is looked at. No answer may be wrong, or paid twice for nothing.
 */
export async function vendorLoad(fleet: VendorFleet, options: VendorLoadOptions): Promise<VendorLoadReport> {
  const { requests, seed, onProgress = () => {} } = options;
  const { instances, vendors } = fleet;
  const scripts = new VendorScripts(vendors, new Random(seed + 1));
  const load = new Load(fleet, options);
  const begun = performance.now();
  let sent = 0;
  const work = async (): Promise<void> => {
    while (sent < requests) {
      scripts.isDown = sent >= OUTAGE.from * requests && sent < OUTAGE.to * requests;
      const [count, done] = load.next();
      sent += count;
      await done;
      onProgress(sent);
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, work));
  const durationMs = performance.now() - begun;
  await load.verify();
  const { answers, failed } = scripts;
  const again = [...answers]
    .filter(([name, count]) => count > 1 + load.refreshed.of(name))
    .map(([name]) => name);
  const unexplained = again.filter((name) => !load.left.has(name));
  for (const name of unexplained) load.faults.push(`paid again: ${name}`);
  const stats = await Promise.all(
    instances.map(async (instance) => (await (await instance.fetch('/v1/analyses/stats')).json()) as AiStats),
  );
  const tokens = (side: 'spent' | 'saved'): number =>
    stats.reduce((sum, { cost }) => sum + cost[side].inputTokens + cost[side].outputTokens, 0);
  const billed = Object.values(vendors).reduce(
    (sum, { totals }) => sum + totals.inputTokens + totals.outputTokens,
    0,
  );
  for (const vendor of Object.values(vendors)) vendor.script = () => ({ kind: 'answer' });
  return {
    figures: {
      'requests (items of batches counted)': sent,
      'took, s': (durationMs / 1000).toFixed(1),
      'distinct questions': load.asked.size,
      outcomes: String(load.outcomes),
      'stored answers looked at (on 3 instances)': load.stored,
      'calls of vendors': failed.sum + scripts.answered.length,
      'of them failed on purpose': `${failed.sum} (${String(failed)})`,
      'of them answered': scripts.answered.length,
      'of those given up, the last listener had left': scripts.answered.length - answers.sum,
      'questions answered': answers.size,
      'asked for by no-cache': load.refreshed.sum,
      'answered again, the last listener had left': again.length - unexplained.length,
      'answered again for nothing': unexplained.length,
      'tokens: spent, saved': `${tokens('spent')}, ${tokens('saved')}`,
      'tokens: billed by the vendors': billed,
    },
    faults: load.faults,
  };
}

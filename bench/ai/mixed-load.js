import { createHash } from 'node:crypto';
import { FINDING, sampleIn } from '../../test/support/analysis-answer.js';
import { allEventsOf, eventsOf, textOf } from '../../test/support/sse.js';
import { Random } from '../../test/simulation/random.js';

const WORKERS = 96;
const FAULT_SHARE = 0.25;
/** While this part of the requests is sent, the preferred vendor is down. */
const OUTAGE = { from: 0.3, to: 0.4 };

/** Every way in which a vendor's call can fail; `isSuccess`: it is only slow. */
const FAULTS = {
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
const SLOW = { kind: 'slowBytes', bytes: 64, gapMs: 1 };

const sha256 = (text) => createHash('sha256').update(text).digest('hex');

const withoutNulls = (text) => {
  const value = JSON.parse(text, (_, member) => (member === null ? undefined : member));
  return JSON.stringify(value);
};

/** Counts by name. */
class Tally extends Map {
  add(name, by = 1) {
    this.set(name, (this.get(name) ?? 0) + by);
  }
  get sum() {
    return [...this.values()].reduce((total, count) => total + count, 0);
  }
  toString() {
    return [...this].map(([name, count]) => `${name}: ${count}`).join(', ') || 'none';
  }
}

/** What vendors are asked for, and what they answer by the dice. */
class VendorScripts {
  calls = new Tally();
  answered = [];
  isDown = false;

  constructor(vendors, random) {
    for (const [name, vendor] of Object.entries(vendors)) {
      vendor.script = (call) => this.next(name, call, random);
    }
  }

  next(name, call, random) {
    const { prompt, body } = call;
    const type = JSON.stringify(body).includes('find security flaws') ? 'vulnerabilities' : 'deobfuscate';
    if (name === 'claude' && this.isDown) return this.fault('outage', { kind: 'status', status: 503 });
    if (random.chance(FAULT_SHARE)) {
      const label = random.pick(Object.keys(FAULTS));
      return this.fault(label, FAULTS[label]);
    }
    this.calls.add('answered');
    this.answered.push({ key: `${type} ${sha256(sampleIn(prompt))}`, call });
    return random.chance(0.1) ? SLOW : { kind: 'answer' };
  }

  /** Complete answers that were read to their end, by what was asked. */
  get answers() {
    const answers = new Tally();
    for (const { key, call } of this.answered) if (!call.aborted) answers.add(key);
    return answers;
  }

  fault(label, behaviour) {
    this.calls.add(label);
    return behaviour;
  }
}

export async function mixedLoad({ instances, vendors }, { requests, seed }) {
  const random = new Random(seed);
  const scripts = new VendorScripts(vendors, new Random(seed + 1));
  const files = Math.ceil(requests / 5);
  const faults = [];
  const outcomes = new Tally();
  const asked = new Map();
  /** Requests that ask for a computation of their own. */
  const refreshed = new Tally();
  /** Whose last listener may have left when the model was through already. */
  const left = new Set();
  const check = (analysis, { content, type }) => {
    const report = `Report on ${sha256(content)}`;
    if (analysis.provider === 'local') {
      if (analysis.standIn !== true || (analysis.failedBefore ?? []).length === 0)
        faults.push('local, and does not say why');
      return outcomes.add('stand-in of local');
    }
    const { result } = analysis;
    const isRight =
      result.analysisReport === report &&
      (type === 'deobfuscate'
        ? result.deobfuscatedCode === content
        : result.vulnerabilities.length === 1 && result.vulnerabilities[0].name === FINDING.name);
    if (isRight) return outcomes.add('right');
    return faults.push(`a wrong answer for ${type} of ${content.slice(0, 40)}`);
  };
  const failed = (problem, what) => {
    if (typeof problem?.code !== 'string' || problem.code === 'internal_error')
      faults.push(`${what}: ${JSON.stringify(problem)}`);
    outcomes.add(`failed, ${problem?.code}`);
  };
  const bodyOf = () => {
    // Some files are asked for again and again.
    const index = Math.floor(files * random.next() ** 3);
    const type = random.chance(0.5) ? 'deobfuscate' : 'vulnerabilities';
    // A named provider has no other to fall back on.
    const provider = index % 10 === 0 ? random.pick(['claude', 'openai']) : undefined;
    const content = `file(${seed}, ${index}, "${provider ?? 'any'}"); // ${'é"\\'.repeat(index % 50)}`;
    const body = { type, content, ...(provider && { provider }) };
    asked.set(`${type} ${sha256(content)}`, body);
    return body;
  };
  const send = (body, { path = '', headers = {}, signal } = {}) =>
    random.pick(instances).fetch(`/v1/analyses${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
      signal,
    });
  const kinds = {
    json: async () => {
      const body = bodyOf();
      const isRefresh = random.chance(0.02);
      if (isRefresh) refreshed.add(`${body.type} ${sha256(body.content)}`);
      const response = await send(body, isRefresh ? { headers: { 'cache-control': 'no-cache' } } : {});
      const answer = await response.json();
      if (response.status === 200) check(answer, body);
      else failed(answer, 'JSON');
    },
    stream: async () => {
      const body = bodyOf();
      const response = await send(body, { headers: { accept: 'text/event-stream' } });
      if (response.status !== 200) return failed(await response.json(), 'stream');
      const events = await allEventsOf(response);
      const ends = events.filter(({ event }) => event === 'result' || event === 'error');
      const last = events.at(-1);
      if (ends.length !== 1 || ends[0] !== last) return faults.push('a stream that ends as it must not');
      if (last.event === 'error') return failed(last.data, 'stream');
      // A model says null where the result says nothing.
      if (withoutNulls(textOf(events)) !== JSON.stringify(last.data.result))
        faults.push('a stream whose text is not its result');
      return check(last.data, body);
    },
    batch: async () => {
      const items = Array.from({ length: 5 }, bodyOf);
      const response = await send(items, { path: '/batch' });
      const lines = (await response.text())
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      const end = lines.pop();
      if (end.done !== true || lines.length !== items.length)
        faults.push(`a batch that broke off: ${JSON.stringify(end)}`);
      for (const { index, analysis, error } of lines) {
        if (error === undefined) check(analysis, items[index]);
        else failed(error, 'batch');
      }
    },
    leaver: async () => {
      const controller = new AbortController();
      const body = bodyOf();
      left.add(`${body.type} ${sha256(body.content)}`);
      const sent = send(body, { headers: { accept: 'text/event-stream' }, signal: controller.signal });
      try {
        for await (const event of eventsOf(await sent)) if (event.event === 'chunk') break;
      } catch {
        // It has a status, or nothing came.
      }
      controller.abort();
      outcomes.add('left');
    },
  };
  const begun = performance.now();
  let sentSoFar = 0;
  const worker = async () => {
    while (sentSoFar < requests) {
      const part = sentSoFar / requests;
      scripts.isDown = part >= OUTAGE.from && part < OUTAGE.to;
      const dice = random.next();
      const kind = dice < 0.6 ? 'json' : dice < 0.9 ? 'stream' : dice < 0.95 ? 'batch' : 'leaver';
      sentSoFar += kind === 'batch' ? 5 : 1;
      if (sentSoFar % 1000 < 5) console.error(`${sentSoFar} of ${requests}`);
      await kinds[kind]();
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, worker));
  const durationMs = performance.now() - begun;
  // What is stored now is right, on every instance.
  let stored = 0;
  for (const body of asked.values()) {
    for (const instance of instances) {
      const response = await instance.post(body, { 'cache-control': 'only-if-cached' });
      const answer = await response.json();
      if (response.status !== 200) continue;
      stored += 1;
      check(answer, body);
    }
  }
  const { answers } = scripts;
  const again = [...answers]
    .map(([key, count]) => ({ key, count: count - 1 - (refreshed.get(key) ?? 0) }))
    .filter(({ count }) => count > 0);
  const unexplained = again.filter(({ key }) => !left.has(key));
  const stats = await Promise.all(
    instances.map(async (instance) => (await instance.fetch('/v1/analyses/stats')).json()),
  );
  const tokens = (side) =>
    stats.reduce((sum, { cost }) => sum + cost[side].inputTokens + cost[side].outputTokens, 0);
  const billed = Object.values(vendors).reduce(
    (sum, { totals }) => sum + totals.inputTokens + totals.outputTokens,
    0,
  );
  const { calls } = scripts;
  for (const { key } of unexplained) faults.push(`paid again: ${key}`);
  const answered = calls.get('answered');
  for (const vendor of Object.values(vendors)) vendor.script = () => ({ kind: 'answer' });
  return {
    figures: {
      'requests (items of batches counted)': sentSoFar,
      'took, s': (durationMs / 1000).toFixed(1),
      'distinct questions': asked.size,
      outcomes: String(outcomes),
      'stored answers looked at (on 3 instances)': stored,
      'calls of vendors': calls.sum,
      'of them answered': answered,
      'of them failed on purpose': `${calls.sum - answered} (${String(calls)})`,
      'of them given up, because the last listener left': scripts.answered.length - answers.sum,
      'questions answered': answers.size,
      'answers asked for again by no-cache': refreshed.sum,
      'answers beyond one, whose listener left at the end': again.length - unexplained.length,
      'other answers beyond one for each question': unexplained.length,
      'tokens: spent, saved': `${tokens('spent')}, ${tokens('saved')}`,
      'tokens: billed by the vendors': billed,
    },
    faults,
  };
}

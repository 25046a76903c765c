import { writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { analyze, type Analysers, type LocalJob } from './analyze.js';
import { deobfuscate } from './deobfuscation/deobfuscate.js';
import { encodeFrame, FrameReader } from './frames.js';
import { MAX_ASSIGNMENT_BYTES, REPLY_FD, type Assignment, type Reply } from './protocol.js';
import { findVulnerabilities } from './rules/find-vulnerabilities.js';
import type { WatchdogData } from './watchdog.js';

/**
 * The child process of the local provider: reads assignments, analyses one file at a time, replies. It runs with
 * no rights but to read its own program (see `analysis-process.ts`), and may be killed at any moment.
 */

const ANALYSERS: Analysers = { deobfuscate, findVulnerabilities };
/** The analysis should end by itself before it is killed: what it has found by then is worth more than an error. */
const BUDGET_SHARE = 0.75;
/** How long a first assignment may take to arrive before the time is used to warm up. */
const WARM_UP_AFTER_MS = 20;
const WARM_UP_BUDGET_MS = 1_000;
const MAX_MESSAGE_CHARS = 300;
/** The limit of the heap, and room for the engine, the isolates and buffers. */
const MAX_RSS_BYTES = 1024 * 1024 * 1024;

const assignments: Assignment<LocalJob>[] = [];
let working = false;

// A signal for the whole process group is the parent's to act on: it ends its children when it has finished.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);

const workerData: WatchdogData = { parentPid: process.ppid, maxRssBytes: MAX_RSS_BYTES };
new Worker(new URL('watchdog.js', import.meta.url), { workerData }).unref();
listen();
reply({ kind: 'ready' });
await delay(WARM_UP_AFTER_MS);
if (!working) await warmUp();

function listen(): void {
  const reader = new FrameReader(MAX_ASSIGNMENT_BYTES);
  process.stdin.on('data', (chunk: Buffer) => {
    // The other end is the provider: what it sends has the form that its type says.
    assignments.push(...(reader.push(chunk) as Assignment<LocalJob>[]));
    void work();
  });
  process.stdin.on('end', () => process.exit());
  process.stdin.on('error', () => process.exit());
}

async function work(): Promise<void> {
  if (working) return;
  working = true;
  for (let next = assignments.shift(); next !== undefined; next = assignments.shift()) {
    reply(await answer(next));
  }
  working = false;
}

async function answer({ id, job, deadlineEpochMs }: Assignment<LocalJob>): Promise<Reply> {
  try {
    const budgetMs = (deadlineEpochMs - Date.now()) * BUDGET_SHARE;
    const keepPartial = (value: unknown): void => reply({ kind: 'partial', id, value });
    const value = await analyze(job, ANALYSERS, budgetMs, keepPartial);
    return { kind: 'answer', id, rssBytes: process.memoryUsage.rss(), value };
  } catch (error) {
    const reason = error instanceof Error ? `${error.name}: ${error.message}` : 'unknown';
    const message = reason.slice(0, MAX_MESSAGE_CHARS);
    return { kind: 'failure', id, rssBytes: process.memoryUsage.rss(), message };
  }
}

/** Synchronous, so that a reply is out before anything else can happen to this process. */
function reply(message: Reply): void {
  const frame = encodeFrame(message);
  for (let written = 0; written < frame.length;) written += writeSync(REPLY_FD, frame, written);
}

/** A first analysis compiles most of what the later ones use. */
async function warmUp(): Promise<void> {
  const sample = `var _0x1a=['aGVsbG8='];(function(){eval('console.log(atob(_0x1a[0]))')})();`;
  const contentBase64 = Buffer.from(sample).toString('base64');
  for (const type of ['deobfuscate', 'vulnerabilities'] as const) {
    if (!working) await analyze({ type, contentBase64 }, ANALYSERS, WARM_UP_BUDGET_MS).catch(() => undefined);
  }
}

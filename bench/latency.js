/**
 * What a request costs, by where its answer comes from: `npm run bench`. Real processes and a real Redis, one
 * request at a time on a kept connection. Machines differ and are noisy: compare lines of one run only.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const MAIN = join(import.meta.dirname, '../dist/main.js');
const HITS = Number(process.env.BENCH_HITS ?? 2000);
const MISSES = Number(process.env.BENCH_MISSES ?? 200);
/** An obfuscated file of a few kilobytes: a string table, hex names, a wrapper. */
const SAMPLE = readFileSync(join(import.meta.dirname, '../test/corpus/obfuscated/01-jo-default.js'), 'utf8');

const directory = mkdtempSync(join(tmpdir(), 'athena-bench-'));
const children = [];

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

function start(command, args, env = {}) {
  const child = spawn(command, args, {
    env: { PATH: process.env.PATH, ...env },
    stdio: 'ignore',
    cwd: directory,
  });
  children.push(child);
  return child;
}

async function startAthena(variables) {
  const port = await freePort();
  const begun = performance.now();
  const child = start(process.execPath, [MAIN], { PORT: String(port), LOG_LEVEL: 'silent', ...variables });
  const base = `http://127.0.0.1:${port}`;
  for (;;) {
    const ready = await fetch(`${base}/health/ready`).catch(() => undefined);
    if (ready?.ok) return { child, base, readyMs: performance.now() - begun };
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function analyse(base, content) {
  const begun = performance.now();
  const response = await fetch(`${base}/v1/analyses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ type: 'deobfuscate', filename: 'sample.js', content }),
  });
  await response.text();
  if (!response.ok) throw new Error(`${response.status}`);
  return { ms: performance.now() - begun, status: response.headers.get('cache-status') };
}

async function measure(label, count, expected, request) {
  const times = [];
  for (let i = 0; i < count; i += 1) {
    const { ms, status } = await request(i);
    if (!status.includes(expected)) throw new Error(`${label}: expected ${expected}, got ${status}`);
    times.push(ms);
  }
  report(label, times);
}

function report(label, times) {
  times.sort((a, b) => a - b);
  const at = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))].toFixed(2);
  console.log(
    `${label.padEnd(34)} p50 ${at(0.5).padStart(7)} ms   p99 ${at(0.99).padStart(7)} ms   (${times.length})`,
  );
}

function residentMib(pid) {
  const [, kib] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
  return Math.round(Number(kib) / 1024);
}

function childrenOf(pid) {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ').filter(Boolean);
}

const variant = (i) => `${SAMPLE}\nvar variant${i} = ${i};\n`;

try {
  const redisPort = await freePort();
  const redis = start(process.env.REDIS_SERVER ?? 'redis-server', [
    '--port',
    String(redisPort),
    '--save',
    '',
    '--dir',
    directory,
  ]);
  await once(redis, 'spawn');

  const memory = await startAthena({});
  console.log(`ready after ${memory.readyMs.toFixed(0)} ms`);
  for (let i = 0; i < 20; i += 1) await analyse(memory.base, variant(1_000_000 + i));
  await measure('miss (analysis, warm)', MISSES, 'fwd=miss', (i) => analyse(memory.base, variant(i)));
  const idle = [];
  for (let i = 0; i < HITS; i += 1) {
    const begun = performance.now();
    await (await fetch(`${memory.base}/health/live`)).text();
    idle.push(performance.now() - begun);
  }
  report('the server alone (/health/live)', idle);
  await measure('hit, memory', HITS, 'detail=memory', () => analyse(memory.base, variant(0)));

  const disk = await startAthena({ CACHE_LOCAL: 'disk' });
  await analyse(disk.base, variant(0));
  await measure('hit, disk', HITS, 'detail=disk', () => analyse(disk.base, variant(0)));

  const shared = await startAthena({ REDIS_ENABLED: 'true', REDIS_PORT: String(redisPort) });
  await analyse(shared.base, variant(0));
  await measure('hit, redis', HITS, 'detail=redis', () => analyse(shared.base, variant(0)));

  const analysers = childrenOf(memory.child.pid).map(residentMib);
  console.log(
    `resident: server ${residentMib(memory.child.pid)} MiB, analysis processes ${analysers.join(' + ')} MiB`,
  );
} finally {
  for (const child of children) child.kill();
  await Promise.all(children.map((child) => child.exitCode ?? child.signalCode ?? once(child, 'exit')));
  rmSync(directory, { recursive: true, force: true });
}

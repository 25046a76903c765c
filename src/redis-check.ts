import { readFileSync } from 'node:fs';
import { parseArgs, parseEnv } from 'node:util';
import type { Examination, Step } from './cache/redis/examination.js';
import { examineRedis } from './cache/redis/examination.js';
import { parseEnvironment } from './config/environment.js';
import { redisSettings } from './config/redis-settings.js';

/** `npm run redis:check`: says whether the Redis of this configuration is fit for Athena, and if not, what to do. */

const USAGE = `Usage: npm run redis:check [-- --json]
       node dist/redis-check.js [--json]

Connects to the Redis of Athena's configuration (environment, and .env in the working directory), tries what Athena
needs of it on a key of its own, and explains what fails.

  --json   print the findings as one JSON object
  --help   print this

Exit code: 0 fit, 1 not fit, 2 the configuration or the command line has faults.
`;

const FIT = 0;
const NOT_FIT = 1;
const FAULTY_CONFIGURATION = 2;

/** The same sources as the application's: `.env` of the working directory, and the process's variables, which win. */
function readVariables(): Record<string, string | undefined> {
  let file = '';
  try {
    file = readFileSync('.env', 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return { ...parseEnv(file), ...process.env };
}

function readOptions(): { json: boolean; help: boolean } {
  const { values } = parseArgs({ options: { json: { type: 'boolean' }, help: { type: 'boolean' } } });
  return { json: values.json ?? false, help: values.help ?? false };
}

async function check(json: boolean): Promise<number> {
  const result = parseEnvironment(readVariables());
  if ('faults' in result) {
    const { faults } = result;
    const text = `The configuration has ${faults.length} fault(s):\n${faults.map((fault) => `  - ${fault}`).join('\n')}\n`;
    if (json) print(`${JSON.stringify({ ok: false, faults }, null, 2)}\n`);
    else process.stderr.write(text);
    return FAULTY_CONFIGURATION;
  }
  const { environment, unknown } = result;
  // Checked even while it is off: one wants to know before turning it on.
  const settings = redisSettings({ ...environment, REDIS_ENABLED: true });
  if (settings === undefined) throw new Error('Redis has no settings.');
  const examination = await examineRedis(settings);
  const notes = [
    ...unknown.map((name) => `${name} is set, but Athena has no such variable.`),
    ...examination.notes,
  ];
  const report = { enabled: environment.REDIS_ENABLED, ...examination, notes };
  print(json ? `${JSON.stringify(report, null, 2)}\n` : asText(report));
  return report.ok ? FIT : NOT_FIT;
}

type Report = Examination & { readonly enabled: boolean };

function asText(report: Report): string {
  const { address, database, tls, keyPrefix } = report;
  const lines = [
    `Redis at ${address}, database ${database}, ${tls ? 'with' : 'without'} TLS, keys under ${keyPrefix}`,
    ...(report.enabled ? [] : ['REDIS_ENABLED is false: Athena does not use it. Checked all the same.']),
    '',
    ...report.steps.flatMap(stepLines),
    ...serverLines(report),
    ...(report.notes.length > 0 ? ['', ...report.notes.map((note) => `  note: ${note}`)] : []),
    '',
    verdict(report),
  ];
  return `${lines.join('\n')}\n`;
}

function stepLines(step: Step): string[] {
  const head = `  ${step.ok ? 'ok    ' : 'FAILED'}  ${step.name.padEnd(8)}`;
  const time = `${step.ms.toFixed(1)} ms`;
  if (step.ok) return [`${head}  ${time.padStart(10)}  ${step.detail}`];
  return [
    `${head}  ${time.padStart(10)}  ${step.reply}`,
    `            ${step.problem}`,
    `            What to do: ${step.advice}`,
  ];
}

function serverLines({ server, latency }: Report): string[] {
  const lines: string[] = [];
  if (server !== undefined) {
    const { usedMemoryBytes, maxMemoryBytes, persistence, clockAheadMs } = server;
    lines.push(
      '',
      `  version      ${server.version}, ${server.mode}, ${server.masters === 1 ? server.role : `${server.masters} masters`}`,
      `  memory       ${mebibytes(usedMemoryBytes)} of ${maxMemoryBytes === 0 ? 'no limit' : mebibytes(maxMemoryBytes)}`,
      `  eviction     ${server.evictionPolicy}: ${server.evictionMeaning}`,
      `  persistence  append-only file ${persistence.aof}; snapshots ${persistence.rdb}`,
      `  clock        ${Math.abs(clockAheadMs)} ms ${clockAheadMs < 0 ? 'behind' : 'ahead of'} this machine`,
    );
  }
  if (latency !== undefined) {
    const { p50Ms, p99Ms, maxMs, pings } = latency;
    lines.push(`  latency      p50 ${p50Ms} ms, p99 ${p99Ms} ms, slowest ${maxMs} ms of ${pings} PINGs`);
  }
  return lines;
}

function verdict({ ok }: Report): string {
  return ok
    ? 'Redis is fit for Athena.'
    : 'Redis is not fit as it is. Athena starts and serves all the same, from its local storage.';
}

const mebibytes = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;

function print(text: string): void {
  process.stdout.write(text);
}

async function main(): Promise<number> {
  let options: { json: boolean; help: boolean };
  try {
    options = readOptions();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return FAULTY_CONFIGURATION;
  }
  if (options.help) {
    print(USAGE);
    return FIT;
  }
  return check(options.json);
}

// The client of a server that never answered leaves timers behind; nothing is gained by waiting for them.
process.exit(await main());

import type { CoherenceReport } from './coherence.js';
import type { DrainReport } from './drain.js';
import type { RoundReport } from './round.js';

const COLUMNS: readonly [title: string, cell: (report: RoundReport) => string][] = [
  ['fault', ({ fault }) => fault],
  ['seed', ({ seed }) => String(seed)],
  ['calls', ({ operations }) => String(operations)],
  ['queued', ({ outcomes }) => String(outcomes['outbox'] ?? 0)],
  ['superseded', ({ outcomes }) => String(outcomes['superseded'] ?? 0)],
  ['slowest ms', ({ slowestMs }) => slowestMs.toFixed(0)],
  ['merge ms', ({ mergeMs }) => mergeMs.toFixed(0)],
  [
    'findings',
    ({ findings }) => (findings.length === 0 ? '0' : tally(findings.map(({ violation }) => violation))),
  ],
];

/** One line for each round, aligned. */
export function table(reports: readonly RoundReport[]): string {
  const rows = [
    COLUMNS.map(([title]) => title),
    ...reports.map((report) => COLUMNS.map(([, cell]) => cell(report))),
  ];
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, n) => cell.padEnd(widths[n] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** What a failing round says: its seed, its findings and the history of the first keys concerned. */
export function failure({ fault, seed, findings, histories }: RoundReport): string {
  const shown = findings.slice(0, 10).map(({ violation, key, detail }) => `  ${violation}: ${key} ${detail}`);
  const more = findings.length > shown.length ? [`  and ${findings.length - shown.length} more`] : [];
  return [`${fault}, seed ${seed}:`, ...shown, ...more, ...histories].join('\n');
}

function tally(names: readonly string[]): string {
  const groups = Map.groupBy(names, (name) => name);
  return [...groups].map(([name, { length }]) => `${length} ${name}`).join(', ');
}

/** The run in figures. */
export function summary(reports: readonly RoundReport[], drains: readonly DrainReport[]): string {
  const sum = (count: (report: RoundReport) => number): number =>
    reports.reduce((total, report) => total + count(report), 0);
  const findings = reports.flatMap((report) => report.findings.map(({ violation }) => violation));
  const slowest = Math.max(0, ...reports.map(({ slowestMs }) => slowestMs));
  return [
    `${reports.length} rounds, ${sum(({ operations }) => operations)} calls, of which into the outbox: ` +
      `${sum(({ outcomes }) => outcomes['outbox'] ?? 0)}`,
    `slowest call: ${slowest.toFixed(0)} ms, without stalls of the event loop`,
    ...drains.map(drainLine),
    findings.length === 0 ? 'found nothing' : `found ${tally(findings)}`,
  ].join('\n');
}

export const drainLine = ({ entries, perSecond, rawPerSecond, missing }: DrainReport): string =>
  `drained ${entries} entries at ${perSecond.toFixed(0)}/s, ${missing} missing; ` +
  `raw pipelined SETs: ${rawPerSecond.toFixed(0)}/s`;

export const coherenceLine = (report: CoherenceReport): string => {
  const { seed, reads, hits, cutOff, writes, kills, freezes, losses, compared, differing } = report;
  const { stalestMs, boundMs, allowanceMs, tooStale } = report;
  return [
    `coherence, seed ${seed}: ${reads} reads, ${hits} of them without Redis, ${cutOff} cut off; ${writes} writes; ` +
      `${kills} kills, ${freezes} freezes, losses noticed ${losses.join(' + ')}`,
    `stalest read ${stalestMs.toFixed(0)} ms, bound ${boundMs} ms and ${allowanceMs.toFixed(0)} for stalls: ` +
      `${tooStale.length} beyond; ${differing.length} of ${compared} values differ from Redis`,
    ...[...tooStale, ...differing].slice(0, 10).map((finding) => `  ${finding}`),
  ].join('\n');
};

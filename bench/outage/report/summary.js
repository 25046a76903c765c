import { BOOT_LIMIT_MS } from '../measures/boot.js';
import { DELETES, HOT, UPDATES, WRITES } from '../workload.js';
import { milliseconds } from './format.js';
import { firstCallOf, slowest, subjectsOf, wasMeasured, worstOf } from './results.js';

/** A column of the summary: `[title, measure, value of a result, how it is shown]`. */
const COLUMNS = [
  ['p50', 'outage', slowest('p50'), milliseconds],
  ['longest call', 'outage', slowest('max'), milliseconds],
  [`lost of ${WRITES}`, 'outage', ({ lost }) => lost, String],
  [`undone of ${DELETES}`, 'outage', ({ undone }) => undone, String],
  [`stale of ${UPDATES} in B`, 'outage', ({ staleInReader }) => staleInReader, String],
  ['in C', 'outage', ({ staleInFresh }) => staleInFresh, String],
  ['lost with a restart', 'restart', ({ lost }) => lost, String],
  [`refilled of ${HOT}`, 'refill', ({ cameBack }) => cameBack, String],
  ['first call at start', 'boot', firstCallOf, showFirstCall],
  ['heap grown, MiB', 'memory', ({ heapMib }) => heapMib, (mib) => String(Math.round(mib))],
];

/** One line for each configuration, with the worse of the two kinds of outage in every cell. */
export const summaryTable = (measured) => ({
  title: 'In short: the worse of kill -9 and SIGSTOP',
  note:
    'Times in ms, of the slowest operation. Lost, undone and stale are what a second instance reads after the return: ' +
    'B lived through the outage, C starts after it.',
  columns: ['', ...COLUMNS.map(([title]) => title)],
  rows: subjectsOf(measured).map((subject) =>
    [subject.label].concat(COLUMNS.map((column) => cellOf(measured, subject, column))),
  ),
});

function cellOf(measured, subject, [, measure, valueOf, show]) {
  if (!wasMeasured(measured, measure)) return '-';
  const value = worstOf(measured, measure, subject, valueOf);
  return value === undefined ? 'failed' : show(value);
}

function showFirstCall(ms) {
  if (ms === Infinity) return 'process ends';
  return ms >= BOOT_LIMIT_MS ? `over ${BOOT_LIMIT_MS}` : milliseconds(ms);
}

import { BOOT_LIMIT_MS } from '../measures/boot.js';
import { MODES } from '../measures/measures.js';
import { DELETES, HOT, OPERATIONS, UPDATES, WRITES } from '../workload.js';
import { milliseconds, seconds } from './format.js';
import { resultOf, slowest, subjectsOf, wasMeasured } from './results.js';

const MODE_NAMES = Object.keys(MODES);

/** A result that is missing is a dash, one that could not be measured says so. */
const shown = (result, value, show = String) => {
  if (value !== undefined) return show(value);
  return result.failure === undefined ? '-' : 'failed';
};
const rounded = (value) => String(Math.round(value));

/** A row for each configuration: its label, and the cells of its results, one for each mode. */
function rowsOf(measured, measure, modes, cells) {
  return subjectsOf(measured).map((subject) => {
    const results = modes.map((mode) => resultOf(measured, measure, mode, subject) ?? {});
    return [subject.label].concat(results.flatMap(cells));
  });
}

const perMode = (titles) => [
  '',
  ...MODE_NAMES.flatMap((mode) => titles.map((title) => `${MODES[mode]}: ${title}`)),
];

const times = ({ p50, p99, max }) => [p50, p99, max].map(milliseconds).join(' / ');

function operationTable(measured, operation) {
  const cell = (result, latencies) => shown(result, latencies?.[operation], times);
  return {
    title: `Time of \`${operation}\`: ms, p50 / p99 / longest`,
    columns: ['', 'Redis is there', ...MODE_NAMES.map((mode) => MODES[mode])],
    rows: rowsOf(measured, 'outage', MODE_NAMES, (result, index) => {
      const away = cell(result, result.during);
      return index === 0 ? [cell(result, result.before), away] : [away];
    }),
  };
}

function afterTable(measured, mode) {
  return {
    title: `After the return of Redis, ${MODES[mode]}`,
    note:
      'What C reads of the writes and deletes, what B and C read of the updated keys, how the calls of A ended, and the ' +
      'longest of those that began after the return (ms).',
    columns: [
      '',
      `lost of ${WRITES}`,
      'of these called stored',
      `undone of ${DELETES}`,
      `stale of ${UPDATES} in B`,
      `stale of ${UPDATES} in C`,
      'calls failed',
      'still open',
      'longest call then',
      'all in Redis after',
    ],
    rows: rowsOf(measured, 'outage', [mode], (result) => [
      shown(result, result.lost),
      shown(result, result.lostThoughAccepted),
      shown(result, result.undone),
      shown(result, result.staleInReader),
      shown(result, result.staleInFresh),
      shown(result, result.failedCalls),
      shown(result, result.openCalls),
      shown(result, slowest('max', 'after')(result), milliseconds),
      shown({}, result.allThereMs, seconds),
    ]),
  };
}

const restartTable = (measured) => ({
  title: 'The application restarts while Redis is away',
  note: '"Readable": by the restarted application, of its own writes, before Redis is back.',
  columns: perMode([`readable of ${WRITES}`, `lost of ${WRITES}`, `undone of ${DELETES}`]),
  rows: rowsOf(measured, 'restart', MODE_NAMES, (result) => [
    result.diedAtStart === undefined ? shown(result, result.readable) : 'ends at start',
    shown(result, result.lost),
    shown(result, result.undone),
  ]),
});

const refillTable = (measured) => ({
  title: 'Redis comes back empty, and an instance knows the values',
  columns: ['', `there again of ${HOT}`],
  rows: rowsOf(measured, 'refill', ['kill9'], (result) => [shown(result, result.cameBack)]),
});

function firstCall(result) {
  if (result.diedAfterMs !== undefined) return `process ends after ${seconds(result.diedAfterMs)}`;
  return shown(result, result.firstCallMs, (ms) =>
    ms >= BOOT_LIMIT_MS ? `over ${BOOT_LIMIT_MS}` : milliseconds(ms),
  );
}

const bootTable = (measured) => ({
  title: 'Redis is away when the application starts: ms',
  note: 'The time until the module is ready, without the reading of the code; then the slowest of four first calls.',
  columns: perMode(['ready', 'first call']),
  rows: rowsOf(measured, 'boot', MODE_NAMES, (result) => [
    shown(result, result.readyMs, milliseconds),
    firstCall(result),
  ]),
});

const memoryTable = (measured) => ({
  title: '100 000 writes of 1 KB to 100 keys while Redis is away: MiB grown',
  note: 'Half a second after the last write, and how many of the calls were answered by then.',
  columns: perMode(['heap', 'resident', 'answered']),
  rows: rowsOf(measured, 'memory', MODE_NAMES, (result) => [
    shown(result, result.heapMib, rounded),
    shown(result, result.residentMib, rounded),
    shown(result, result.answered),
  ]),
});

/** Everything that was measured, as `{ title, note?, columns, rows }`; rows are configurations, cells are text. */
export function tablesOf(measured) {
  const when = (measure, tables) => (wasMeasured(measured, measure) ? tables() : []);
  return [
    ...when('outage', () => [
      ...OPERATIONS.map((operation) => operationTable(measured, operation)),
      ...MODE_NAMES.map((mode) => afterTable(measured, mode)),
    ]),
    ...when('restart', () => [restartTable(measured)]),
    ...when('refill', () => [refillTable(measured)]),
    ...when('boot', () => [bootTable(measured)]),
    ...when('memory', () => [memoryTable(measured)]),
  ];
}

import { isAthena } from '../caches/configurations.js';
import { DELETES, HOT, UPDATES, WRITES } from '../workload.js';
import { milliseconds } from './format.js';
import { firstCallOf, slowest, subjectsOf, wasMeasured, worstOf } from './results.js';

/** Athena's command time-out in this bench, its default. */
export const COMMAND_TIMEOUT_MS = 250;
export const LIMIT_MS = COMMAND_TIMEOUT_MS + 50;
const P50_LIMIT_MS = 1;
const READY_LIMIT_MS = 1000;
const FIRST_CALL_LIMIT_MS = 250;

const below = (limit) => (value) => value < limit;
const none = (value) => value === 0;
const onDisk = ({ options }) => options.local === 'disk';

/** What Athena promises, each as the worst of all operations and both kinds of outage. */
const TARGETS = [
  {
    says: `p50 of every operation below ${P50_LIMIT_MS} ms`,
    measure: 'outage',
    valueOf: slowest('p50'),
    holds: below(P50_LIMIT_MS),
    show: milliseconds,
  },
  {
    says: `longest call below ${LIMIT_MS} ms: the command time-out and 50 ms`,
    measure: 'outage',
    valueOf: slowest('max'),
    holds: below(LIMIT_MS),
    show: milliseconds,
  },
  {
    says: `longest call after the return below ${LIMIT_MS} ms`,
    measure: 'outage',
    valueOf: slowest('max', 'after'),
    holds: below(LIMIT_MS),
    show: milliseconds,
  },
  {
    says: 'calls that failed or never ended: 0',
    measure: 'outage',
    valueOf: ({ failedCalls, openCalls }) => failedCalls + openCalls,
    holds: none,
  },
  { says: `writes lost of ${WRITES}: 0`, measure: 'outage', valueOf: ({ lost }) => lost, holds: none },
  {
    says: `deletes undone of ${DELETES}: 0`,
    measure: 'outage',
    valueOf: ({ undone }) => undone,
    holds: none,
  },
  {
    says: `old values of ${UPDATES} read elsewhere after the merge: 0`,
    measure: 'outage',
    valueOf: ({ staleInReader, staleInFresh }) => Math.max(staleInReader, staleInFresh),
    holds: none,
  },
  {
    says: `writes lost of ${WRITES} when the application restarts meanwhile, with \`disk\`: 0`,
    measure: 'restart',
    valueOf: ({ lost }) => lost,
    holds: none,
    concerns: onDisk,
  },
  {
    says: `deletes undone of ${DELETES} when the application restarts meanwhile, with \`disk\`: 0`,
    measure: 'restart',
    valueOf: ({ undone }) => undone,
    holds: none,
    concerns: onDisk,
  },
  {
    says: `values of ${HOT} that are back when Redis has come back empty: ${HOT}`,
    measure: 'refill',
    valueOf: ({ cameBack }) => cameBack,
    holds: (value) => value === HOT,
  },
  {
    says: `ready below ${READY_LIMIT_MS} ms with Redis absent`,
    measure: 'boot',
    valueOf: ({ readyMs }) => readyMs,
    holds: below(READY_LIMIT_MS),
    show: milliseconds,
  },
  {
    says: `first call below ${FIRST_CALL_LIMIT_MS} ms with Redis absent`,
    measure: 'boot',
    valueOf: firstCallOf,
    holds: below(FIRST_CALL_LIMIT_MS),
    show: milliseconds,
  },
];

function cellOf(measured, subject, { measure, valueOf, holds, show = String, concerns = () => true }) {
  const value = worstOf(measured, measure, subject, valueOf);
  if (!wasMeasured(measured, measure)) return 'not measured';
  if (value === undefined) return 'failed';
  if (!concerns(subject)) return `${show(value)}, not promised`;
  return `${show(value)}, ${holds(value) ? 'kept' : 'MISSED'}`;
}

/** What of Athena's targets this run kept and missed. */
export function targetsTable(measured) {
  const subjects = subjectsOf(measured).filter(isAthena);
  return {
    title: "Athena's targets",
    note: 'The worse of kill -9 and SIGSTOP.',
    columns: ['', ...subjects.map(({ label }) => label)],
    rows: TARGETS.map((target) =>
      [target.says].concat(subjects.map((subject) => cellOf(measured, subject, target))),
    ),
  };
}

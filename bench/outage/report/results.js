import { configurations } from '../caches/configurations.js';
import { MODES } from '../measures/measures.js';
import { OPERATIONS } from '../workload.js';

const MODE_NAMES = Object.keys(MODES);

export const resultOf = (measured, measure, mode, { name }) =>
  measured.results[measure]?.[mode]?.find((result) => result.name === name);

export const wasMeasured = (measured, measure) => measured.results[measure] !== undefined;

/** Those that this run has results of. */
export function subjectsOf({ results }) {
  const names = new Set(
    Object.values(results).flatMap((byMode) =>
      Object.values(byMode)
        .flat()
        .map((result) => result.name),
    ),
  );
  return configurations.filter(({ name }) => names.has(name));
}

/** The largest value in any kind of outage; undefined if a result is missing: half a result is none. */
export function worstOf(measured, measure, subject, valueOf) {
  const results = MODE_NAMES.map((mode) => resultOf(measured, measure, mode, subject)).filter(Boolean);
  const values = results.map(valueOf);
  const isMissing = (value) => value === undefined || Number.isNaN(value);
  if (values.length === 0 || values.some(isMissing)) return undefined;
  return Math.max(...values);
}

/** Of the slowest operation. */
export const slowest =
  (percentile, phase = 'during') =>
  (result) =>
    result[phase] && Math.max(...OPERATIONS.map((operation) => result[phase][operation][percentile]));

/** A process that ends never answers. */
export const firstCallOf = ({ diedAfterMs, firstCallMs }) =>
  diedAfterMs === undefined ? firstCallMs : Infinity;

/** What went wrong with the measuring itself, as text. */
export function failuresOf(measured) {
  return Object.entries(measured.results).flatMap(([measure, byMode]) =>
    Object.entries(byMode).flatMap(([mode, results]) =>
      results
        .filter(({ failure }) => failure !== undefined)
        .map(({ name, failure }) => `${measure}, ${MODES[mode]}, ${name}: ${failure}`),
    ),
  );
}

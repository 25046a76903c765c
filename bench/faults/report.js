import { percentiles } from '../outage/measures/latencies.js';
import { OPERATIONS } from './calls.js';
import { states } from './states.js';

/** `0.012`, `1.4`, `252`: as many digits as mean something. */
const fine = (ms) => (ms < 0.995 ? ms.toFixed(3) : ms < 9.95 ? ms.toFixed(1) : String(Math.round(ms)));
const times = ({ p50, p99, max }) => [p50, p99, max].map(fine).join(' / ');
const signed = (ms) => (ms < 0 ? `-${fine(-ms)}` : fine(ms));

const labelOf = ({ name }) => states.find((state) => state.name === name).label;
const of = (samples, operation) => percentiles(samples.filter((sample) => sample.operation === operation));

function operationTable(rounds, operation) {
  return {
    title: `\`${operation}\`, 16 callers`,
    columns: ['Redis is', 'without Redis', 'with Redis', 'added: p50', 'p99', 'ratio of p50', 'calls'],
    rows: rounds.map((round) => {
      const { shared, local } = round.callers;
      const [ours, alone] = [of(shared, operation), of(local, operation)];
      const calls = shared.filter((sample) => sample.operation === operation).length;
      return [
        labelOf(round),
        times(alone),
        times(ours),
        signed(ours.p50 - alone.p50),
        signed(ours.p99 - alone.p99),
        (ours.p50 / alone.p50).toFixed(1),
        String(calls),
      ];
    }),
  };
}

const burstTable = (rounds) => ({
  title: '1000 calls at once, of all four kinds',
  columns: ['Redis is', 'without Redis', 'at its beginning', 'within it'],
  rows: rounds.map((round) => {
    const { atFirst, within } = round;
    return [
      labelOf(round),
      times(percentiles(within.local)),
      times(percentiles(atFirst.shared)),
      times(percentiles(within.shared)),
    ];
  }),
});

const summary = (rounds) => ({
  title: 'Calls that waited, and lines in the log',
  columns: [
    'Redis is',
    'calls',
    'of these above 50 ms',
    'above 240 ms',
    'above 300 ms',
    'longest',
    'lines logged',
  ],
  rows: rounds.map((round) => {
    const all = round.callers.shared.map(({ ms }) => ms);
    const above = (limit) => String(all.filter((ms) => ms > limit).length);
    const longest = all.reduce((most, ms) => Math.max(most, ms), 0);
    return [
      labelOf(round),
      String(all.length),
      above(50),
      above(240),
      above(300),
      fine(longest),
      String(round.logged),
    ];
  }),
});

export const tablesOf = (rounds) => [
  summary(rounds),
  ...OPERATIONS.map((operation) => operationTable(rounds, operation)),
  burstTable(rounds),
];

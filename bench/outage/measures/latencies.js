import { OPERATIONS } from '../workload.js';

/** `{ set: { p50, p99, max } }` of every operation, in milliseconds. */
export const latencies = (samples) =>
  Object.fromEntries(
    OPERATIONS.map((operation) => [
      operation,
      percentiles(samples.filter((sample) => sample.operation === operation)),
    ]),
  );

export function percentiles(samples) {
  const times = samples.map(({ ms }) => ms).sort((a, b) => a - b);
  const at = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))];
  return { p50: at(0.5), p99: at(0.99), max: times.at(-1) };
}

/** `{ set: [[second, longest ms], …] }`: of the calls that began in that part of the time, from the break-down on. */
export function curves(samples, brokenAt, binMs = 500) {
  return Object.fromEntries(
    OPERATIONS.map((operation) => {
      const longest = new Map();
      for (const { operation: its, at, ms } of samples) {
        if (its !== operation) continue;
        const bin = Math.floor((at - brokenAt) / binMs);
        longest.set(bin, Math.max(longest.get(bin) ?? 0, ms));
      }
      const points = [...longest].map(([bin, ms]) => [(bin * binMs) / 1000, Number(ms.toFixed(2))]);
      return [operation, points.sort(([a], [b]) => a - b)];
    }),
  );
}

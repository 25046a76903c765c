import type { Operation } from './history.js';

/**
 * How far apart two writes of different instances must be for their order to be beyond doubt where Redis did not order
 * them: several times what their clocks may be off.
 */
export const CLOCK_MARGIN_MS = 100;

export interface OrderRules {
  /** Whether Redis kept every write that it acknowledged. If so, it ordered those that it acknowledged. */
  readonly redisKeptAll: boolean;
}

const isMark = ({ kind }: Operation): boolean => kind === 'clear' || kind === 'invalidate';
const isLive = ({ kind }: Operation): boolean => kind === 'set' || kind === 'delete';

/** Whether `first` has the older version of the two beyond doubt. */
export function precedes(first: Operation, second: Operation, { redisKeptAll }: OrderRules): boolean {
  return first.to + marginMs(first, second, redisKeptAll) < second.from;
}

function marginMs(first: Operation, second: Operation, redisKeptAll: boolean): number {
  const { life } = first;
  const computed = first.kind === 'compute' || second.kind === 'compute';
  if (life === second.life && !computed) return 0;
  const byRedis = isLive(first) && isLive(second) && first.outcome === 'redis' && second.outcome === 'redis';
  return redisKeptAll && byRedis ? 0 : CLOCK_MARGIN_MS;
}

export const concerns = (mark: Operation, entry: Operation): boolean =>
  isMark(mark) && (mark.kind === 'clear' || mark.tags.some((tag) => entry.tags.includes(tag)));

/** It took place, and nothing that happened since may have undone that. */
export function isCertain({ outcome, life }: Operation, { redisKeptAll }: OrderRules): boolean {
  switch (outcome) {
    case 'redis':
      return redisKeptAll || life.durable();
    case 'outbox':
    case 'local':
      return life.durable();
    case 'superseded':
    case 'none':
    case 'unknown':
    case 'error':
      return false;
  }
}

/** It may have taken place. */
export const isPossible = ({ outcome }: Operation): boolean => outcome !== 'none';

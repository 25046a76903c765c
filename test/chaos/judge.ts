import type { History, Operation } from './history.js';
import type { OrderRules } from './order.js';
import { CLOCK_MARGIN_MS, concerns, isCertain, isPossible, precedes } from './order.js';

/** What one place had of one key: the value's name, or undefined for none. */
export interface Observation {
  /** `instance 0`, `redis`. */
  readonly place: string;
  readonly key: string;
  readonly value: string | undefined;
  readonly atMs: number;
}

export type Violation =
  | 'caller error'
  /** Accepted, not superseded, not expired, and not visible everywhere. */
  | 'lost write'
  /** Deleted, cleared or invalidated after it was written, and visible. */
  | 'resurrected'
  /** Visible after its expiry. */
  | 'expired value served'
  /** Two places disagree after the merge. */
  | 'disagreement'
  /** Visible, and never written. */
  | 'unknown value'
  /** An instance served what it had itself replaced or removed before. */
  | 'own write forgotten'
  | 'too slow'
  | 'instance died'
  | 'not merged';

export interface Finding {
  readonly violation: Violation;
  readonly key: string;
  readonly detail: string;
}

export interface Rules extends OrderRules {
  /** Values may vanish (eviction); never may they come back. */
  readonly mayLoseValues: boolean;
  /** The longest that a call may take; undefined: not checked. */
  readonly slowestCallMs: number | undefined;
}

/** Compares what was seen with what was done. Pure: a history in, findings out. */
export class Judge {
  constructor(
    private readonly history: History,
    private readonly rules: Rules,
  ) {}

  judge(observations: readonly Observation[]): Finding[] {
    return [
      ...this.callerErrors(),
      ...this.slowCalls(),
      ...this.ownWritesForgotten(),
      ...this.unjustlySuperseded(),
      ...observations.flatMap((observation) => this.observed(observation)),
      ...this.disagreements(observations),
    ];
  }

  private callerErrors(): Finding[] {
    return this.history.operations
      .filter(({ outcome }) => outcome === 'error')
      .map(({ key, kind, error }) => ({ violation: 'caller error', key, detail: `${kind}: ${error}` }));
  }

  private slowCalls(): Finding[] {
    const { slowestCallMs } = this.rules;
    if (slowestCallMs === undefined) return [];
    return this.history.operations
      .filter(({ durationMs, stalledMs }) => durationMs - stalledMs > slowestCallMs)
      .map(({ key, kind, durationMs, stalledMs }) => ({
        violation: 'too slow',
        key,
        detail: `${kind} took ${durationMs.toFixed(0)} ms, of which the event loop stood still ${stalledMs.toFixed(0)}`,
      }));
  }

  /** What a living instance answers while the fault lasts: never what it knows to be replaced. */
  private ownWritesForgotten(): Finding[] {
    return this.history.operations.flatMap((read) => {
      if (read.value === undefined || read.kind !== 'read') return [];
      const written = this.history.writerOf(read.value);
      if (written === undefined) return [finding('unknown value', read.key, `read ${read.value}`)];
      if (written.expiresAt + CLOCK_MARGIN_MS < read.from)
        return [finding('expired value served', read.key, `read ${read.value}`)];
      const replaced = this.replacing(written).find(
        (later) =>
          isAccepted(later) &&
          later.life === read.life &&
          later.endedAt < read.from &&
          precedes(written, later, this.rules),
      );
      if (replaced === undefined) return [];
      const detail = `instance ${read.life.instance} read ${read.value} after its own ${describe(replaced)}`;
      return [finding('own write forgotten', read.key, detail)];
    });
  }

  /** Only something that was not over before it began may supersede a write. */
  private unjustlySuperseded(): Finding[] {
    return this.history.operations
      .filter(({ kind, outcome }) => outcome === 'superseded' && (kind === 'set' || kind === 'delete'))
      .filter((operation) => !this.rivals(operation).some((rival) => !precedes(rival, operation, this.rules)))
      .map((operation) => finding('lost write', operation.key, `${describe(operation)}, by nothing`));
  }

  private observed(observation: Observation): Finding[] {
    const { key, value, place } = observation;
    if (value === undefined) return this.missing(observation);
    const written = this.history.writerOf(value);
    if (written === undefined || written.key !== key)
      return [finding('unknown value', key, `${place} has ${value}`)];
    if (written.expiresAt + CLOCK_MARGIN_MS < observation.atMs)
      return [finding('expired value served', key, `${place} has ${value}`)];
    const later = this.replacing(written).find(
      (other) => isCertain(other, this.rules) && precedes(written, other, this.rules),
    );
    if (later === undefined) return [];
    const isSet = later.kind === 'set' || later.kind === 'compute';
    const violation = isSet && later.expiresAt > observation.atMs ? 'lost write' : 'resurrected';
    return [finding(violation, key, `${place} has ${value}, written before ${describe(later)}`)];
  }

  /** A key without a value is right if its newest write may be a delete, may be marked, expired or never took place. */
  private missing({ key, place, atMs }: Observation): Finding[] {
    if (this.rules.mayLoseValues) return [];
    const newest = this.newestSets(key).find((set) => !this.mayBeGone(set, atMs));
    if (newest === undefined) return [];
    return [finding('lost write', key, `${place} has nothing; ${describe(newest)} should be there`)];
  }

  private newestSets(key: string): Operation[] {
    const certain = this.history
      .of(key)
      .filter((operation) => isWrite(operation) && isCertain(operation, this.rules));
    return certain.filter(
      (operation) =>
        operation.value !== undefined && !certain.some((other) => precedes(operation, other, this.rules)),
    );
  }

  private mayBeGone(set: Operation, atMs: number): boolean {
    if (set.expiresAt - CLOCK_MARGIN_MS <= atMs) return true;
    return this.replacing(set).some((other) => {
      if (precedes(other, set, this.rules)) return false;
      const staysVisible = other.value !== undefined && other.expiresAt - CLOCK_MARGIN_MS > atMs;
      return !staysVisible || !isCertain(other, this.rules);
    });
  }

  private disagreements(observations: readonly Observation[]): Finding[] {
    return [...Map.groupBy(observations, ({ key }) => key)].flatMap(([key, seen]) => {
      const compared = this.rules.mayLoseValues ? seen.filter(({ value }) => value !== undefined) : seen;
      if (new Set(compared.map(({ value }) => value)).size <= 1) return [];
      const detail = seen.map(({ place, value }) => `${place}: ${value ?? 'nothing'}`).join(', ');
      return [finding('disagreement', key, detail)];
    });
  }

  /** All that may have replaced or removed it, whenever that was. */
  private replacing(written: Operation): Operation[] {
    const { key } = written;
    const writes = this.history.of(key).filter((other) => other !== written && isWrite(other));
    const marks = this.history.allMarks.filter((mark) => concerns(mark, written));
    return [...writes, ...marks].filter((other) => isPossible(other) && other.outcome !== 'superseded');
  }

  private rivals(operation: Operation): Operation[] {
    const writes = this.history.of(operation.key).filter((other) => other !== operation && isWrite(other));
    return [...writes, ...this.history.allMarks].filter(isPossible);
  }
}

const isAccepted = ({ outcome }: Operation): boolean =>
  outcome === 'redis' || outcome === 'outbox' || outcome === 'local';

const isWrite = ({ kind }: Operation): boolean => kind === 'set' || kind === 'compute' || kind === 'delete';

const finding = (violation: Violation, key: string, detail: string): Finding => ({ violation, key, detail });

const describe = ({ kind, value, life, outcome }: Operation): string =>
  `${kind}${value === undefined ? '' : ` of ${value}`} by instance ${life.instance} (${outcome})`;

/** What was asked of the instances in one run, in which order, and what came of it. */

/** One life of an instance, from its start to its end or death. */
export interface Life {
  readonly instance: number;
  readonly start: number;
  /** What it accepted is kept by it until the end of the run: it lived that long, or it has a disk. */
  readonly durable: () => boolean;
}

export type Kind = 'set' | 'delete' | 'clear' | 'invalidate' | 'compute' | 'read';

/** `unknown`: the instance died before it answered. `error`: the caller got an exception. */
export type Outcome = 'redis' | 'outbox' | 'local' | 'superseded' | 'none' | 'unknown' | 'error';

export interface Operation {
  readonly life: Life;
  readonly kind: Kind;
  /** '' for a clear and an invalidation. */
  readonly key: string;
  /** Of the entry, or those that were invalidated. */
  readonly tags: readonly string[];
  /** Written or read; each value is written once. Undefined: none. */
  readonly value: string | undefined;
  /** Epoch milliseconds. The version of a write was made between `from` and `to`. */
  readonly from: number;
  readonly to: number;
  readonly endedAt: number;
  /** In the instance, without its factory. */
  readonly durationMs: number;
  /** How much of that the event loop of the instance stood still. */
  readonly stalledMs: number;
  readonly outcome: Outcome;
  readonly error?: string | undefined;
  /** Epoch milliseconds; Infinity for what outlives the run. */
  readonly expiresAt: number;
}

export class History {
  readonly operations: Operation[] = [];
  private readonly byKey = new Map<string, Operation[]>();
  private readonly marks: Operation[] = [];
  private readonly byValue = new Map<string, Operation>();

  add(operation: Operation): void {
    this.operations.push(operation);
    const { kind, key, value } = operation;
    if (kind === 'clear' || kind === 'invalidate') {
      this.marks.push(operation);
      return;
    }
    const former = this.byKey.get(key);
    if (former === undefined) this.byKey.set(key, [operation]);
    else former.push(operation);
    if (value !== undefined && kind !== 'read') this.byValue.set(value, operation);
  }

  get keys(): string[] {
    return [...this.byKey.keys()];
  }

  of(key: string): readonly Operation[] {
    return this.byKey.get(key) ?? [];
  }

  /** Clears and invalidations. */
  get allMarks(): readonly Operation[] {
    return this.marks;
  }

  writerOf(value: string): Operation | undefined {
    return this.byValue.get(value);
  }

  /** What concerns a key, for people. */
  tell(key: string): string {
    const own = this.of(key);
    const tags = new Set(own.flatMap((operation) => operation.tags));
    const marks = this.marks.filter(
      (mark) => mark.kind === 'clear' || mark.tags.some((tag) => tags.has(tag)),
    );
    const operations = [...own, ...marks].sort((a, b) => a.from - b.from);
    const zero = operations[0]?.from ?? 0;
    return operations.map((operation) => line(operation, zero)).join('\n');
  }
}

function line(operation: Operation, zero: number): string {
  const { life, kind, value, tags, from, to, endedAt, outcome, error, expiresAt } = operation;
  const times = `${(from - zero).toFixed(1)}..${(endedAt - zero).toFixed(1)} ms`;
  const details = [
    kind === 'compute' ? `factory at ${(to - zero).toFixed(1)}` : '',
    tags.length > 0 ? `[${tags.join()}]` : '',
    Number.isFinite(expiresAt) ? `expires at ${(expiresAt - zero).toFixed(0)}` : '',
    error ?? '',
  ];
  const done = kind === 'read' ? '' : `-> ${outcome} `;
  const who = `#${life.instance}.${life.start}`;
  return `  ${times.padEnd(24)} ${who} ${kind} ${value ?? '-'} ${done}${details.filter(Boolean).join(' ')}`;
}

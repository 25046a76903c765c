import type { Severity } from '../../../analysis.js';
import { FLAWS, type Flaw, type FlawName } from './flaws.js';
import type { NameResolver } from './names.js';
import { lineOf, type NodePath, type t } from './syntax.js';
import type { TaintTracker } from './taint.js';
import type { Channel, Trace } from './trace.js';

export type Confidence = 'high' | 'medium' | 'low';

export interface Finding {
  readonly flaw: Flaw;
  readonly line: number;
  readonly severity: Severity;
  readonly confidence: Confidence;
  /** What was seen here, as a sentence without the full stop. */
  readonly detail: string;
}

export interface RuleContext {
  readonly names: NameResolver;
  readonly taint: TaintTracker;
  readonly source: string;
  report(
    flaw: FlawName,
    where: NodePath | number,
    finding: { severity: Severity; confidence?: Confidence; detail: string },
  ): void;
}

/** Handlers by node type; each is called for every such node of the file. */
export type RuleVisitor = { readonly [K in t.Node['type']]?: (path: NodePath) => void };

/** A rule looks at nodes of some types and reports; it must not keep anything between files. */
export type Rule = (context: RuleContext) => RuleVisitor;

const STEPS: readonly Severity[] = ['low', 'medium', 'high', 'critical'];

/** A value that anyone on the network chooses makes a flaw one step worse. */
export function severityFor(base: Severity, trace: Trace): Severity {
  return trace.level === 'remote' ? (STEPS[STEPS.indexOf(base) + 1] ?? 'critical') : base;
}

const WHO: Readonly<Record<Channel, string>> = {
  request: 'the client of the server',
  browser: 'whoever made the link or page',
  message: 'the sender of a message',
  archive: 'whoever made the archive',
  input: 'the user of the page',
  terminal: 'the user of the terminal',
  response: 'another server',
  parameter: 'the caller',
  environment: 'the environment',
};

export function provenance(trace: Trace): string {
  return `\`${trace.origin}\`, chosen by ${WHO[trace.channel]}, arrives here`;
}

export function confidenceIn(trace: Trace): Confidence {
  return trace.level === 'remote' ? 'high' : trace.level === 'local' ? 'medium' : 'low';
}

/** Collects findings, one per kind of flaw and line. */
export class Findings {
  readonly #found = new Map<string, Finding>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  get isFull(): boolean {
    return this.#found.size >= this.#max;
  }

  add(
    flawName: FlawName,
    where: NodePath | number,
    finding: { severity: Severity; confidence?: Confidence; detail: string },
  ): void {
    const flaw: Flaw = FLAWS[flawName];
    const line = typeof where === 'number' ? where : lineOf(where);
    const key = `${flaw.cwe}:${line}`;
    const known = this.#found.get(key);
    const isWorse = !known || STEPS.indexOf(finding.severity) > STEPS.indexOf(known.severity);
    if (isWorse && (known || !this.isFull)) {
      this.#found.set(key, { confidence: 'high', ...finding, flaw, line });
    }
  }

  has(cwe: number, line: number): boolean {
    return this.#found.has(`${cwe}:${line}`);
  }

  sorted(): Finding[] {
    return [...this.#found.values()].sort((a, b) => a.line - b.line || a.flaw.cwe - b.flaw.cwe);
  }
}

import type { Coverage, Vulnerability } from '../../analysis.js';

/**
 * The contract inside the local provider's child process: what the two analysers take and give. Both are called
 * only with text that `source.ts` has identified; neither may assume that it is friendly.
 */

/** A dialect that the parser understands. */
export type Dialect = 'javascript' | 'typescript';

/** What the deobfuscation pipeline found out; `report.ts` words it. */
export interface Deobfuscation {
  readonly code: string;
  /** False when the output is the input, byte for byte or but for layout. */
  readonly changed: boolean;
  /** Names of techniques that were recognised, e.g. `string array (rotated, rc4)`, `eval wrapper`, `JSFuck`. */
  readonly techniques: readonly string[];
  readonly layers: readonly { readonly via: string; readonly bytes: number }[];
  readonly decodedStrings: number;
  readonly foldedExpressions: number;
  readonly confidence: Coverage['confidence'];
  readonly level: Coverage['level'];
  readonly parsed: boolean;
  /** Plain sentences: what could not be done. */
  readonly limits: readonly string[];
}

/** What the rule pack found; `report.ts` words it. */
export interface Findings {
  readonly vulnerabilities: readonly (Vulnerability & { readonly confidence: Coverage['confidence'] })[];
  /** Weaker signals that belong in the report, never in the list. */
  readonly observations: readonly string[];
  readonly level: Coverage['level'];
  readonly parsed: boolean;
  readonly limits: readonly string[];
}

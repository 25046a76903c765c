/** How far a result can be trusted to be everything that the source hides. */
import type { Coverage } from '../../../analysis.js';
import type { Residue } from './techniques.js';

export interface Evidence {
  readonly isObfuscated: boolean;
  /** Something that was hidden was brought to light. */
  readonly hasDecoded: boolean;
  readonly stepFailed: boolean;
  readonly residue: Residue;
}

export function confidenceOf({
  isObfuscated,
  hasDecoded,
  stepFailed,
  residue,
}: Evidence): Coverage['confidence'] {
  if (!hasDecoded && isObfuscated) return 'low';
  if (!hasDecoded) return stepFailed ? 'medium' : 'high';
  if (residue.scrambledLiterals > 0) return 'low';
  const remains = residue.undecodedCalls + residue.encodedLiterals > 0 || residue.flattenedFlow;
  return remains || stepFailed ? 'medium' : 'high';
}

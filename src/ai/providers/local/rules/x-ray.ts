import type { Warning } from '@nodesecure/js-x-ray';
import type { Dialect } from '../local-analysis.js';

/** What the second engine saw. Only some kinds of its warnings are certain enough to be findings. */
export interface XRayReport {
  readonly slowRegexes: readonly { readonly line: number; readonly pattern: string }[];
  /** Lines on which data about the machine is collected. */
  readonly collecting: readonly { readonly line: number; readonly what: string }[];
  readonly obfuscation: readonly { readonly line: number; readonly tool: string }[];
  readonly observations: readonly string[];
}

const MAX_OBSERVATIONS = 20;
const WORDING: Readonly<Record<string, string>> = {
  'shady-link': 'an address of a kind often used by malware',
  'encoded-literal': 'a long encoded text',
  'short-identifiers': 'mostly very short names, as in minified or obfuscated code',
  'suspicious-literal': 'suspicious texts',
  'suspicious-file': 'many encoded texts',
  'serialize-environment': 'the environment is turned into text',
  'unsafe-import': 'a module is loaded by a name that is not constant',
  'unsafe-stmt': 'code is evaluated',
  'unsafe-command': 'a suspicious command is run',
  'monkey-patch': 'a built-in prototype is changed',
  'crypto.weak-algorithm': 'a weak algorithm is named',
  'insecure-random': 'Math.random is used',
  'prototype-pollution': '__proto__ is touched',
  'sql-injection': 'SQL is put together from text',
  'unsafe-vm-context': 'a vm context gets objects from outside',
};

function firstLine(location: Warning['location']): number {
  const [first] = location ?? [];
  const point = Array.isArray(first) && Array.isArray(first[0]) ? first[0] : first;
  const line = Array.isArray(point) ? point[0] : undefined;
  return typeof line === 'number' && line > 0 ? line : 1;
}

function observation(warning: Warning): string {
  const where = warning.location === null ? '' : `, line ${firstLine(warning.location)}`;
  return `${WORDING[warning.kind] ?? warning.kind} (js-x-ray ${warning.kind}${where})`;
}

/** Throws what the engine throws: it gives up on some inputs, and the caller has to say so. */
export async function xRay(source: string, dialect: Dialect): Promise<XRayReport> {
  // It brings the TypeScript compiler along, and takes half a second to load.
  const { AstAnalyser, TsSourceParser } = await import('@nodesecure/js-x-ray');
  const analyser = new AstAnalyser({ sensitivity: 'aggressive' });
  const options = dialect === 'typescript' ? { customParser: new TsSourceParser() } : {};
  const { warnings } = analyser.analyse(source, options);
  const of = (kind: string): Warning[] => warnings.filter((warning) => warning.kind === kind);
  const findingKinds = new Set(['unsafe-regex', 'data-exfiltration', 'obfuscated-code', 'parsing-error']);
  const others = new Set(warnings.filter((each) => !findingKinds.has(each.kind)).map(observation));
  return {
    slowRegexes: of('unsafe-regex').map((each) => ({
      line: firstLine(each.location),
      pattern: each.value ?? '',
    })),
    collecting: of('data-exfiltration').map((each) => ({
      line: firstLine(each.location),
      what: each.value ?? '',
    })),
    obfuscation: of('obfuscated-code').map((each) => ({
      line: firstLine(each.location),
      tool: each.value ?? '',
    })),
    observations: [...others].slice(0, MAX_OBSERVATIONS),
  };
}

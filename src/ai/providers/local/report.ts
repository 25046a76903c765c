import type { Coverage, Severity } from '../../analysis.js';
import { SEVERITIES } from '../../analysis.js';
import type { DecodedBlob } from './encoded-blobs.js';
import { harmless } from './harmless-text.js';
import type { IndicatorGroup } from './indicators.js';
import type { Deobfuscation, Findings } from './local-analysis.js';

/**
 * Reports are templates filled from what was measured: no judgement is made up, and the same findings always give
 * the same words. What is quoted from the input is made harmless to read and cut to length.
 */

export interface DeobfuscationFacts {
  readonly deobfuscation: Deobfuscation;
  readonly coverage: Coverage;
  /** Kind of content, as in `Source`. */
  readonly kind: 'script' | 'page' | 'other' | 'unreadable';
  readonly inputBytes: number;
  readonly indicators: readonly IndicatorGroup[];
  readonly blobs: readonly DecodedBlob[];
}

export interface VulnerabilityFacts {
  readonly findings: Findings;
  readonly coverage: Coverage;
  readonly kind: DeobfuscationFacts['kind'];
  readonly inputBytes: number;
  /** Whether decoded code was searched too. */
  readonly decoded: boolean;
}

const MAX_QUOTED_CHARS = 200;
const MAX_LISTED = 50;
const NO_CLEAN_BILL =
  'That nothing was found does not mean that nothing is there: the rules know common flaws only, ' +
  'and see neither other files nor what happens at run time.';
const NOT_ANALYSED_NO_CLEAN_BILL =
  'The content was not analysed for flaws, so the absence of findings means nothing at all.';
const NAMES_ARE_LOST =
  'The original names of variables and functions, comments and layout are gone: no tool recovers them.';
const SECOND_OPINION =
  'This analysis used fixed rules only. A provider with a language model may see more, if one is configured.';

export function deobfuscationReport(facts: DeobfuscationFacts): string {
  const { deobfuscation, indicators, blobs } = facts;
  return joinSections([
    ['Deobfuscation report', ...summaryOf(facts)],
    listSection('Techniques', deobfuscation.techniques.map(quote)),
    listSection(
      'Layers, from the outside in',
      deobfuscation.layers.map(({ via, bytes }) => `${quote(via)}: ${count(bytes, 'byte')}`),
    ),
    ...blobSections(blobs),
    ...indicatorSections(indicators, deobfuscation.changed),
    coverageSection(facts.coverage),
    [facts.kind === 'script' || facts.kind === 'page' ? NAMES_ARE_LOST : '', SECOND_OPINION],
  ]);
}

export function vulnerabilitiesReport(facts: VulnerabilityFacts): string {
  const { findings, coverage, decoded } = facts;
  const { vulnerabilities, observations } = findings;
  const searched = decoded ? 'The code as submitted and its decoded form were searched.' : '';
  return joinSections([
    [
      'Vulnerability report',
      inputLine(facts.kind, facts.inputBytes, coverage),
      searched,
      outcomeOf(findings, coverage),
    ],
    listSection('Findings', vulnerabilities.map(findingLine)),
    listSection('Observations, which are not findings', observations.map(quote)),
    coverageSection(coverage),
    [SECOND_OPINION],
  ]);
}

function summaryOf({ deobfuscation, coverage, kind, inputBytes }: DeobfuscationFacts): string[] {
  const input = inputLine(kind, inputBytes, coverage);
  if (kind === 'other' || kind === 'unreadable') {
    return [input, 'Only JavaScript and TypeScript are decoded: the content is returned as it came.'];
  }
  const { changed, layers, decodedStrings, foldedExpressions } = deobfuscation;
  if (!changed) {
    const outcome =
      coverage.level === 'none'
        ? 'It was not decoded and is returned as it came.'
        : 'Nothing in it was decoded; the layout may differ.';
    return [input, outcome];
  }
  const parts = [
    ...counted(layers.length, 'layer', 'unwrapped'),
    ...counted(decodedStrings, 'string', 'decoded'),
    ...counted(foldedExpressions, 'expression', 'evaluated'),
  ];
  return [input, parts.length === 0 ? 'It was decoded.' : `It was decoded: ${parts.join(', ')}.`];
}

function inputLine(
  kind: DeobfuscationFacts['kind'],
  bytes: number,
  { language, languageSource }: Coverage,
): string {
  const size = count(bytes, 'byte');
  if (kind === 'unreadable') return `The content (${size}) is no text that could be analysed.`;
  const source = {
    hint: 'as its name says',
    parse: 'found by parsing it',
    guess: 'a guess from its beginning',
    none: 'not recognised',
  }[languageSource];
  return `The content has ${size}. Language: ${language} (${source}).`;
}

function outcomeOf({ vulnerabilities }: Findings, { level }: Coverage): string {
  if (vulnerabilities.length === 0) {
    return level === 'none' ? NOT_ANALYSED_NO_CLEAN_BILL : `No rule matched. ${NO_CLEAN_BILL}`;
  }
  const bySeverity = SEVERITIES.toReversed()
    .map((severity): [Severity, number] => [
      severity,
      vulnerabilities.filter((vulnerability) => vulnerability.severity === severity).length,
    ])
    .filter(([, found]) => found > 0)
    .map(([severity, found]) => `${found} ${severity}`);
  return `${count(vulnerabilities.length, 'finding')}: ${bySeverity.join(', ')}. There may be flaws that no rule knows.`;
}

function findingLine({
  name,
  severity,
  cweId,
  line,
  confidence,
}: Findings['vulnerabilities'][number]): string {
  const where = line === undefined ? 'in decoded code' : `line ${line}`;
  return `${quote(name)}${cweId === undefined ? '' : ` (${cweId})`}, ${where}: ${severity}, confidence ${confidence}`;
}

function blobSections(blobs: readonly DecodedBlob[]): string[][] {
  return [
    listSection(
      'Encoded text in the content',
      blobs.map(({ encoding, offset, text }) => `${encoding} at character ${offset}: ${quote(text)}`),
    ),
  ];
}

function indicatorSections(groups: readonly IndicatorGroup[], decoded: boolean): string[][] {
  if (groups.length === 0) return [];
  const where = decoded ? 'the decoded code' : 'the code';
  return [
    [`What ${where} mentions (text search; a mention is not a use)`],
    ...groups.map(({ title, values, more }) =>
      listSection(title, [...values.map(quote), ...(more > 0 ? [`and ${more} more`] : [])]),
    ),
  ];
}

function coverageSection({ language, level, confidence, parsed, limits }: Coverage): string[] {
  const scope = `Language ${language}, level ${level}, confidence ${confidence}, ${parsed ? 'parsed' : 'not parsed'}.`;
  return ['Coverage', scope, ...limits.map((limit) => `- ${limit}`)];
}

function listSection(title: string, items: readonly string[]): string[] {
  if (items.length === 0) return [];
  const listed = items.slice(0, MAX_LISTED).map((item) => `- ${item}`);
  const more = items.length - listed.length;
  return [title, ...listed, ...(more > 0 ? [`- and ${more} more`] : [])];
}

function joinSections(sections: readonly (readonly string[])[]): string {
  return sections
    .map((lines) => lines.filter((line) => line !== ''))
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n');
}

/** Hostile text on one line, cut to length. */
export function quote(text: string): string {
  const cut = text.length > MAX_QUOTED_CHARS ? `${text.slice(0, MAX_QUOTED_CHARS)}…` : text;
  return harmless(cut).trim();
}

function counted(number: number, noun: string, done: string): string[] {
  return number === 0 ? [] : [`${count(number, noun)} ${done}`];
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

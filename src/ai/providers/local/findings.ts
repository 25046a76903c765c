import type { Coverage, Vulnerability } from '../../analysis.js';
import { SEVERITIES } from '../../analysis.js';
import { harmless } from './harmless-text.js';
import type { Findings } from './local-analysis.js';

/** Findings put together, put in order, and kept within bounds. */

type Finding = Findings['vulnerabilities'][number];

const MAX_FINDINGS = 500;
const MAX_NAME_CHARS = 200;
const MAX_DESCRIPTION_CHARS = 2_000;

export function nothingFound(level: Coverage['level'], limits: readonly string[]): Findings {
  return { vulnerabilities: [], observations: [], level, parsed: false, limits };
}

/** Decoded code adds what the original did not show, by weakness; it has no lines of the submitted file. */
export function mergeFindings(original: Findings, decoded: Findings | undefined): Findings {
  if (decoded === undefined) return original;
  const known = new Set(original.vulnerabilities.map(({ cweId }) => cweId));
  const added = decoded.vulnerabilities
    .filter(({ cweId }) => cweId === undefined || !known.has(cweId))
    .map(inDecodedCode);
  return {
    ...original,
    vulnerabilities: [...original.vulnerabilities, ...added],
    observations: [...new Set([...original.observations, ...decoded.observations])],
    limits: [...new Set([...original.limits, ...decoded.limits])],
  };
}

function inDecodedCode({ name, description, severity, confidence, cweId }: Finding): Finding {
  const finding = { name, description: `In decoded code: ${description}`, severity, confidence };
  return cweId === undefined ? finding : { ...finding, cweId };
}

/** The most severe first, and no more than anybody reads. */
export function boundFindings(findings: Findings): Findings {
  const { vulnerabilities, limits } = findings;
  const ranked = vulnerabilities.toSorted((a, b) => rank(b) - rank(a));
  if (ranked.length <= MAX_FINDINGS) return { ...findings, vulnerabilities: ranked };
  const limit = `There are ${ranked.length} findings; the ${MAX_FINDINGS} most severe are listed.`;
  return { ...findings, vulnerabilities: ranked.slice(0, MAX_FINDINGS), limits: [...limits, limit] };
}

/**
 * A finding as it is answered. The analyser's confidence is for the report only, and nothing here could know a
 * CVE or a Metasploit module.
 */
export function asVulnerability({ name, description, severity, cweId, line }: Finding): Vulnerability {
  return {
    name: harmless(name).slice(0, MAX_NAME_CHARS),
    description: harmless(description).slice(0, MAX_DESCRIPTION_CHARS),
    severity,
    ...(cweId === undefined ? {} : { cweId }),
    ...(line === undefined ? {} : { line }),
  };
}

function rank({ severity }: Finding): number {
  return SEVERITIES.indexOf(severity);
}

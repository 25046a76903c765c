import type { Dialect, Findings as Report } from '../local-analysis.js';
import { exfiltration } from './checks/exfiltration.js';
import { hardcodedSecrets } from './checks/hardcoded-secrets.js';
import { insecureRandom } from './checks/insecure-random.js';
import { markup } from './checks/markup.js';
import { nosqlInjection } from './checks/nosql.js';
import { prototypePollution } from './checks/prototype-pollution.js';
import { responseHeaders } from './checks/response-headers.js';
import { shellArguments } from './checks/shell-arguments.js';
import { slowRegex } from './checks/slow-regex.js';
import { sqlInjection } from './checks/sql.js';
import { taintedCall } from './checks/tainted-call.js';
import { timing } from './checks/timing.js';
import { tokens } from './checks/tokens.js';
import { unsafeOptions } from './checks/unsafe-options.js';
import { weakCrypto } from './checks/weak-crypto.js';
import { NameResolver } from './names.js';
import { parseSource, withScopes, type ParsedSource } from './parse-source.js';
import { indexProgram } from './program-index.js';
import { isAmbiguous } from './regex-ambiguity.js';
import { Findings, type Finding, type Rule, type RuleContext } from './rule.js';
import { Sources } from './sources.js';
import { traverse, type NodePath, type t } from './syntax.js';
import { TaintTracker } from './taint.js';
import { xRay } from './x-ray.js';

const RULES: readonly Rule[] = [
  taintedCall,
  sqlInjection,
  shellArguments,
  markup,
  responseHeaders,
  nosqlInjection,
  prototypePollution,
  unsafeOptions,
  weakCrypto,
  insecureRandom,
  tokens,
  hardcodedSecrets,
  exfiltration,
  timing,
  slowRegex,
];

const MAX_FINDINGS = 500;
const MAX_CHARACTERS = 1_048_576;
/** Part of the time that the rules may use; the rest is for the second engine and the answer. */
const RULE_SHARE = 0.75;
/** Usually 1.5 s a megabyte, up to 5 s for dense code; the worst counts, because it cannot be interrupted. */
const X_RAY_MS_PER_CHARACTER = 0.005;
const X_RAY_LOAD_MS = 600;
const STEPS_PER_CLOCK = 256;

class OutOfTime extends Error {}

/** Throws `OutOfTime` from the first call after the deadline; looks at the clock now and then only. */
function stopwatch(deadline: number): () => void {
  let steps = 0;
  return () => {
    steps += 1;
    if (steps % STEPS_PER_CLOCK === 0 && performance.now() > deadline) {
      throw new OutOfTime();
    }
  };
}

function problem(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replaceAll(/\s+/g, ' ').slice(0, 200);
}

type Handler = (path: NodePath) => void;

function handlersByType(context: RuleContext): Map<string, Handler[]> {
  const handlers = new Map<string, Handler[]>();
  for (const rule of RULES) {
    for (const [type, handler] of Object.entries(rule(context))) {
      handlers.set(type, [...(handlers.get(type) ?? []), handler]);
    }
  }
  return handlers;
}

/** Runs all rules over the file. One rule that fails on a strange node does not stop the others. */
function runRules(file: t.File, source: string, found: Findings, deadline: number): string[] {
  const tick = stopwatch(deadline);
  const names = new NameResolver();
  const failures = new Set<string>();
  const taint = new TaintTracker(names, new Sources(names), indexProgram(file, tick), tick);
  const handlers = handlersByType({
    names,
    taint,
    source,
    report: (flaw, where, finding) => found.add(flaw, where, finding),
  });
  traverse(file, {
    enter(path: NodePath) {
      tick();
      for (const handler of handlers.get(path.type) ?? []) {
        try {
          handler(path);
        } catch (error) {
          if (error instanceof OutOfTime) {
            throw error;
          }
          failures.add(`A rule failed on line ${path.node.loc?.start.line ?? 0}: ${problem(error)}`);
        }
      }
    },
  });
  return [...failures].slice(0, 5);
}

async function addXRay(source: string, dialect: Dialect, found: Findings): Promise<readonly string[]> {
  const report = await xRay(source, dialect);
  const observations = [...report.observations];
  for (const { line, pattern } of report.slowRegexes) {
    // It counts repetitions only; an expression that provably has one way to match each text is no flaw.
    if (isAmbiguous(pattern) === false) {
      observations.push(`a complex but unambiguous regular expression (js-x-ray unsafe-regex, line ${line})`);
    } else if (!found.has(1333, line)) {
      found.add('slowRegex', line, {
        severity: 'low',
        confidence: 'low',
        detail: `the pattern is \`${pattern.slice(0, 120)}\``,
      });
    }
  }
  for (const { line, what } of report.collecting) {
    // It warns of every import of `os`; only the path of a file with credentials is more than a hint.
    if (what.includes('~/.')) {
      found.add('exfiltration', line, {
        severity: 'medium',
        confidence: 'low',
        detail: `data about the machine is collected with \`${what.slice(0, 100)}\``,
      });
    } else {
      observations.push(`data about the machine is read (js-x-ray data-exfiltration, line ${line})`);
    }
  }
  for (const { line, tool } of report.obfuscation) {
    found.add('obfuscation', line, {
      severity: 'medium',
      confidence: 'medium',
      detail: `the code looks like the work of \`${tool.slice(0, 60)}\``,
    });
  }
  return observations;
}

function toVulnerability({
  flaw,
  line,
  severity,
  confidence,
  detail,
}: Finding): Report['vulnerabilities'][number] {
  const sentence = detail.charAt(0).toUpperCase() + detail.slice(1);
  return {
    name: flaw.name,
    description: `${flaw.harm} ${sentence}. ${flaw.remedy} (CWE-${flaw.cwe})`.slice(0, 4_000),
    severity,
    cweId: `CWE-${flaw.cwe}`,
    line,
    confidence,
  };
}

function nothing(limit: string): Report {
  return { vulnerabilities: [], observations: [], level: 'none', parsed: false, limits: [limit] };
}

function parseOrExplain(source: string, dialect: Dialect): ParsedSource | string {
  try {
    return parseSource(source, dialect);
  } catch (error) {
    return error instanceof RangeError
      ? 'The code is nested too deeply to be parsed, so it was not searched for vulnerabilities.'
      : `The code could not be parsed (${problem(error)}), so it was not searched for vulnerabilities.`;
  }
}

/** What the rules could not do, in sentences. */
function searchWithRules(parsed: ParsedSource, source: string, found: Findings, deadline: number): string[] {
  const limits: string[] = [];
  if (parsed.recovered.length > 0) {
    limits.push(
      `The parser stepped over ${parsed.recovered.length} syntax errors; code around them may have been missed.`,
    );
  }
  try {
    withScopes(parsed.file, () => limits.push(...runRules(parsed.file, source, found, deadline)));
  } catch (error) {
    if (error instanceof OutOfTime) {
      limits.push('The time ran out before the rules had seen the whole file.');
    } else if (error instanceof RangeError) {
      limits.push('Some code is nested too deeply for the rules, which stopped there.');
    } else {
      limits.push(`The rules stopped early: ${problem(error)}.`);
    }
  }
  traverse.cache.clear();
  if (found.isFull) {
    limits.push(`Only the first ${MAX_FINDINGS} findings are listed.`);
  }
  return limits;
}

/**
 * Searches code for vulnerabilities: own rules that follow values from outside to where they do harm, and a few
 * signals of js-x-ray. Never throws; what could not be done stands in `limits`.
 */
export async function findVulnerabilities(
  source: string,
  options: { dialect: Dialect; timeoutMs: number },
): Promise<Report> {
  const started = performance.now();
  if (source.length > MAX_CHARACTERS) {
    return nothing(
      `The code is longer than ${MAX_CHARACTERS} characters, so it was not searched for vulnerabilities.`,
    );
  }
  const parsed = parseOrExplain(source, options.dialect);
  if (typeof parsed === 'string') {
    return nothing(parsed);
  }
  const found = new Findings(MAX_FINDINGS);
  const limits = searchWithRules(parsed, source, found, started + options.timeoutMs * RULE_SHARE);
  let observations: readonly string[] = [];
  const needed = X_RAY_LOAD_MS + source.length * X_RAY_MS_PER_CHARACTER;
  if (options.timeoutMs - (performance.now() - started) < needed) {
    limits.push('js-x-ray did not run, because too little time was left.');
  } else {
    try {
      observations = await addXRay(source, options.dialect, found);
    } catch (error) {
      limits.push(`js-x-ray could not analyse the code: ${problem(error)}.`);
    }
  }
  return {
    vulnerabilities: found.sorted().map(toVulnerability),
    observations,
    level: limits.length > 0 ? 'partial' : 'full',
    parsed: true,
    limits,
  };
}

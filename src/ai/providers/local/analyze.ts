import type {
  AnalysisResult,
  AnalysisType,
  Coverage,
  DeobfuscationResult,
  VulnerabilitiesResult,
} from '../../analysis.js';
import type { Language } from '../../language.js';
import { boundCode, combine, laidOut, notDecoded } from './deobfuscation-result.js';
import { decodeBlobs } from './encoded-blobs.js';
import { blankMarkup, replaceScripts, type InlineScript } from './html.js';
import { asVulnerability, boundFindings, mergeFindings, nothingFound } from './findings.js';
import { harmless } from './harmless-text.js';
import { findIndicators } from './indicators.js';
import type { Deobfuscation, Dialect, Findings } from './local-analysis.js';
import { obfuscationSigns } from './obfuscation-markers.js';
import { parseScript } from './parse.js';
import { matchPatterns } from './patterns.js';
import { deobfuscationReport, vulnerabilitiesReport } from './report.js';
import { identifySource, type PageSource, type ScriptSource, type Source } from './source.js';

/** One file to analyse, as the provider hands it to a child. */
export interface LocalJob {
  readonly type: AnalysisType;
  readonly contentBase64: string;
  readonly language?: Language;
}

/** The two analysers; a parameter, so that tests can make them slow or broken. */
export interface Analysers {
  deobfuscate(source: string, options: AnalyserOptions): Promise<Deobfuscation>;
  findVulnerabilities(source: string, options: AnalyserOptions): Promise<Findings>;
}

interface DecodedSearch {
  readonly findings?: Findings;
  readonly limits: readonly string[];
  /** Whether code is left that hides from the rules. */
  readonly hidden: boolean;
}

/** Takes a result that is complete but for a step that may hang or end the process. */
type KeepPartial = (result: AnalysisResult) => void;

interface AnalyserOptions {
  readonly dialect: Dialect;
  readonly timeoutMs: number;
}

/** From here on a file is only searched by rules: decoding takes time and memory with its size. */
export const MAX_DEOBFUSCATED_BYTES = 256 * 1024;

const MAX_LIMITS = 64;
const MAX_LIMIT_CHARS = 1_000;
/** Decoding may use this share of the time that is left when vulnerabilities are what was asked for. */
const DECODING_SHARE = 0.5;

/** Analyses one file within `budgetMs`; says in `coverage` what there was no time or no way for. */
export async function analyze(
  job: LocalJob,
  analysers: Analysers,
  budgetMs: number,
  keepPartial: KeepPartial = () => undefined,
): Promise<AnalysisResult> {
  const bytes = Buffer.from(job.contentBase64, 'base64');
  const analysis = new FileAnalysis(
    bytes,
    identifySource(bytes, job.language),
    analysers,
    Date.now() + budgetMs,
  );
  return job.type === 'deobfuscate'
    ? analysis.deobfuscate(keepPartial)
    : analysis.findVulnerabilities(keepPartial);
}

class FileAnalysis {
  constructor(
    private readonly bytes: Uint8Array,
    private readonly source: Source,
    private readonly analysers: Analysers,
    private readonly deadlineMs: number,
  ) {}

  async deobfuscate(keepPartial: KeepPartial): Promise<DeobfuscationResult> {
    const { source } = this;
    if (!isCode(source)) return this.#deobfuscationResult(notDecoded(source.text, 'none', []));
    if (this.#isDecodable()) {
      const limit = `${STOPPED} The code was not decoded.`;
      const before =
        source.kind === 'page' ? notDecoded(source.text, 'none', [limit]) : laidOut(source, limit);
      keepPartial(this.#deobfuscationResult(before));
    }
    return this.#deobfuscationResult(await this.#decode(source, 1));
  }

  async findVulnerabilities(keepPartial: KeepPartial): Promise<VulnerabilitiesResult> {
    const { source } = this;
    if (source.kind === 'other') {
      return this.#vulnerabilitiesResult(matchPatterns(source.text, source.language), []);
    }
    if (!isCode(source)) return this.#vulnerabilitiesResult(nothingFound('none', []), []);
    const { code, dialect, limits } = searchable(source);
    const findings = await this.#search(code, dialect);
    if (this.#isDecodable()) {
      const limit = `${STOPPED} Only the code as submitted was searched.`;
      keepPartial(this.#vulnerabilitiesResult(findings, [...limits, limit]));
    }
    const decoded = await this.#searchDecoded(source);
    return this.#vulnerabilitiesResult(
      mergeFindings(findings, decoded.findings),
      [...limits, ...decoded.limits],
      decoded,
    );
  }

  #isDecodable(): boolean {
    return this.bytes.length <= MAX_DEOBFUSCATED_BYTES;
  }

  /** Findings of the code that deobfuscation brought to light; none where it changed nothing. */
  async #searchDecoded(source: ScriptSource | PageSource): Promise<DecodedSearch> {
    const deobfuscation = await this.#decode(source, DECODING_SHARE);
    const { changed, level, confidence } = deobfuscation;
    const doubts = doubtsAbout(source, deobfuscation);
    const hidden = doubts.length > 0 || (level !== 'none' && confidence === 'low');
    const limits = [...doubts, ...deobfuscation.limits.map((limit) => `Decoding: ${limit}`)];
    if (!changed) return { limits: level === 'full' && !hidden ? [] : limits, hidden };
    const code = source.kind === 'page' ? codeOfPage(deobfuscation.code) : deobfuscation.code;
    const parsed = parseScript(code);
    if (parsed === undefined) {
      return { limits: [...limits, 'The decoded code does not parse and was not searched.'], hidden };
    }
    return { findings: await this.#search(code, parsed.dialect), limits, hidden };
  }

  /** Decodes within a share of the time that is left, or says why not. */
  async #decode(source: ScriptSource | PageSource, share: number): Promise<Deobfuscation> {
    if (!this.#isDecodable()) {
      const limit = `Only content up to ${MAX_DEOBFUSCATED_BYTES} bytes is decoded; this has ${this.bytes.length}.`;
      return notDecoded(source.text, 'none', [limit]);
    }
    const until = Date.now() + this.#remainingMs() * share;
    return source.kind === 'page' ? this.#decodePage(source, until) : this.#decodeScript(source, until);
  }

  async #decodeScript(
    { text, dialect }: { text: string; dialect: Dialect },
    until: number,
  ): Promise<Deobfuscation> {
    try {
      return await this.analysers.deobfuscate(text, { dialect, timeoutMs: Math.max(1, until - Date.now()) });
    } catch (error) {
      return notDecoded(text, 'none', [`The code could not be decoded: ${describe(error)}.`]);
    }
  }

  /** Each script on its own, in its place; what is left of the time is shared among those that are left. */
  async #decodePage(page: PageSource, until: number): Promise<Deobfuscation> {
    const codes = new Map<InlineScript, string>();
    const results: Deobfuscation[] = [];
    for (const [index, script] of page.scripts.entries()) {
      const shareMs = (until - Date.now()) / (page.scripts.length - index);
      const dialect = parseScript(script.code)?.dialect ?? 'javascript';
      const result = await this.#decodeScript({ text: script.code, dialect }, Date.now() + shareMs);
      results.push(result);
      if (result.changed) codes.set(script, result.code);
    }
    return combine(replaceScripts(page.text, codes), results);
  }

  async #search(code: string, dialect: Dialect): Promise<Findings> {
    try {
      return await this.analysers.findVulnerabilities(code, { dialect, timeoutMs: this.#remainingMs() });
    } catch (error) {
      return nothingFound('none', [`The rules could not be applied: ${describe(error)}.`]);
    }
  }

  #deobfuscationResult(decoded: Deobfuscation): DeobfuscationResult {
    const { source } = this;
    const { deobfuscation, limits } = boundCode(decoded);
    const doubts = isCode(source) ? doubtsAbout(source, deobfuscation) : [];
    const coverage = coverageOf(source, {
      level: deobfuscation.level,
      parsed: deobfuscation.parsed,
      confidence: doubts.length > 0 ? 'low' : deobfuscation.confidence,
      limits: [...deobfuscation.limits, ...limits, ...doubts],
    });
    const code = deobfuscation.code.toWellFormed();
    const analysisReport = deobfuscationReport({
      deobfuscation,
      coverage,
      kind: source.kind,
      inputBytes: this.bytes.length,
      indicators: findIndicators(code),
      blobs: deobfuscation.level === 'none' ? decodeBlobs(source.text) : [],
    });
    return { deobfuscatedCode: code, analysisReport, coverage };
  }

  #vulnerabilitiesResult(
    findings: Findings,
    limits: readonly string[],
    decoded: Pick<DecodedSearch, 'findings' | 'hidden'> = { hidden: false },
  ): VulnerabilitiesResult {
    const { source } = this;
    const bounded = boundFindings(findings);
    const coverage = coverageOf(source, {
      level: bounded.level === 'full' && decoded.hidden ? 'partial' : bounded.level,
      parsed: bounded.parsed,
      confidence: bounded.level === 'full' && bounded.parsed && !decoded.hidden ? 'medium' : 'low',
      limits: [...bounded.limits, ...limits],
    });
    const analysisReport = vulnerabilitiesReport({
      findings: bounded,
      coverage,
      kind: source.kind,
      inputBytes: this.bytes.length,
      decoded: decoded.findings !== undefined,
    });
    return { vulnerabilities: bounded.vulnerabilities.map(asVulnerability), analysisReport, coverage };
  }

  #remainingMs(): number {
    return Math.max(1, this.deadlineMs - Date.now());
  }
}

const STOPPED = 'Evaluation was stopped: it took too long, or more than the process could bear.';

function isCode(source: Source): source is ScriptSource | PageSource {
  return source.kind === 'script' || (source.kind === 'page' && source.scripts.length > 0);
}

/** Why a result that seems fine should not be relied on. */
function doubtsAbout(
  source: ScriptSource | PageSource,
  { changed, confidence, code }: Deobfuscation,
): string[] {
  if (changed && confidence !== 'low') return [];
  const signs = obfuscationSigns(source.kind === 'page' ? blankMarkup(source.text, source.scripts) : code);
  if (signs.length === 0) return [];
  return [`The code looks obfuscated (${signs.join(', ')}) and could not be decoded, or only in part.`];
}

/** What the rules are to read, with the line numbers of the submitted file. */
function searchable(source: ScriptSource | PageSource): { code: string; dialect: Dialect; limits: string[] } {
  if (source.kind === 'script') return { code: source.text, dialect: source.dialect, limits: [] };
  const whole = blankMarkup(source.text, source.scripts);
  const parsed = parseScript(whole);
  if (parsed !== undefined) return { code: whole, dialect: parsed.dialect, limits: [] };
  const readable = source.scripts.filter(({ code }) => parseScript(code) !== undefined);
  const lost = source.scripts.length - readable.length;
  const limits = lost > 0 ? [`${lost} of the page's scripts could not be parsed and were not searched.`] : [];
  const code = blankMarkup(source.text, readable.length > 0 ? readable : source.scripts);
  return { code, dialect: parseScript(code)?.dialect ?? 'javascript', limits };
}

function codeOfPage(html: string): string {
  const page = identifySource(Buffer.from(html), 'html');
  return page.kind === 'page' ? searchable(page).code : '';
}

function coverageOf(
  source: Source,
  measured: Pick<Coverage, 'level' | 'parsed' | 'confidence' | 'limits'>,
): Coverage {
  const limits = [...new Set([...source.limits, ...measured.limits])]
    .slice(0, MAX_LIMITS)
    .map((limit) => harmless(limit.slice(0, MAX_LIMIT_CHARS)).slice(0, MAX_LIMIT_CHARS));
  const ambiguous = source.kind === 'script' && source.ambiguous;
  return {
    language: source.language.slice(0, 64),
    languageSource: source.languageSource,
    parsed: measured.parsed,
    level: measured.level,
    confidence: ambiguous ? 'low' : measured.confidence,
    limits,
  };
}

function describe(error: unknown): string {
  return (error instanceof Error ? `${error.name}: ${error.message}` : 'unknown error').slice(0, 200);
}

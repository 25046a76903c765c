import { z } from 'zod';
import type { AnalysisResults, AnalysisType, Vulnerability } from '../analysis.js';
import { deobfuscationResultSchema, SEVERITIES, vulnerabilitiesResultSchema } from '../analysis.js';

/**
 * What models are asked for, in the part of JSON Schema that all vendors take (every member required, null for none, no
 * bounds), and how it becomes a result: bounded, with only what has the right form. A model's answer is data, never trusted.
 */

const MAX_FINDINGS = 1_000;

const askedDeobfuscation = z.strictObject({ deobfuscatedCode: z.string(), analysisReport: z.string() });

const askedVulnerabilities = z.strictObject({
  vulnerabilities: z.array(
    z.strictObject({
      name: z.string(),
      description: z.string(),
      severity: z.enum(SEVERITIES),
      cveId: z.string().nullable(),
      cweId: z.string().nullable(),
      line: z.int().nullable(),
      metasploitModule: z.string().nullable(),
    }),
  ),
  analysisReport: z.string(),
});

/** Servers that do not hold a model to the schema leave members out, or add some. */
const takenDeobfuscation = z.object(askedDeobfuscation.shape);
const takenVulnerabilities = z.object({
  vulnerabilities: z.array(
    z.object({
      name: z.string().min(1),
      description: z.string().nullish(),
      severity: z.string().toLowerCase().pipe(z.enum(SEVERITIES)),
      cveId: z.unknown().optional(),
      cweId: z.unknown().optional(),
      line: z.unknown().optional(),
      metasploitModule: z.unknown().optional(),
    }),
  ),
  analysisReport: z.string(),
});

const ASKED: Readonly<Record<AnalysisType, z.ZodType>> = {
  deobfuscate: askedDeobfuscation,
  vulnerabilities: askedVulnerabilities,
};

/** The schema that a model is held to. */
export const answerJsonSchema = (type: AnalysisType): object => JSON_SCHEMAS[type];

const JSON_SCHEMAS: Readonly<Record<AnalysisType, object>> = {
  deobfuscate: jsonSchemaOf('deobfuscate'),
  vulnerabilities: jsonSchemaOf('vulnerabilities'),
};

function jsonSchemaOf(type: AnalysisType): object {
  const { $schema: _, ...schema } = z.toJSONSchema(ASKED[type], { target: 'draft-7' });
  // Of integers zod states the bounds, which the vendors refuse.
  return JSON.parse(
    JSON.stringify(schema, (name, value: unknown) => (/^(maximum|minimum)$/.test(name) ? undefined : value)),
  ) as object;
}

const READERS: { readonly [T in AnalysisType]: (value: unknown) => AnalysisResults[T] } = {
  deobfuscate: (value) => {
    const { deobfuscatedCode, analysisReport } = takenDeobfuscation.parse(value);
    return deobfuscationResultSchema.parse({
      deobfuscatedCode: deobfuscatedCode.toWellFormed(),
      analysisReport: analysisReport.toWellFormed(),
    });
  },
  vulnerabilities: (value) => {
    const { vulnerabilities, analysisReport } = takenVulnerabilities.parse(value);
    return vulnerabilitiesResultSchema.parse({
      vulnerabilities: vulnerabilities.slice(0, MAX_FINDINGS).map(findingOf),
      analysisReport: analysisReport.toWellFormed(),
    });
  },
};

type TakenFinding = z.infer<typeof takenVulnerabilities>['vulnerabilities'][number];

/** Identifiers of another form than they have are made up: they are left out. */
function findingOf({ name, description, severity, ...optional }: TakenFinding): Vulnerability {
  const cveId = textLike(optional.cveId, /^CVE-\d{4}-\d{4,}$/);
  const cweId = textLike(optional.cweId, /^CWE-\d+$/);
  const metasploitModule = textLike(optional.metasploitModule, /^[a-z0-9_/-]{1,300}$/);
  const line =
    Number.isSafeInteger(optional.line) && Number(optional.line) >= 1 ? Number(optional.line) : undefined;
  return {
    name: clipped(name, 200),
    description: clipped(description ?? '', 4_000),
    severity,
    ...(cveId === undefined ? {} : { cveId }),
    ...(cweId === undefined ? {} : { cweId }),
    ...(line === undefined ? {} : { line }),
    ...(metasploitModule === undefined ? {} : { metasploitModule }),
  };
}

const clipped = (text: string, length: number): string => text.slice(0, length).toWellFormed();

const textLike = (value: unknown, form: RegExp): string | undefined =>
  typeof value === 'string' && form.test(value) ? value : undefined;

/**
 * Reads a model's whole answer.
 * @throws SyntaxError where it is not JSON, ZodError where it is something else
 */
export function resultOf<T extends AnalysisType>(type: T, text: string): AnalysisResults[T] {
  return READERS[type](JSON.parse(withoutFence(text)));
}

/** Models like to put JSON into a Markdown fence, asked or not. */
function withoutFence(text: string): string {
  const trimmed = text.trim();
  if (!trimmed.startsWith('```') || !trimmed.endsWith('```')) return trimmed;
  return trimmed.slice(trimmed.indexOf('\n') + 1, -3);
}

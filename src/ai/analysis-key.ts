import { createHash } from 'node:crypto';
import type { AnalysisType, ProviderName } from './analysis.js';
import { ANALYSIS_TYPES } from './analysis.js';
import { LANGUAGES, languageOfFilename } from './language.js';
import { PROMPT_VERSION } from './prompts.js';

/** One file and the question about it. */
export interface AnalysisRequest {
  /** Whose result it is; tenants do not share results. */
  readonly tenant: string;
  readonly type: AnalysisType;
  /** The file's bytes. */
  readonly content: Uint8Array;
  /** Only its extension matters, as a hint of the language. */
  readonly filename?: string | undefined;
  /** Only this provider may answer; default: the first that can. */
  readonly provider?: ProviderName | undefined;
}

/**
 * How a field of the request enters the key. `segment` fields make its readable part; `option` fields are hashed
 * together at its end, where they differ from the default. There is no third way: a field that does not change the
 * answer has no place in a request.
 */
type KeyRole =
  | { readonly role: 'segment'; readonly text: (request: AnalysisRequest) => string }
  | { readonly role: 'option'; readonly text: (request: AnalysisRequest) => string | undefined };

/** Every field, classified: a new one does not compile until it stands here. */
const KEY_ROLES: { readonly [Field in keyof Required<AnalysisRequest>]: KeyRole } = {
  tenant: { role: 'segment', text: ({ tenant }) => tenant },
  content: { role: 'segment', text: ({ content }) => fileHashOf(content) },
  type: { role: 'segment', text: ({ type }) => type },
  provider: { role: 'segment', text: ({ provider }) => provider ?? 'any' },
  filename: { role: 'option', text: ({ filename }) => (filename ? languageOfFilename(filename) : undefined) },
};

/** SHA-256 of the bytes in lowercase hex; a weaker hash would let one file be served another's verdict. */
export function fileHashOf(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

/** `<tenant>:analysis:<sha256>:<type>:<provider or any>:<prompt version>[:<hash of options>]` */
export function analysisKey(request: AnalysisRequest): string {
  const segment = (field: keyof AnalysisRequest): string => KEY_ROLES[field].text(request) ?? '';
  const readable = fileKey(segment('tenant'), segment('content'), segment('type'), segment('provider'));
  return withOptions(readable, optionsOf(request));
}

/**
 * Every key under which an analysis of a file can lie. It is a short list, because each part of a key but the file
 * comes from a closed set; so a file is looked up in one round trip, without a search.
 */
export function analysisKeysOfFile(
  tenant: string,
  fileHash: string,
  providers: readonly ProviderName[],
): string[] {
  const options: string[][] = [[], ...LANGUAGES.map((language) => [`filename=${language}`])];
  return ANALYSIS_TYPES.flatMap((type) =>
    ['any', ...providers].flatMap((provider) =>
      options.map((option) => withOptions(fileKey(tenant, fileHash, type, provider), option)),
    ),
  );
}

function fileKey(tenant: string, fileHash: string, type: string, provider: string): string {
  return `${tenant}:analysis:${fileHash}:${type}:${provider}:${PROMPT_VERSION}`;
}

function optionsOf(request: AnalysisRequest): string[] {
  return Object.entries(KEY_ROLES)
    .filter(([, { role }]) => role === 'option')
    .map(([field, { text }]) => [field, text(request)] as const)
    .filter(([, text]) => text !== undefined)
    .map(([field, text]) => `${field}=${text}`)
    .sort();
}

function withOptions(key: string, options: readonly string[]): string {
  if (options.length === 0) return key;
  return `${key}:${createHash('sha256').update(JSON.stringify(options)).digest('hex').slice(0, 16)}`;
}

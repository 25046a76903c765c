/**
 * The languages that a file name can suggest. A closed list, because the hint is part of the cache key: whoever
 * looks up a file by its hash must be able to name every key that it can have.
 */
const LANGUAGE_BY_EXTENSION = {
  js: 'javascript',
  mjs: 'javascript',
  cjs: 'javascript',
  jsx: 'javascript',
  ts: 'typescript',
  mts: 'typescript',
  cts: 'typescript',
  tsx: 'typescript',
  html: 'html',
  htm: 'html',
  json: 'json',
  py: 'python',
  php: 'php',
  rb: 'ruby',
  sh: 'shell',
  bash: 'shell',
  ps1: 'powershell',
  psm1: 'powershell',
  vbs: 'vbscript',
  vba: 'vbscript',
  lua: 'lua',
  pl: 'perl',
  c: 'c',
  h: 'c',
  cpp: 'cpp',
  cs: 'csharp',
  java: 'java',
  go: 'go',
  rs: 'rust',
} as const;

export type Language = (typeof LANGUAGE_BY_EXTENSION)[keyof typeof LANGUAGE_BY_EXTENSION];

export const LANGUAGES: readonly Language[] = [...new Set(Object.values(LANGUAGE_BY_EXTENSION))];

/** The language that a file name suggests, by its extension; undefined where it suggests none. */
export function languageOfFilename(filename: string): Language | undefined {
  const extension = /\.([a-z0-9]{1,8})$/i.exec(filename)?.[1]?.toLowerCase() ?? '';
  return Object.hasOwn(LANGUAGE_BY_EXTENSION, extension)
    ? LANGUAGE_BY_EXTENSION[extension as keyof typeof LANGUAGE_BY_EXTENSION]
    : undefined;
}

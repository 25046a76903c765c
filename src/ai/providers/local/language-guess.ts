import hljs from 'highlight.js/lib/core';
import bash from 'highlight.js/lib/languages/bash';
import c from 'highlight.js/lib/languages/c';
import cpp from 'highlight.js/lib/languages/cpp';
import csharp from 'highlight.js/lib/languages/csharp';
import css from 'highlight.js/lib/languages/css';
import dos from 'highlight.js/lib/languages/dos';
import go from 'highlight.js/lib/languages/go';
import ini from 'highlight.js/lib/languages/ini';
import java from 'highlight.js/lib/languages/java';
import javascript from 'highlight.js/lib/languages/javascript';
import kotlin from 'highlight.js/lib/languages/kotlin';
import lua from 'highlight.js/lib/languages/lua';
import perl from 'highlight.js/lib/languages/perl';
import php from 'highlight.js/lib/languages/php';
import powershell from 'highlight.js/lib/languages/powershell';
import python from 'highlight.js/lib/languages/python';
import ruby from 'highlight.js/lib/languages/ruby';
import rust from 'highlight.js/lib/languages/rust';
import sql from 'highlight.js/lib/languages/sql';
import typescript from 'highlight.js/lib/languages/typescript';
import vbscript from 'highlight.js/lib/languages/vbscript';
import yaml from 'highlight.js/lib/languages/yaml';

/** The language of a text by statistics: how well each of a fixed list's grammars fits its beginning. */

const GRAMMARS = {
  shell: bash,
  c,
  cpp,
  csharp,
  css,
  batch: dos,
  go,
  ini,
  java,
  javascript,
  kotlin,
  lua,
  perl,
  php,
  powershell,
  python,
  ruby,
  rust,
  sql,
  typescript,
  vbscript,
  yaml,
} as const;

const SAMPLE_CHARS = 20_000;
/** Below this, prose and noise fit some grammar as well. */
const LEAST_RELEVANCE = 5;
/** Share of letters, spaces and the punctuation of sentences, from which a text reads as prose. */
const PROSE_SHARE = 0.97;

/** Constructs that one language has and the others do not; statistics confuse these languages on short files. */
const DECISIVE: readonly (readonly [language: string, construct: RegExp])[] = [
  ['python', /^(?:def \w{1,60}\(|from [\w.]{1,80} import |if __name__ == )|^import \w{1,40}$/m],
  ['go', /^package \w{1,40}\s{1,4}(?:import|func|type|var|const|\/\/)/m],
  ['csharp', /^\s{0,40}using System(?:\.[\w.]{1,80})?;|^\s{0,40}namespace [\w.]{1,80}\s{0,4}[{;]/m],
  ['java', /^\s{0,40}import javax?\.|^package [\w.]{1,80};|\bpublic static void main\(String\b/m],
  ['cpp', /^\s{0,40}#include\s?<(?:iostream|string|vector|map|memory|algorithm)>|\bstd::\w/m],
  ['c', /^\s{0,40}#include\s?[<"][\w/]{1,60}\.h[>"]/m],
  [
    'rust',
    /^\s{0,40}(?:pub )?fn \w{1,60}(?:<[^>\n]{0,60}>)?\([^)\n]{0,200}\)[^;{\n]{0,80}\{|\blet mut \w|^use std::/m,
  ],
  ['powershell', /\b(?:Invoke-(?:Expression|WebRequest)|Write-(?:Host|Output)|Get-ChildItem|New-Object)\b/i],
  ['batch', /^\s{0,40}@echo off\b/im],
  ['vbscript', /^\s{0,40}(?:Set \w{1,40}\s?=\s?CreateObject\(|Dim \w{1,40}$|On Error Resume Next)/im],
  ['sql', /^\s{0,40}(?:SELECT\s[^;]{1,400}\sFROM\s|INSERT INTO\s|CREATE (?:TABLE|DATABASE)\s)/im],
];

for (const [name, grammar] of Object.entries(GRAMMARS)) hljs.registerLanguage(name, grammar);

export function guessLanguage(text: string): string | undefined {
  const sample = text.slice(0, SAMPLE_CHARS);
  const byShebang = languageOfShebang(sample);
  if (byShebang !== undefined) return byShebang;
  const decisive = DECISIVE.find(([, construct]) => construct.test(sample));
  if (decisive !== undefined) return decisive[0];
  if (readsAsProse(sample)) return undefined;
  const { language, relevance } = hljs.highlightAuto(sample, Object.keys(GRAMMARS));
  return relevance < LEAST_RELEVANCE ? undefined : language;
}

/** The language that a `#!` line names. */
export function languageOfShebang(text: string): string | undefined {
  const line = /^#![^\n]{0,200}/.exec(text)?.[0];
  if (line === undefined) return undefined;
  const interpreter =
    /\b(node|deno|bun|python|ruby|perl|php|pwsh|lua|bash|dash|zsh|ksh|sh)[\d.]{0,8}(?:\s|$)/.exec(line);
  switch (interpreter?.[1]) {
    case undefined:
      return undefined;
    case 'node':
    case 'deno':
    case 'bun':
      return 'javascript';
    case 'pwsh':
      return 'powershell';
    case 'python':
    case 'ruby':
    case 'perl':
    case 'php':
    case 'lua':
      return interpreter?.[1];
    default:
      return 'shell';
  }
}

function readsAsProse(sample: string): boolean {
  const plain = sample.match(/[\p{L}\s.,'!?-]/gu)?.length ?? 0;
  return plain > [...sample].length * PROSE_SHARE;
}

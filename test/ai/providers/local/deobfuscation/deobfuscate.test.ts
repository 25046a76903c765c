import { describe, expect, it } from '@jest/globals';
import type { Dialect } from '../../../../../src/ai/providers/local/local-analysis.js';
import { deobfuscate } from '../../../../../src/ai/providers/local/deobfuscation/deobfuscate.js';

const run = (source: string, dialect: Dialect = 'javascript', timeoutMs = 4_000) =>
  deobfuscate(source, { dialect, timeoutMs });

describe('deobfuscate', () => {
  it('returns readable code byte for byte', async () => {
    const source = "// greets\nvar  a = ['x','y'];\nif (!0) { console.log('Hello' + a[0]) }\n";
    expect(await run(source)).toMatchObject({
      code: source,
      changed: false,
      level: 'full',
      confidence: 'high',
    });
  });

  it('reads TypeScript with its own run-time syntax', async () => {
    const source = `enum Color { Red = 'red' }
      class A { constructor(private readonly label: string) {} show(): void { console.log(this.label, Color.Red, atob('aGVsbG8gd29ybGQ=') as string); } }
      new A('x').show();`;
    const result = await run(source, 'typescript');
    expect(result.code).toContain('"hello world"');
    expect(result).toMatchObject({ changed: true, parsed: true, level: 'full' });
  });

  it('returns clean TypeScript with its types', async () => {
    const source = 'export const add = (a: number, b: number): number => a + b;\n';
    expect(await run(source, 'typescript')).toMatchObject({ code: source, changed: false });
  });

  it('reads names that are declared twice', async () => {
    const result = await run("const a = atob('aGVsbG8='); const a = 2; console.log(a);");
    expect(result.code).toContain('"hello"');
    expect(result.limits).toEqual([expect.stringContaining('declared more than once')]);
  });

  it('says what it did', async () => {
    const result = await run(
      `eval(atob("${Buffer.from('console.log("\\x68\\x65\\x6c\\x6c\\x6f")').toString('base64')}"))`,
    );
    expect(result).toMatchObject({
      code: 'console.log("hello");',
      layers: [{ via: 'eval', bytes: 35 }],
      confidence: 'high',
    });
    expect(result.techniques).toEqual(
      expect.arrayContaining(['eval wrapper', 'base64', 'hexadecimal escapes']),
    );
  });

  it('says when a program cannot be read', async () => {
    const result = await run('this is not { code');
    expect(result).toMatchObject({
      code: 'this is not { code',
      changed: false,
      parsed: false,
      level: 'none',
      confidence: 'low',
    });
    expect(result.limits).toEqual([expect.stringContaining('could not be read')]);
  });

  it('does not decode large sources, and says so', async () => {
    const source = `var a = atob("aGVsbG8=");${' '.repeat(256 * 1024)}`;
    const result = await run(source);
    expect(result).toMatchObject({
      code: source,
      changed: false,
      parsed: true,
      level: 'partial',
      confidence: 'low',
    });
    expect(result.limits).toEqual([expect.stringContaining('256 KB')]);
  });

  it('stops at the end of its budget with what it has', async () => {
    const result = await run('console.log(atob("aGVsbG8="));', 'javascript', 1);
    expect(result).toMatchObject({ code: 'console.log(atob("aGVsbG8="));', level: 'partial' });
    expect(result.limits).toEqual([expect.stringContaining('time limit')]);
  });

  it('opens five layers and names the rest', async () => {
    let source = 'console.log("core")';
    for (let i = 0; i < 7; i++) source = `eval(atob("${Buffer.from(source).toString('base64')}"))`;
    const result = await run(source);
    expect(result.layers).toHaveLength(5);
    expect(result.limits).toEqual([expect.stringContaining('first 5 layers')]);
  });
});

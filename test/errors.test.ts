import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { PROBLEMS } from '../src/request/problem.js';

const page = readFileSync(new URL('../docs/errors.md', import.meta.url), 'utf8');
const section = (heading: string): string => page.split(`\n## ${heading}`)[1]?.split('\n## ')[0] ?? '';
const rows = (text: string): string[][] =>
  [...text.matchAll(/^\| `([a-z0-9_]+)` .*$/gm)].map(([row]) =>
    row.split('|').map((cell) => cell.replace(/`/g, '').trim()),
  );

/** Code of every error class in the sources, by class. */
function classesOfSource(): Map<string, string> {
  const classes = new Map<string, string>();
  const root = new URL('../src/', import.meta.url);
  for (const file of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    const text = readFileSync(new URL(file, root), 'utf8');
    for (const [, name = '', body = ''] of text.matchAll(
      /^export class (\w+Error) extends \w+ \{([\s\S]*?)^\}/gm,
    )) {
      classes.set(name, /readonly code = '([a-z0-9_]+)'/.exec(body)?.[1] ?? '(none)');
    }
  }
  return classes;
}

describe('docs/errors.md', () => {
  it('has every problem with its status, and no other', () => {
    const documented = rows(section('Over HTTP')).map(([, code, status]) => [code, Number(status)]);
    const real = Object.entries(PROBLEMS).map(([code, { status }]) => [code, status]);
    expect(documented).toEqual(real);
  });

  it('has the code of every class, and every class that it names exists', () => {
    const classes = classesOfSource();
    expect(classes.size).toBeGreaterThan(15);
    const documented = new Set(rows(page).map(([, code]) => code));
    for (const [name, code] of classes) expect([name, documented.has(code)]).toEqual([name, true]);
    for (const [, code, name] of [...rows(section('From the cache')), ...rows(section('At start'))]) {
      expect([name, classes.get(name ?? '')]).toEqual([name, code]);
    }
  });

  it('gives every class a code of its own', () => {
    const codes = [...classesOfSource().values()];
    expect(new Set(codes).size).toBe(codes.length);
  });
});

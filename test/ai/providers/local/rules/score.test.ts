import { readdirSync, readFileSync } from 'node:fs';
import { it } from '@jest/globals';
import { findVulnerabilities } from '../../../../../src/ai/providers/local/rules/find-vulnerabilities.js';
import { readSamples } from './samples.js';
const out: string[] = [];
async function score(name: string, code: string, dialect: any, flaws: readonly any[]) {
  const t0 = performance.now();
  const r = await findVulnerabilities(code, { dialect, timeoutMs: 5000 });
  const ms = performance.now() - t0;
  const left = [...r.vulnerabilities];
  let tp = 0;
  for (const f of flaws) {
    const i = left.findIndex((v) => v.cweId === f.cweId && Math.abs((v.line ?? 0) - f.line) <= 1);
    if (i >= 0) {
      tp++;
      left.splice(i, 1);
    } else out.push(`MISS ${name}: ${f.cweId} line ${f.line}: ${code.split('\n')[f.line - 1]}`);
  }
  for (const v of left)
    out.push(
      `EXTRA ${name}: ${v.cweId} ${v.severity} line ${v.line}: ${code.split('\n')[(v.line ?? 1) - 1]} :: ${v.description.slice(0, 300)}`,
    );
  if (process.env.LIMITS) for (const l of r.limits) out.push(`LIMIT ${name}: ${l}`);
  return {
    tp,
    n: flaws.length,
    extra: left.length,
    bad: left.filter((v) => v.severity !== 'low').length,
    ms,
  };
}
it('scores', async () => {
  const dir = process.env.EXT ?? 'test/corpus/vulnerabilities';
  const sets: Record<string, any[]> = { corpus: [], flawed: [], clean: [], extra: [], extraclean: [] };
  const labels = JSON.parse(readFileSync('test/corpus/vulnerabilities/labels.json', 'utf8'));
  for (const [k, v] of Object.entries<any>(labels))
    sets.corpus!.push([
      k,
      readFileSync(`test/corpus/vulnerabilities/${v.file}`, 'utf8'),
      'javascript',
      v.labels.map((l: any) => ({ cweId: l.cwe, line: l.line })),
    ]);
  for (const f of ['flawed', 'clean'])
    for (const s of readSamples(`${f}.txt`)) sets[f]!.push([s.name, s.code, s.dialect, s.flaws]);
  for (const f of ['flawed2', 'clean2']) {
    try {
      for (const s of readSamples(`${f}.txt`))
        sets[f === 'flawed2' ? 'extra' : 'extraclean']!.push([s.name, s.code, s.dialect, s.flaws]);
    } catch {}
  }
  for (const [set, items] of Object.entries(sets)) {
    let tp = 0,
      n = 0,
      extra = 0,
      bad = 0;
    const ms: number[] = [];
    for (const [a, b, c, d] of items) {
      const r = await score(`${set}/${a}`, b, c, d);
      tp += r.tp;
      n += r.n;
      extra += r.extra;
      bad += r.bad;
      ms.push(r.ms);
    }
    ms.sort((x, y) => x - y);
    out.push(
      `SCORE ${set}: ${tp}/${n}, extra ${extra} (above low ${bad}), files ${items.length}, ms median ${ms[ms.length >> 1]?.toFixed(1)} max ${ms.at(-1)?.toFixed(0)}`,
    );
  }
  process.stdout.write(out.join('\n') + '\n');
});

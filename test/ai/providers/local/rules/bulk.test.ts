import { readFileSync } from 'node:fs';
import { it } from '@jest/globals';
import { findVulnerabilities } from '../../../../../src/ai/providers/local/rules/find-vulnerabilities.js';
it('bulk', async () => {
  const files = readFileSync('/tmp/files.txt', 'utf8').trim().split('\n');
  const out: string[] = [];
  let bad = 0,
    n = 0;
  const slow: [number, string][] = [];
  const by: Record<string, number> = {};
  for (const f of files) {
    const code = readFileSync(f, 'utf8');
    const t0 = performance.now();
    const r = await findVulnerabilities(code, {
      dialect: /\.[mc]?tsx?$/.test(f) ? 'typescript' : 'javascript',
      timeoutMs: 5000,
    });
    slow.push([performance.now() - t0, `${f} ${code.length}`]);
    n++;
    const v = r.vulnerabilities.filter((x) => x.severity !== 'low');
    if (v.length) bad++;
    for (const x of v) {
      by[x.cweId ?? ''] = (by[x.cweId ?? ''] ?? 0) + 1;
      out.push(
        `${x.cweId} ${x.severity} ${f}:${x.line} ${(code.split('\n')[(x.line ?? 1) - 1] ?? '').trim().slice(0, 140)} :: ${x.description.replace(/^.*?\. /, '').slice(0, 110)}`,
      );
    }
    for (const l of r.limits) if (!/js-x-ray/.test(l)) out.push(`LIMIT ${f} ${l}`);
  }
  slow.sort((a, b) => b[0] - a[0]);
  process.stdout.write(
    out.join('\n') +
      `\nfiles ${n} with findings above low ${bad} ${JSON.stringify(by)}\n` +
      slow
        .slice(0, 8)
        .map((s) => s[0].toFixed(0) + ' ' + s[1])
        .join('\n') +
      '\n',
  );
}, 600000);

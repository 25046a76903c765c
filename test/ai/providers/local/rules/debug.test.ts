import { it } from '@jest/globals';
import { parseSource } from '../../../../../src/ai/providers/local/rules/parse-source.js';
import { traverse, children } from '../../../../../src/ai/providers/local/rules/syntax.js';
import { NameResolver } from '../../../../../src/ai/providers/local/rules/names.js';
import { Sources } from '../../../../../src/ai/providers/local/rules/sources.js';
import { TaintTracker } from '../../../../../src/ai/providers/local/rules/taint.js';
import { indexProgram } from '../../../../../src/ai/providers/local/rules/program-index.js';
import { readFileSync } from 'node:fs';
it('d', () => {
  const { file } = parseSource(readFileSync('/tmp/d.js', 'utf8'), 'javascript');
  const names = new NameResolver();
  const t = new TaintTracker(
    names,
    new Sources(names),
    indexProgram(file, () => undefined),
    () => undefined,
  );
  let o = '';
  traverse(file, {
    CallExpression(p) {
      o += `${p.node.loc?.start.line} ${names.callee(p)} | ${names.method(p)} | ${names.receiverWords(p)} | ${children(
        p,
        'arguments',
      )
        .map((a) =>
          JSON.stringify(t.of(a).map((x) => [x.level, x.origin, x.composed, [...x.safeFor].join()])),
        )
        .join(' ; ')}\n`;
    },
  });
  process.stdout.write(o);
});

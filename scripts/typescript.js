/** Lets a script import the TypeScript of the tests as it stands: `.js` in an import may name a `.ts` file. */
import { existsSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { transformFileSync } from '@swc/core';

const sourceOf = (specifier, parentURL) => {
  if (!/^\.{1,2}\/.*\.js$/.test(specifier) || parentURL === undefined) return undefined;
  const source = new URL(specifier.replace(/\.js$/, '.ts'), parentURL);
  return source.protocol === 'file:' && existsSync(source) ? source.href : undefined;
};

registerHooks({
  resolve(specifier, context, next) {
    const url = sourceOf(specifier, context.parentURL);
    return url === undefined ? next(specifier, context) : { url, format: 'module', shortCircuit: true };
  },
  load(url, context, next) {
    if (!url.endsWith('.ts')) return next(url, context);
    const { code } = transformFileSync(fileURLToPath(url), { sourceMaps: 'inline' });
    return { source: code, format: 'module', shortCircuit: true };
  },
});

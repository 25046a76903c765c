import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from '@jest/globals';
import './one-realm.js';

class OwnError extends TypeError {}

it('takes what Node fails with for an error, as it is one outside of Jest', async () => {
  const failed: unknown = await fetch('unknown:').catch((error: unknown) => error);
  expect(failed instanceof TypeError).toBe(true);
  expect(failed instanceof Error).toBe(true);
  expect(AbortSignal.abort().reason instanceof Error).toBe(true);
});

it('confuses no other classes', async () => {
  const failed: unknown = await fetch('unknown:').catch((error: unknown) => error);
  expect([failed instanceof OwnError, failed instanceof RangeError]).toEqual([false, false]);
  expect([new OwnError() instanceof TypeError, new Error() instanceof TypeError]).toEqual([true, false]);
  expect([new OwnError() instanceof OwnError, {} instanceof Error]).toEqual([true, false]);
});

it('changes nothing outside of Jest', async () => {
  const root = join(import.meta.dirname, '../..');
  const program = `await import('./test/support/one-realm.js');
    console.log(new TypeError() instanceof Error, Object.hasOwn(Error, Symbol.hasInstance));`;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--no-warnings', '--import', './scripts/typescript.js', '--input-type=module', '--eval', program],
    { cwd: root },
  );
  expect(stdout.trim()).toBe('true false');
});

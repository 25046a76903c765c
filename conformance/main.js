/** Runs the public suites over Athena's storages: `npm run conformance`. See README.md. */
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const HERE = import.meta.dirname;

function run(what, command, args) {
  const { status, error } = spawnSync(command, args, { cwd: HERE, stdio: 'inherit' });
  if (status === 0) return;
  console.error(`conformance: ${what} failed${error === undefined ? '' : `: ${error.message}`}`);
  process.exit(1);
}

const bin = (from, name, path) =>
  join(createRequire(join(from, 'package.json')).resolve(`${name}/package.json`), '..', path);

/** The suites and their runner are no part of the product's tree: they are installed here when they are first wanted. */
function areInstalled() {
  const modifiedAt = (file) => statSync(join(HERE, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return modifiedAt('node_modules/.package-lock.json') >= modifiedAt('package-lock.json');
}

if (!areInstalled()) {
  console.log('conformance: installing the suites');
  // `npm run` tells its children where the product is: the prefix says where we are.
  run('npm ci', 'npm', ['ci', '--prefix', HERE, '--no-audit', '--no-fund', '--loglevel=error']);
}
run('the check of types', process.execPath, [bin(join(HERE, '..'), 'typescript', 'bin/tsc'), '-p', HERE]);
run('a suite', process.execPath, [bin(HERE, 'vitest', 'vitest.mjs'), 'run', ...process.argv.slice(2)]);

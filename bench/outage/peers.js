import { spawnSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './product.js';

const HERE = import.meta.dirname;

/** The peers are no part of the product's tree: they are installed here, the first time that they are wanted. */
export function installPeers() {
  if (areInstalled()) return;
  console.error('installing the peers into bench/outage/node_modules');
  // `npm run` tells its children where the product is: the prefix says where we are.
  const args = ['ci', '--prefix', HERE, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const { status } = spawnSync('npm', args, { cwd: HERE, stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new Error('npm ci failed in bench/outage');
}

function areInstalled() {
  const modifiedAt = (file) => statSync(join(HERE, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return modifiedAt('node_modules/.package-lock.json') >= modifiedAt('package-lock.json');
}

/** What is compared, as `name version`. */
export function versions() {
  const dependencies = (directory) =>
    JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')).dependencies;
  const named = (entries) => entries.map((entry) => entry.join(' '));
  const own = new Set(['@nestjs/core', 'ioredis', 'lmdb', 'lru-cache', 'msgpackr']);
  return {
    athena: named(Object.entries(dependencies(ROOT)).filter(([name]) => own.has(name))),
    peers: named(Object.entries(dependencies(HERE))),
  };
}

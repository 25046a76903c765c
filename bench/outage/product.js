import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

export const ROOT = join(import.meta.dirname, '../..');

const product = createRequire(join(ROOT, 'package.json'));

/** Athena's own copy of a package: from this folder the name alone leads to the peers' copy. */
export const fromProduct = (name) => import(pathToFileURL(product.resolve(name)).href);

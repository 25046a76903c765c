import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const HOSTILE_LOCALE = 'en_US.UTF-8';

/**
 * The variables under which a process runs in a locale that orders text otherwise than by bytes; compiled into a
 * directory of its own where the system lacks it. Undefined if that can't be done (the package `locales` is missing).
 */
export function hostileLocale(): Readonly<Record<string, string>> | undefined {
  const variables = { LC_ALL: HOSTILE_LOCALE };
  try {
    const installed = execFileSync('locale', ['-a'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    if (/^en_US\.utf-?8$/im.test(installed)) return variables;
    const directory = mkdtempSync(join(tmpdir(), 'athena-locale-'));
    const target = join(directory, HOSTILE_LOCALE);
    execFileSync('localedef', ['-i', 'en_US', '-f', 'UTF-8', target], { stdio: 'ignore' });
    return { ...variables, LOCPATH: directory };
  } catch {
    return undefined;
  }
}

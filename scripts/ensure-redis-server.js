/**
 * Finds a `redis-server` for the tests, or installs one: the tests start real servers and mock nothing.
 * In order: on PATH, or named by REDIS_SERVER; Debian or Ubuntu as root; the binary out of a Docker image.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';

const LOCAL_COPY = new URL('../node_modules/.cache/athena/redis-server', import.meta.url).pathname;

function run(command, args, options = {}) {
  return execFileSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8', ...options });
}

function works(command) {
  try {
    return run(command, ['--version']).startsWith('Redis server');
  } catch {
    return false;
  }
}

function installFromDebian() {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return false;
  console.log('redis-server is missing: installing it from the distribution');
  try {
    // Run level 1: the package must not start a server of its own.
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
    run('apt-get', ['update', '-qq'], { env });
    run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'redis-server'], { env });
  } catch (error) {
    console.error(String(error.stderr ?? error).trim());
    return false;
  }
  return works('redis-server');
}

/** The tests stop and kill the server's process, so it must be a process of this machine, not a container. */
function copyFromDocker() {
  try {
    console.log('redis-server is missing: taking it out of the image redis:7');
    mkdirSync(new URL('.', `file://${LOCAL_COPY}`), { recursive: true });
    const container = run('docker', ['create', 'redis:7']).trim();
    try {
      run('docker', ['cp', `${container}:/usr/local/bin/redis-server`, LOCAL_COPY]);
    } finally {
      run('docker', ['rm', container]);
    }
  } catch {
    return false;
  }
  return works(LOCAL_COPY);
}

const found =
  works(process.env.REDIS_SERVER ?? 'redis-server') ||
  works(LOCAL_COPY) ||
  installFromDebian() ||
  copyFromDocker();
if (!found) {
  console.error(
    'The tests need a redis-server (7 or later) on PATH, or named by REDIS_SERVER: ' +
      'apt-get install redis-server, or brew install redis.',
  );
  process.exit(1);
}

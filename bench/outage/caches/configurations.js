/**
 * What is compared. A cache is opened by `open({ port, directory, ...options })` of its file and answers to `get`,
 * `set`, `delete` and `getOrSet`. The options of the peers are those that did best in an outage, beside the defaults.
 */
export const configurations = [
  { name: 'athena-memory', label: 'Athena, memory', file: 'athena.js', options: { local: 'memory' } },
  { name: 'athena-disk', label: 'Athena, disk', file: 'athena.js', options: { local: 'disk' } },
  { name: 'bentocache', label: 'bentocache, default', file: 'bentocache.js', options: {} },
  { name: 'bentocache-tuned', label: 'bentocache, tuned', file: 'bentocache.js', options: { tuned: true } },
  { name: 'cacheable', label: 'cacheable, default', file: 'cacheable.js', options: {} },
  { name: 'cacheable-sync', label: 'cacheable, sync', file: 'cacheable.js', options: { sync: true } },
  {
    name: 'cacheable-nonblocking',
    label: 'cacheable, non-blocking',
    file: 'cacheable.js',
    options: { nonBlocking: true },
  },
  { name: 'nest', label: '@nestjs/cache-manager, default', file: 'nest.js', options: {} },
  {
    name: 'nest-nonblocking',
    label: '@nestjs/cache-manager, non-blocking',
    file: 'nest.js',
    options: { nonBlocking: true },
  },
];

export const isAthena = ({ name }) => name.startsWith('athena');

/** Of every value, longer than a run takes. */
export const TTL_MS = 10 * 60_000;

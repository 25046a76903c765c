/** The directions of imports: `docs/architecture.md`, "Boundaries". */
const only = (name, from, allowed, comment) => ({
  name,
  comment,
  severity: 'error',
  from: { path: `^src/${from}/` },
  to: { path: '^src/', pathNot: [`^src/${from}/`, ...allowed.map((folder) => `^src/${folder}`)] },
});

const onlyIn = (library, places) => ({
  name: `${library.replace(/\W+/g, '-')}-in-one-place`,
  severity: 'error',
  from: { path: '^src/', pathNot: places.map((place) => `^src/${place}`) },
  to: { path: `node_modules/${library.replace(/\/$/, '')}/` },
});

const withoutNest = (folder) => ({
  name: `${folder.replace(/\W+/g, '-')}-without-nest`,
  comment: 'Mechanism knows no framework.',
  severity: 'error',
  from: { path: `^src/${folder}/` },
  to: { path: 'node_modules/@nestjs/' },
});

export default {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'no-orphans',
      severity: 'error',
      from: { orphan: true, pathNot: ['^src/main\\.ts$', '\\.d\\.ts$'] },
      to: {},
    },
    only('cache-is-alone', 'cache', [], 'The cache could be lifted out and used alone.'),
    only('ai', 'ai', ['cache/']),
    only('analysis', 'analysis', ['ai/', 'auth/', 'cache/', 'request/']),
    only('admin', 'admin', ['cache/', 'auth/', 'request/']),
    only('request', 'request', []),
    only('health', 'health', ['ai/', 'cache/']),
    only('auth', 'auth', []),
    only('telemetry', 'telemetry', []),
    only('config', 'config', ['ai/analysis\\.ts']),
    only('providers', 'ai/providers', [
      'ai/analysis\\.ts',
      'ai/language\\.ts',
      'ai/ai\\.errors\\.ts',
      'ai/prompts\\.ts',
    ]),
    only('storage', 'cache/storage', ['cache/cache\\.errors\\.ts', 'cache/redis/', 'cache/replication/']),
    only('replication', 'cache/replication', ['cache/cache\\.errors\\.ts', 'cache/storage/cache-entry\\.ts']),
    only('redis', 'cache/redis', ['cache/cache\\.errors\\.ts', 'cache/replication/']),
    {
      name: 'only-the-root-knows-the-root',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/main\\.ts$' },
      to: { path: '^src/(app\\.module|main)\\.ts$' },
    },
    onlyIn('ioredis', ['cache/redis/', 'cache/storage/redis\\.storage\\.ts']),
    onlyIn('lmdb', ['cache/storage/disk\\.storage\\.ts']),
    onlyIn('@ai-sdk/', ['ai/providers/']),
    onlyIn('@ai-sdk/anthropic', ['ai/providers/claude\\.provider\\.ts']),
    onlyIn('@ai-sdk/openai', ['ai/providers/openai\\.provider\\.ts']),
    onlyIn('@ai-sdk/deepseek', ['ai/providers/deepseek\\.provider\\.ts']),
    onlyIn('@ai-sdk/openai-compatible', ['ai/providers/compatible\\.provider\\.ts']),
    onlyIn('cockatiel', ['ai/providers/']),
    onlyIn('webcrack', ['ai/providers/local/deobfuscation/']),
    onlyIn('isolated-vm', ['ai/providers/local/deobfuscation/']),
    onlyIn('@nodesecure/js-x-ray', ['ai/providers/local/']),
    withoutNest('cache/storage'),
    withoutNest('cache/replication'),
    withoutNest('cache/redis'),
    withoutNest('ai/providers'),
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default'] },
  },
};

import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ['suites/*.js'],
    globalSetup: ['places.js'],
    // The product runs as it is built.
    server: { deps: { external: [/\/dist\//] } },
    reporters: ['./summary.js'],
    testTimeout: 10_000,
    hookTimeout: 20_000,
    // Each file opens applications of its own: two at once suit two cores.
    maxWorkers: 2,
  },
});

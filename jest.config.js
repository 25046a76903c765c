/** Tests run as ES modules (node --experimental-vm-modules) on the sources, through swc. */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': ['@swc/jest'] },
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  testTimeout: 30_000,
  // Suites start Redis servers and application processes of their own: two at once suit two cores.
  maxWorkers: 2,
};

/** Packages that ship ES modules only: jest runs CommonJS, so they are transformed like our own sources. */
const esModules = [
  'log-update',
  'ansi-escapes',
  'environment',
  'cli-cursor',
  'restore-cursor',
  'onetime',
  'mimic-function',
  'slice-ansi',
  'ansi-styles',
  'is-fullwidth-code-point',
  'get-east-asian-width',
  'strip-ansi',
  'ansi-regex',
  'wrap-ansi',
  'string-width',
  'env-paths',
  'is-safe-filename',
  'ky',
  'p-queue',
  'p-throttle',
  'p-timeout',
];

/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  // Many tests wait for timeouts and retries of servers, so that a second one finds a core; more only make each other wait.
  maxWorkers: 2,
  testTimeout: 60_000,
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/global-teardown.ts',
  transformIgnorePatterns: [`/node_modules/(?!(${esModules.join('|')})/)`],
  transform: {
    '\\.[jt]s$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'typescript' }, target: 'es2023' }, module: { type: 'commonjs' } },
    ],
  },
};

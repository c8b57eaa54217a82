import { defineConfig } from 'vitest/config';

export default defineConfig({
  // Examples import the package by its name.
  resolve: { alias: [{ find: /^attune\/(.+)$/, replacement: `${import.meta.dirname}/src/$1/index.ts` }] },
  test: { include: ['src/**/*.test.ts'], pool: 'forks', maxWorkers: 2, testTimeout: 60_000 },
});

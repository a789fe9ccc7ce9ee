import { defineConfig } from 'vitest/config'

const conditions = ['@sluice/source']

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['packages/*/src/**/*.test.ts', 'protocols/*/src/**/*.test.ts', 'test/**/*.test.ts'],
    execArgv: ['--conditions=@sluice/source', '--expose-gc'],
    pool: 'forks',
    maxWorkers: 2,
    reporters: process.env.CI ? ['./test/run/reporter.ts'] : ['default'],
    setupFiles: ['test/run/seed.ts'],
    testTimeout: 20_000,
    hookTimeout: 20_000,
  },
})

import { defineConfig, mergeConfig } from 'vitest/config'
import base from '../vitest.config.ts'
import type { Mutant } from './mutate.ts'

const mutant = process.env.SLUICE_MUTANT ? (JSON.parse(process.env.SLUICE_MUTANT) as Mutant) : undefined

/** The suites of `npm test` with one file changed as it is loaded. Not from the cache, which would not know of
 * the change; with short limits, so that a mutant that hangs is noticed too. */
export default mergeConfig(
  base,
  defineConfig({
    plugins: [
      {
        name: 'mutant',
        enforce: 'pre',
        transform(code, id) {
          if (!mutant || !id.endsWith(mutant.file)) return undefined
          return code.replace(mutant.from, () => mutant.to)
        },
      },
    ],
    test: { fsModuleCache: false, testTimeout: 4_000, hookTimeout: 4_000 },
  }),
)

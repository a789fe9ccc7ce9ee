import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { Mutant } from '../../mutants/mutate.ts'

/** A planted fault of the environment, put into its file as the child process loads it. */
const mutant = process.env.SLUICE_MUTANT ? (JSON.parse(process.env.SLUICE_MUTANT) as Mutant) : undefined

if (mutant)
  registerHooks({
    load(url, context, next) {
      if (!url.startsWith('file:') || !url.endsWith(mutant.file)) return next(url, context)
      const source = readFileSync(fileURLToPath(url), 'utf8').replace(mutant.from, () => mutant.to)
      return { format: 'module-typescript', source, shortCircuit: true }
    },
  })

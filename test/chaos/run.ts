import { runSuites } from '../run/suites.ts'

await runSuites(
  {
    powercut: () => import('./powercut.ts'),
    kill: () => import('./kill.ts'),
  },
  process.argv.slice(2),
)

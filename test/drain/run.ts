import { runSuites } from '../run/suites.ts'

await runSuites({ seam: () => import('./seam.ts') }, process.argv.slice(2))

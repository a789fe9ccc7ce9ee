import { runSuites } from '../run/suites.ts'

await runSuites(
  { seam: () => import('./seam.ts'), grpc: () => import('./grpc.ts'), remoting: () => import('./remoting/suite.ts') },
  process.argv.slice(2),
)

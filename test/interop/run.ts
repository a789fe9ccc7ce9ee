import { runSuites } from '../run/suites.ts'

await runSuites(
  {
    matrix: () => import('./matrix/suite.ts'),
    remoting: () => import('./remoting/suite.ts'),
    mqtt: () => import('./mqtt/suite.ts'),
    grpc: () => import('./grpc/suite.ts'),
    h2spec: () => import('./h2spec/suite.ts'),
    plugin: () => import('./plugin/suite.ts'),
    hostile: () => import('./hostile/suite.ts'),
    readme: () => import('./readme/suite.ts'),
  },
  process.argv.slice(2),
)

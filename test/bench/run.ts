import { parseArgs } from 'node:util'
import { alternate, type Bench, BenchStage } from './harness.ts'
import { commit, load, machine } from './machine.ts'
import { print, write } from './report.ts'

/** `npm run bench -- NAME… [--rounds N] [--full]`. A bench is a file whose default export is a `Bench`. */
const benches: Readonly<Record<string, () => Promise<{ readonly default: Bench }>>> = {
  start: () => import('./start.bench.ts'),
  waiting: () => import('./waiting.bench.ts'),
  pipeline: () => import('./pipeline.bench.ts'),
  link: () => import('./link.bench.ts'),
  remoting: () => import('./remoting.bench.ts'),
  cold: () => import('./cold.bench.ts'),
  grpc: () => import('./grpc.bench.ts'),
  'grpc-telemetry': () => import('./grpcTelemetry.bench.ts'),
  http: () => import('./http.bench.ts'),
  amqp: () => import('./amqp.bench.ts'),
  mqtt: () => import('./mqtt.bench.ts'),
  'mqtt-idle': () => import('./mqttIdle.bench.ts'),
  'mqtt-retained': () => import('./mqttRetained.bench.ts'),
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string' }, full: { type: 'boolean', default: false } },
})
const names = positionals.length > 0 ? positionals : Object.keys(benches)
const stranger = names.find((name) => !benches[name])
if (stranger !== undefined || (values.rounds !== undefined && !/^[1-9]\d*$/.test(values.rounds))) {
  console.error(`npm run bench -- [${Object.keys(benches).join(' | ')}]… [--rounds N] [--full]`)
  process.exit(2)
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130))

let missed = 0
for (const name of names) {
  const { default: bench } = await benches[name]!()
  const stage = new BenchStage(values.full, machine())
  const rounds = values.rounds === undefined ? bench.rounds[values.full ? 'full' : 'quick'] : Number(values.rounds)
  const before = load()
  try {
    const result = await alternate(bench, stage, rounds)
    const report = {
      bench: name,
      commit: commit(),
      at: new Date().toISOString(),
      machine: stage.machine,
      load: { before, after: load() },
      method: bench.method,
      rounds,
      full: values.full,
      result,
    }
    console.log(print(report, bench))
    if (values.full) console.log(`   written to ${write(report, bench)}`)
    missed += result.verdicts.filter(({ met }) => !met).length
  } finally {
    await stage.end()
  }
}
// A quick run on a busy machine says little: only a full one fails for a target that was missed.
process.exit(values.full && missed > 0 ? 1 : 0)

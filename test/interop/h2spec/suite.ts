import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { systemClock } from '@sluice/core'
import { startGateway } from '@sluice/gateway'
import { Checks, type Counts } from '../../run/suites.ts'

const run = promisify(execFile)
const root = path.join(import.meta.dirname, '../../..')
const out = path.join(root, 'out/interop/h2spec')
const program = path.join(out, 'h2spec')
const BUILD_MS = 300_000
const RUN_MS = 60_000
/** Cases that h2spec 2.2.1 has, the strict one with them. A run that knows fewer proves less than docs/grpc.md says. */
const CASES = 146
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined }

/** The public conformance suite of HTTP/2 against whole gateways that speak nothing but gRPC, plain and through TLS. */
export default async function suite(): Promise<Counts> {
  const checks = new Checks()
  mkdirSync(out, { recursive: true })
  const built = await checks.check('h2spec is built', () =>
    run('go', ['build', '-o', program, 'github.com/summerwind/h2spec/cmd/h2spec'], {
      cwd: path.join(import.meta.dirname, 'go'),
      timeout: BUILD_MS,
    }),
  )
  if (!built) return checks.counts
  const total = { passed: checks.passed, failed: checks.failed, skipped: 0 }
  for (const way of ['plain', 'tls'] as const) {
    const counts = await played(way)
    console.log(`     ${way}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
    total.passed += counts.passed
    total.failed += counts.failed
    total.skipped += counts.skipped
    assert.equal(counts.passed + counts.failed + counts.skipped, CASES, 'cases of h2spec')
    assert.equal(counts.skipped, 0, 'cases that h2spec could not play')
  }
  return total
}

const played = async (way: 'plain' | 'tls'): Promise<Counts> => {
  const certificate = (name: string) => path.join(root, 'test/tls', name)
  const tls = { cert: certificate('server.crt'), key: certificate('server.key'), mode: 'require' as const }
  const gateway = await startGateway({
    backend: { embedded: { flush: 'async' } },
    protocols: ['grpc'],
    listeners: [way === 'tls' ? { port: 0, tls } : { port: 0 }],
    log: silent,
    clock: systemClock,
  })
  const report = path.join(out, `${way}.xml`)
  try {
    const to = ['-h', '127.0.0.1', '-p', String(gateway.port), '-P', '/apache.rocketmq.v2.MessagingService/QueryRoute']
    const how = ['--strict', '-o', '2', '-j', report, ...(way === 'tls' ? ['-t', '-k'] : [])]
    // Its exit code says that a case failed, which the report says as well.
    await run(program, [...to, ...how], { timeout: RUN_MS, maxBuffer: 2 ** 24 }).catch((error: { code?: unknown }) => {
      if (error.code !== 1) throw error
    })
  } finally {
    await gateway.close()
  }
  return countsOf(readFileSync(report, 'utf8'))
}

/** Prints the cases that failed, out of a JUnit report. */
const countsOf = (report: string): Counts => {
  const cases = [...report.matchAll(/<testcase package="([^"]*)" classname="([^"]*)"[^>]*>(.*?)<\/testcase>/gs)]
  let failed = 0
  let skipped = 0
  for (const [, section, title, outcome] of cases) {
    if (outcome!.includes('<skipped')) skipped++
    if (!/<(?:failure|error)/.test(outcome!)) continue
    failed++
    console.log(`FAIL ${section} ${title}\n${outcome!.trim()}`)
  }
  return { passed: cases.length - failed - skipped, failed, skipped }
}

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { missingEvents } from '@sluice/testkit'
import { footprint, lastingGrowth } from '../../hostile/footprint.ts'
import { mixed, playAll } from '../../hostile/play.ts'
import { publishers } from '../../hostile/publish.ts'
import { allRows, startHostileGateway } from '../../hostile/target.ts'
import { Checks, type Counts, type Profile } from '../../run/suites.ts'

const ROWS = 10_000
const AT_ONCE = 200
/** With so much at once the deadlines of the server come late. */
const CLOSE_MS = 15_000

/** Ten thousand hostile connections, two hundred at a time: afterwards the process holds what it held before. */
export default async function suite({ profile }: { profile: Profile }): Promise<Counts> {
  if (!globalThis.gc) return withGc(profile)
  const checks = new Checks()
  const target = await startHostileGateway()
  const all = allRows()
  const rows = all.flatMap((one) => one.rows)
  const serves = async () => {
    for (const publish of Object.values(publishers)) await publish(target.ports.plain, 'known')
  }
  try {
    await checks.check('every protocol has rows', () => {
      assert.deepEqual(
        all.filter((one) => one.rows.length < 10).map(({ protocol }) => protocol),
        [],
      )
    })
    // What is compiled, cached and pooled at first use is there before the measurement.
    await checks.check('a first pass over all rows', async () => {
      const { wrong } = await playAll(mixed(rows, 4 * AT_ONCE), target, AT_ONCE, CLOSE_MS)
      assert.deepEqual(wrong, [])
      assert.deepEqual((await playAll(rows, target, AT_ONCE, CLOSE_MS)).wrong, [])
      await serves()
    })
    await new Promise((resolve) => setTimeout(resolve, 3_000)) // the last of them are closed
    target.logged.length = 0
    const before = footprint()
    await checks.check(`${ROWS} of them, ${AT_ONCE} at a time, are answered and ended as their rows say`, async () => {
      const { played, wrong } = await playAll(mixed(rows, ROWS), target, AT_ONCE, CLOSE_MS)
      assert.equal(played, ROWS)
      assert.deepEqual(wrong, [])
      assert.deepEqual(missingEvents([...mixed(rows, ROWS)], target.logged), [])
    })
    target.logged.length = 0
    await checks.check('the process holds no more memory, descriptors and handles than before', async () => {
      assert.deepEqual(await lastingGrowth(before), [])
    })
    await checks.check('the process still serves a publish in each protocol', serves)
  } finally {
    await target.close()
  }
  return checks.counts
}

/** The suite again in a process that can collect garbage when told. */
const withGc = async (profile: Profile): Promise<Counts> => {
  const code = `const { default: suite } = await import(${JSON.stringify(import.meta.url)})
process.send(await suite({ profile: ${JSON.stringify(profile)} }))
process.exit()`
  const args = ['--expose-gc', '--conditions=@sluice/source', '--input-type=module', '-e', code]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  return new Promise((resolve, reject) => {
    child.on('message', (counts) => resolve(counts as Counts))
    child.on('close', (status) => reject(new Error(`the process of the suite ended with ${status}`)))
  })
}

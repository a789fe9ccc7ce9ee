import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Bench, Contender, Sample, Stage } from './harness.ts'
import { type Ours, ours } from './ours.ts'

const COLD = 'cold'
const TAIL = 'tail'
const QUEUES = 4
const MiB = 2 ** 20
const PER_SECOND = 500

interface Filled {
  readonly server: Ours
  readonly logDir: string
  readonly full: boolean
}

const file = (name: string): URL => new URL(`./cold/${name}.load.ts`, import.meta.url)

/** One server on one log for both contenders. */
class Shared {
  #filled: Promise<Filled> | undefined

  get(stage: Stage): Promise<Filled> {
    return (this.#filled ??= this.#fill(stage))
  }

  async #fill(stage: Stage): Promise<Filled> {
    const { full } = stage
    const data = stage.folder()
    const logDir = join(data, 'log')
    const bytes = (full ? 2048 : 256) * MiB
    await stage.load(file('fill'), {
      dir: logDir,
      node: 'sluice-0',
      topic: COLD,
      queues: QUEUES,
      bytes,
      bodyBytes: 4096,
    })
    const server = await ours(stage, { flush: 'sync', data })
    return { server, logDir, full }
  }
}

/** What the system still has of the log in memory goes, where there is `dd`: then the reader is cold for the disk too. */
const forget = (logDir: string): void => {
  for (const name of readdirSync(logDir)) {
    if (/^\d{20}$/.test(name)) spawnSync('dd', [`if=${join(logDir, name)}`, 'iflag=nocache', 'count=0'])
  }
}

const tail = (stage: Stage, { server, full }: Filled): Promise<Sample> => {
  const options = { port: server.port, topic: TAIL, perSecond: PER_SECOND, warmMs: 1_000, runMs: full ? 20_000 : 5_000 }
  return stage.load(file('tail'), options, server)
}

const contender = (name: string, shared: Shared, isBeside: boolean): Contender => ({
  name,
  async start(stage) {
    const filled = await shared.get(stage)
    const { server, logDir, full } = filled
    return {
      run: async () => {
        if (!isBeside) return tail(stage, filled)
        forget(logDir)
        const runMs = full ? 22_000 : 7_000
        const reading = stage.load(file('reader'), { port: server.port, topic: COLD, queues: QUEUES, runMs })
        const [sample, read] = await Promise.all([tail(stage, filled), reading])
        return { ...sample, ...read }
      },
      ...(isBeside && { stop: () => server.stop() }),
    }
  },
})

const ALONE = 'tail alone'
const BESIDE = 'beside a cold reader'
const shared = new Shared()

const bench: Bench = {
  method: `A producer of ${PER_SECOND} messages a second (1 KiB, flush sync) and a consumer that waits for them, from the one's write to the other's read; alone, and beside a consumer of another topic that pulls a log of 2 GiB (256 MiB without --full), bodies of 4 KiB, from its beginning as fast as it is answered, the log out of the system's cache where dd can do so. In turn, on one server. lookP99Ms is how seldom the measuring process itself, which has a timer of 1 ms, came to its turn: no latency below it is the server's.`,
  rounds: { quick: 3, full: 5 },
  contenders: () => [contender(BESIDE, shared, true), contender(ALONE, shared, false)],
  targets: [
    { metric: 'p99Ms', of: BESIDE, against: ALONE, atMost: 1.5 },
    // One that reads nothing disturbs nobody.
    { metric: 'coldMBPerSecond', of: BESIDE, atLeast: 30 },
  ],
}

export default bench

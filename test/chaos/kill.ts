import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Checks, type Suite } from '../run/suites.ts'
import type { Ask, Said } from './kill/child.ts'

/** Each is two kills: in the middle of the work, and of the look at what is there. */
const ROUNDS = { ci: 15, full: 100 }
/** Publishes under way at a time. */
const DEPTH = 24
/** A popped message comes again after it. */
const INVISIBLE_MS = 1000

/** A broker process, by its answers. */
class Life {
  readonly #child: ChildProcess
  readonly #asked = new Map<number, (said: Said) => void>()
  #id = 0
  dead = false

  constructor(child: ChildProcess) {
    this.#child = child
    child.on('message', (said: Said) => {
      this.#asked.get(said.id)?.(said)
      this.#asked.delete(said.id)
    })
  }

  static async start(dir: string): Promise<Life> {
    const child = fork(join(import.meta.dirname, 'kill/child.ts'), [dir], {
      execArgv: ['--conditions=@sluice/source', '--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    const life = new Life(child)
    await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(() => Promise.reject(new Error('the broker did not start'))),
    ])
    return life
  }

  /** Never answered when the process is killed before. */
  ask(command: Ask['command']): Promise<Said> {
    const id = ++this.#id
    return new Promise((resolve) => {
      this.#asked.set(id, resolve)
      this.#child.send({ id, command } satisfies Ask, () => undefined)
    })
  }

  async kill(): Promise<void> {
    this.dead = true
    const exit = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exit
  }
}

interface Told {
  readonly published: Set<string>
  readonly accepted: Set<string>
  /** Settled without an answer. */
  readonly unsure: Set<string>
}

/** Publishes, pops and accepts until the process is killed in the middle of it. @returns publishes without an answer */
const live = async (life: Life, round: number, told: Told): Promise<number> => {
  let counter = 0
  let open = 0
  const publish = async (): Promise<void> => {
    while (!life.dead) {
      const body = `r${round}.${counter++}.${'x'.repeat((counter * 37) % 2000)}`
      open++
      const { error } = await life.ask({ do: 'publish', body })
      open--
      if (error === undefined) told.published.add(body)
    }
  }
  const consume = async (): Promise<void> => {
    while (!life.dead) {
      const { bodies = [], receipts = [] } = await life.ask({ do: 'pop' })
      for (const body of bodies) told.unsure.add(body)
      if (receipts.length === 0) continue
      const { error } = await life.ask({ do: 'accept', receipts })
      for (const body of bodies) {
        told.unsure.delete(body)
        if (error === undefined) told.accepted.add(body)
      }
    }
  }
  for (let writers = DEPTH; writers > 0; writers--) void publish()
  void consume()
  const until = told.published.size + 40 + ((round * 53) % 200)
  while (told.published.size < until) await new Promise((resolve) => setImmediate(resolve))
  const unanswered = open
  await life.kill()
  return unanswered
}

const expectAll = (name: string, wanted: Iterable<string>, there: ReadonlySet<string>): void => {
  const missing = [...wanted].filter((body) => !there.has(body))
  if (missing.length > 0)
    throw new Error(`${missing.length} ${name}: ${missing.slice(0, 3).map((body) => body.slice(0, 20))}`)
}

/** Everything acknowledged is there; nothing accepted comes again, and all the rest comes. */
const check = async (dir: string, told: Told): Promise<void> => {
  const life = await Life.start(dir)
  try {
    const { bodies = [] } = await life.ask({ do: 'all' })
    expectAll('acknowledged messages are gone', told.published, new Set(bodies))
    if (new Set(bodies).size !== bodies.length) throw new Error('a message is there twice')
    await new Promise((resolve) => setTimeout(resolve, INVISIBLE_MS + 100))
    const came = new Set<string>()
    for (;;) {
      const popped = await life.ask({ do: 'pop' })
      if (!popped.bodies || popped.bodies.length === 0) break
      for (const body of popped.bodies) came.add(body)
      await life.ask({ do: 'accept', receipts: popped.receipts! })
    }
    const again = [...came].filter((body) => told.accepted.has(body))
    if (again.length > 0) throw new Error(`${again.length} accepted messages came again`)
    const wanted = [...told.published].filter((body) => !told.accepted.has(body) && !told.unsure.has(body))
    expectAll('messages do not come any more', wanted, came)
    for (const body of [...came, ...told.unsure]) told.accepted.add(body)
  } finally {
    await life.kill()
  }
}

/** kill −9 of a broker in the middle of its work, on one directory over all rounds. */
const kill: Suite = async ({ profile }) => {
  const checks = new Checks()
  const dir = await mkdtemp(join(tmpdir(), 'sluice-kill-'))
  const told: Told = { published: new Set(), accepted: new Set(), unsure: new Set() }
  let least = Number.POSITIVE_INFINITY
  try {
    await checks.check(
      `${ROUNDS[profile]} kills in the middle of publishes: what was acknowledged is there`,
      async () => {
        for (let round = 1; round <= ROUNDS[profile]; round++) {
          const unanswered = await live(await Life.start(dir), round, told)
          least = Math.min(least, unanswered)
          if (unanswered === 0) throw new Error(`round ${round}: every publish was answered when the process died`)
          await check(dir, told)
        }
      },
    )
    console.log(`     ${told.published.size} acknowledged, at least ${least} without an answer at each kill`)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
  return checks.counts
}

export default kill

/** The same by its profile alone. */
export const run = (profile: 'ci' | 'full') => kill({ profile })

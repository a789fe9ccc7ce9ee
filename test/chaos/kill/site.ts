import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { BrokerStats } from '@sluice/broker'
import type { CommandOf, EpochMs, Kind, Log, Ms, ReplyTo } from '@sluice/core'
import type { Coverage } from '../campaign/coverage.ts'
import type { Settings, Site, Subject } from '../campaign/site.ts'
import type { Ask, Asked, Opened, Said } from './child.ts'
import type { Death } from './mortal.ts'
import { unpack, unpackFault } from './wire.ts'

/** When the clock of the first life begins: 2026-01-01. */
const BEGIN = 1_767_225_600_000

export class Killed extends Error {
  constructor() {
    super('the process was killed')
  }
}

interface Waiting {
  resolve(reply: unknown): void
  reject(error: Error): void
}

/** A broker process, by its answers. */
class Life implements Subject {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  #id = 0
  node = ''
  isDown = false
  /** Asked and not answered when it died. */
  unanswered = 0
  log: Log | undefined
  /** Resolves when it is dead and everything that it has said was heard. */
  readonly ended: Promise<unknown>

  /** @param cache where its code lies compiled: most of a start is reading the sources */
  constructor(cache: string) {
    this.#child = fork(join(import.meta.dirname, 'child.ts'), [], {
      execArgv: [
        '--conditions=@sluice/source',
        '--disable-warning=ExperimentalWarning',
        `--import=${join(import.meta.dirname, 'plant.ts')}`,
      ],
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: { ...process.env, NODE_OPTIONS: '', NODE_COMPILE_CACHE: cache },
    })
    this.#child.on('message', (said: Said) => this.#hear(said))
    this.ended = Promise.all([once(this.#child, 'exit'), once(this.#child, 'disconnect')]).then(() => this.#over())
  }

  #hear(said: Said): void {
    if ('line' in said) return this.log?.[said.line](said.event, said.fields)
    const waiting = this.#waiting.get(said.id)
    this.#waiting.delete(said.id)
    if ('reply' in said) waiting?.resolve(said.reply)
    else waiting?.reject(unpackFault(said.failed))
  }

  #over(): void {
    this.isDown = true
    this.unanswered = this.#waiting.size
    for (const { reject } of this.#waiting.values()) reject(new Killed())
    this.#waiting.clear()
  }

  get pending(): number {
    return this.#waiting.size
  }

  ask(asked: Asked): Promise<unknown> {
    if (this.isDown) return Promise.reject(new Killed())
    const id = ++this.#id
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#child.send({ id, asked } satisfies Ask, () => undefined)
    })
  }

  async execute<K extends Kind>(command: CommandOf<K>): Promise<ReplyTo<K>> {
    return unpack<K>(await this.ask({ do: 'execute', command }), this.node)
  }
  async stats(): Promise<BrokerStats> {
    return (await this.ask({ do: 'stats' })) as BrokerStats
  }
  async close(): Promise<void> {
    await this.ask({ do: 'close' })
    await this.kill()
  }

  async kill(): Promise<void> {
    this.isDown = true
    this.#child.kill('SIGKILL')
    await this.ended
  }
}

/** A broker in a process of its own on the real disk, killed with SIGKILL. */
export class ChildSite implements Site {
  readonly keepsLeases = true
  readonly #dir: string
  readonly #cache: string
  readonly #coverage: Coverage
  /** Started ahead: it waits for its directory. */
  #next: Life
  #life: Life | undefined
  #death: Death | undefined
  #now: EpochMs = BEGIN
  #passing: Promise<unknown> = Promise.resolve()

  constructor(dir: string, cache: string, coverage: Coverage) {
    this.#dir = dir
    this.#cache = cache
    this.#coverage = coverage
    this.#next = new Life(cache)
  }

  now(): EpochMs {
    return this.#now
  }

  /** One after the other: time does not run twice. */
  pass(ms: Ms): Promise<void> {
    const run = async (): Promise<void> => {
      this.#now += ms
      await this.#life!.ask({ do: 'pass', ms })
    }
    const passing = this.#passing.then(run)
    this.#passing = passing.catch(() => undefined)
    return passing
  }

  async leap(ms: Ms): Promise<void> {
    this.#now += ms
    await this.#life!.ask({ do: 'leap', ms })
  }

  async idle(): Promise<void> {
    await this.#life!.ask({ do: 'idle' })
  }

  /** @throws Killed when it was armed and died before it was up */
  async open(settings: Settings, log: Log): Promise<Subject> {
    const life = this.#next
    const death = this.#death
    this.#life = life
    this.#death = undefined
    this.#next = new Life(this.#cache)
    life.log = log
    const asked = { do: 'open', dir: this.#dir, settings, now: this.#now, ...(death && { death }) } as const
    const { node, indexes } = (await life.ask(asked)) as Opened
    life.node = node
    this.#coverage.hit('indexes rebuilt', indexes)
    return life
  }

  /** It dies so when it is opened next. */
  armNext(death: Death): void {
    this.#death = death
  }

  get isDown(): boolean {
    return this.#life!.isDown
  }

  /** Requests without an answer. */
  get pending(): number {
    return this.#life!.pending
  }

  /** Undefined: it goes on living. */
  async arm(death: Death | undefined): Promise<void> {
    await this.#life!.ask({ do: 'arm', death })
  }

  /** Resolves when the process is dead, also by its own hand. @returns requests that it did not answer */
  async ended(): Promise<number> {
    await this.#life!.ended
    return this.#life!.unanswered
  }

  async kill(): Promise<number> {
    await this.#life!.kill()
    return this.#life!.unanswered
  }

  async close(): Promise<void> {
    for (const life of [this.#life, this.#next]) if (life && !life.isDown) await life.kill()
    await Promise.all([this.#life?.ended, this.#next.ended])
  }
}

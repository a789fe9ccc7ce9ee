import type { Clock, EpochMs, Log, Ms } from '@sluice/core'
import { turns } from '@sluice/testkit'
import type { Coverage } from '../campaign/coverage.ts'
import { context, LeapClock, openHere } from '../campaign/local.ts'
import type { Random } from '../campaign/random.ts'
import type { Settings, Site, Subject } from '../campaign/site.ts'
import { DIR, Disk, type Faults, PowerIsOff } from './disk.ts'

const SIDECAR = '.index'
const isSegment = (name: string): boolean => /^\d+$/.test(name)

/** A broker in this process on a disk whose power goes. */
export class DiskSite implements Site {
  readonly keepsLeases = false
  readonly #clock = new LeapClock()
  readonly #coverage: Coverage
  #disk: Disk
  /** Names that were created while the broker comes up; undefined: it is up. */
  #created: string[] | undefined
  #rebuild: () => void = () => undefined

  constructor(random: Random, faults: Faults, coverage: Coverage) {
    this.#coverage = coverage
    this.#disk = new Disk(random, faults)
  }

  now(): EpochMs {
    return this.#clock.now()
  }
  pass(ms: Ms): Promise<void> {
    return this.#clock.pass(ms)
  }
  async leap(ms: Ms): Promise<void> {
    this.#clock.leap(ms)
  }
  idle(): Promise<void> {
    return turns(30)
  }

  async open(settings: Settings, log: Log): Promise<Subject> {
    const disk = this.#disk
    const created: string[] = []
    this.#created = created
    disk.onCreate = (name) => {
      created.push(name)
      if (name.endsWith(`${SIDECAR}.tmp`)) this.#rebuild()
    }
    // What is said of a disk without power means nothing.
    const error: Log['error'] = (event, fields) => {
      if (!disk.isOff) log.error(event, fields)
    }
    const clock = heardWhile(this.#clock, () => !disk.isOff)
    const broker = await openHere(settings, { dir: DIR, files: disk, clock, log: { ...log, error } })
    this.#created = undefined
    this.#coverage.hit('indexes rebuilt', indexes(created))
    return {
      node: broker.node,
      get isDown() {
        return disk.isOff
      },
      // No answer leaves a machine without power.
      execute: async (command) => {
        const reply = await broker.execute(broker.node, command, context)
        if (disk.isOff) throw new PowerIsOff()
        return reply
      },
      stats: async () => broker.stats(),
      close: () => broker.close(),
    }
  }

  /** Resolves when the broker that comes up writes an index anew. */
  rebuilding(): Promise<void> {
    return new Promise((resolve) => {
      this.#rebuild = resolve
    })
  }

  /** The power goes. What comes back is another disk with what has survived. */
  cut(): void {
    const coverage = this.#coverage
    coverage.hit('cuts')
    const names = this.#disk.files.map(({ name }) => name)
    const created = this.#created
    if (created) {
      coverage.hit('cuts while it came up')
      if (indexes(created) > 0) coverage.hit('cuts in an index rebuild')
    } else if (isRolling(names)) coverage.hit('cuts in a segment roll')
    if (names.some((name) => name.endsWith('.tmp'))) coverage.hit('cuts in a snapshot or index')
    this.#disk = this.#disk.cut()
    const last = this.#disk.files
      .map(({ name }) => name)
      .filter(isSegment)
      .sort()
      .at(-1)
    // Longer than an entry may end with.
    if (last !== undefined && this.#disk.zerosAtEnd(last) > 64) coverage.hit('logs that end in zeros')
  }
}

/** A clock that is heard as long as somebody is there to hear it. */
const heardWhile = (clock: Clock, isThere: () => boolean): Clock => {
  const guarded = (run: () => void) => () => {
    if (isThere()) run()
  }
  return {
    now: () => clock.now(),
    after: (delay, run) => clock.after(delay, guarded(run)),
    every: (period, run) => clock.every(period, guarded(run)),
  }
}

const indexes = (names: readonly string[]): number => names.filter((name) => name.endsWith(`${SIDECAR}.tmp`)).length

/** The next segment stands, and the index of the one before does not yet. */
const isRolling = (names: readonly string[]): boolean => {
  const [full, last] = names.filter(isSegment).sort().slice(-2)
  return last !== undefined && !names.includes(`${full}${SIDECAR}`)
}

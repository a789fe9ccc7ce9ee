import type { Clock, Connection, Log, Ms, ProtocolServer } from '@sluice/core'

export const phases = ['serving', 'leaving', 'announcing', 'settling', 'closed'] as const
export type Phase = (typeof phases)[number]

export interface DrainPlan {
  /** Not ready any more, still serving all: time for the load balancer to look away. */
  readonly leavingMs: Ms
  /** Window over which connections are told, each at its own moment, so that they do not come back all at once. */
  readonly announceMs: Ms
  /** After the window: time to finish what is in flight. */
  readonly settleMs: Ms
}

export interface Tally {
  /** Connections that were told to go. */
  readonly told: number
  /** Gone by themselves, or ended while nothing was in flight. */
  readonly obeyed: number
  /** Ended at the deadline although something was in flight. */
  readonly forced: number
  /** What was in flight on those. */
  readonly inflightAtClose: number
  /** Deliveries without a settlement that went back to the broker for others. */
  readonly returned: number
}

export interface Verdict {
  readonly byProtocol: Readonly<Record<string, Tally>>
  readonly took: Ms
  /** Nothing was forced with work in flight. */
  readonly clean: boolean
}

export interface DrainController {
  readonly phase: Phase
  add(name: string, server: ProtocolServer): void
  onPhase(listener: (phase: Phase) => void): void
  /** A pump gave messages back. Counted from the moment that the drain was asked for. */
  returned(name: string, messages: number): void
  /** As it is now, by protocol: complete only in the verdict. `remaining`: connections that the drain still waits for. */
  tallies(): Readonly<Record<string, Tally & { readonly remaining: number }>>
  /** Once; a second call gets the promise of the first. Resolves when every connection is gone. */
  drain(plan: DrainPlan): Promise<Verdict>
  /** A second signal: what is left of each phase is cut to `most`; two seconds unless said otherwise. */
  hurry(most?: Ms): void
}

const TICK: Ms = 50
const HURRY: Ms = 2_000
/** A client that was told needs a moment to move: its connection is not ended before, even when idle. */
const GRACE: Ms = 1_000
/** A server has so long to close when its connections are gone. */
const CLOSE: Ms = 5_000

interface Counts {
  told: number
  obeyed: number
  forced: number
  inflightAtClose: number
  returned: number
}

/** `log` hears of protocols that fail at leaving: one that throws costs its connection, never the drain. */
export const createDrain = (clock: Clock, log: Pick<Log, 'error'>): DrainController => new Drain(clock, log)

class Drain implements DrainController {
  readonly #clock: Clock
  readonly #log: Pick<Log, 'error'>
  readonly #servers = new Map<string, ProtocolServer>()
  readonly #counts = new Map<string, Counts>()
  readonly #listeners: ((phase: Phase) => void)[] = []
  /** Connections that were told, and since when. */
  readonly #told = new Map<Connection, { readonly name: string; readonly since: number }>()
  #phase: Phase = 'serving'
  #ends = Number.POSITIVE_INFINITY
  /** The most that a phase may still take. */
  #most: Ms = Number.POSITIVE_INFINITY
  #running: Promise<Verdict> | undefined

  constructor(clock: Clock, log: Pick<Log, 'error'>) {
    this.#clock = clock
    this.#log = log
  }

  get phase(): Phase {
    return this.#phase
  }

  add(name: string, server: ProtocolServer): void {
    this.#servers.set(name, server)
    this.#counts.set(name, { told: 0, obeyed: 0, forced: 0, inflightAtClose: 0, returned: 0 })
  }

  onPhase(listener: (phase: Phase) => void): void {
    this.#listeners.push(listener)
  }

  returned(name: string, messages: number): void {
    const counts = this.#counts.get(name)
    if (counts && this.#phase !== 'serving') counts.returned += messages
  }

  drain(plan: DrainPlan): Promise<Verdict> {
    this.#running ??= this.#run(plan)
    return this.#running
  }

  hurry(most: Ms = HURRY): void {
    this.#most = Math.min(this.#most, most)
    this.#ends = Math.min(this.#ends, this.#clock.now() + this.#most)
  }

  tallies(): Readonly<Record<string, Tally & { readonly remaining: number }>> {
    const remaining = new Map<string, number>()
    if (this.#phase !== 'serving') {
      for (const [name] of this.#open()) remaining.set(name, (remaining.get(name) ?? 0) + 1)
    }
    return Object.fromEntries(
      [...this.#counts].map(([name, counts]) => [name, { ...counts, remaining: remaining.get(name) ?? 0 }]),
    )
  }

  async #run(plan: DrainPlan): Promise<Verdict> {
    const began = this.#clock.now()
    await this.#during('leaving', plan.leavingMs, () => false)
    const opened = this.#clock.now()
    await this.#during('announcing', plan.announceMs, () => {
      const elapsed = this.#clock.now() - opened
      for (const [name, connection] of this.#open()) {
        // Each at its own moment of the window, by a hash of its id; who comes after its moment is told at once.
        if (elapsed >= spread(connection.id) * plan.announceMs) this.#tell(name, connection)
      }
      this.#endIdle()
      return this.#empty()
    })
    for (const [name, connection] of this.#open()) this.#tell(name, connection)
    await this.#during('settling', plan.settleMs, () => {
      for (const [name, connection] of this.#open()) this.#tell(name, connection)
      this.#endIdle()
      return this.#empty()
    })
    this.#force()
    await this.#closeAll()
    this.#enter('closed')
    return this.#verdict(this.#clock.now() - began)
  }

  #enter(phase: Phase): void {
    this.#phase = phase
    for (const listener of this.#listeners) listener(phase)
  }

  /** Looks about every tick until `done` says so or the phase is over. */
  #during(phase: Phase, length: Ms, done: () => boolean): Promise<void> {
    this.#enter(phase)
    this.#ends = this.#clock.now() + Math.min(length, this.#most)
    return new Promise((resolve) => {
      if (length === 0 || done()) return resolve()
      const stop = this.#clock.every(TICK, () => {
        if (!done() && this.#clock.now() < this.#ends) return
        stop()
        resolve()
      })
    })
  }

  *#open(): Iterable<[string, Connection]> {
    for (const [name, server] of this.#servers) {
      for (const connection of server.connections()) yield [name, connection]
    }
  }

  #empty(): boolean {
    for (const _ of this.#open()) return false
    return true
  }

  #tell(name: string, connection: Connection): void {
    if (this.#told.has(connection)) return
    this.#told.set(connection, { name, since: this.#clock.now() })
    this.#counts.get(name)!.told++
    this.#guarded(name, connection, () => connection.goAway('draining'))
  }

  /** A protocol that throws costs this connection. */
  #guarded(name: string, connection: Connection, call: () => void): void {
    try {
      call()
    } catch (error) {
      this.#failed(name, error)
      try {
        connection.end(true)
      } catch {
        // Said once.
      }
    }
  }

  #failed(name: string, error: unknown): void {
    this.#log.error('plugin.failed', {
      plugin: name,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    })
  }

  /** A server that does not close in time is left behind. */
  async #closeAll(): Promise<void> {
    const closing = [...this.#servers].map(async ([name, server]) => {
      try {
        await server.close()
      } catch (error) {
        this.#failed(name, error)
      }
    })
    let cancel = () => {}
    const late = new Promise<'late'>((resolve) => {
      cancel = this.#clock.after(CLOSE, () => resolve('late'))
    })
    if ((await Promise.race([Promise.all(closing), late])) === 'late')
      this.#failed('', new Error('a server does not close'))
    cancel()
  }

  /** Those that were told a moment ago may go as soon as nothing is in flight on them. */
  #endIdle(): void {
    const now = this.#clock.now()
    for (const [connection, { name, since }] of this.#told) {
      if (connection.state !== 'closed' && now - since >= GRACE)
        this.#guarded(name, connection, () => connection.end(false))
    }
  }

  #force(): void {
    for (const [name, connection] of this.#open()) {
      const counts = this.#counts.get(name)!
      if (!this.#told.has(connection)) this.#tell(name, connection)
      if (connection.busy > 0) {
        counts.forced++
        counts.inflightAtClose += connection.busy
      }
      this.#guarded(name, connection, () => connection.end(true))
    }
  }

  #verdict(took: Ms): Verdict {
    const byProtocol: Record<string, Tally> = {}
    for (const [name, counts] of this.#counts) {
      // Everything is closed now: who was told and not forced has gone in peace.
      counts.obeyed = counts.told - counts.forced
      byProtocol[name] = counts
    }
    return { byProtocol, took, clean: [...this.#counts.values()].every(({ inflightAtClose }) => inflightAtClose === 0) }
  }
}

/** A share of one, the same for the same id, and far apart for ids that are counted up: FNV-1a, its bits mixed well. */
const spread = (id: string): number => {
  let hash = 0x811c9dc5
  for (let at = 0; at < id.length; at++) hash = Math.imul(hash ^ id.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32
}

import type { Addressee, Clock, EpochMs, Limits, Log as Lines, Message, Notice, Wheel } from '@sluice/core'
import { freshRecord, type Host, type StoredRecord, viewRecord } from '@sluice/remoting'
import { ColdReads } from './cold.ts'
import type { GroupState, GroupTopic } from './groups.ts'
import type { Keys } from './keys.ts'
import type { Log } from './log.ts'
import type { Rests } from './pace.ts'
import { Parking } from './park.ts'
import type { Segments } from './segments.ts'
import type { Pointed, State } from './state.ts'
import { Views } from './views.ts'
import { Turns } from './walks.ts'

export interface Settings {
  readonly node: string
  readonly cluster: string
  readonly address: string
  readonly storeHost: Host
  readonly autoCreateTopics: boolean
  readonly defaultQueues: number
  readonly bodyBytes: Limits['bodyBytes']
}

/** Counted since start. */
export interface Counters {
  /** Bytes of the log that recovery could not read and that had been durable. Not 0: acknowledged data is lost. */
  unreadableBytes: number
  /** Records that could not be read when somebody asked for them. */
  unreadableRecords: number
  /** Bytes of a torn tail that were cut at start: never acknowledged. */
  cutBytes: number
  /** Messages that were delivered at their time, and how late: all together, and the latest. */
  timed: number
  lateMs: number
  lateMsMax: number
  /** Transactions that nobody decided and that were parked. */
  undecided: number
  /** Deliveries whose consumer said nothing in time: their messages went to another, or to the dead letters. */
  expiredLeases: number
}

export const noCounts = (): Counters => ({
  unreadableBytes: 0,
  unreadableRecords: 0,
  cutBytes: 0,
  timed: 0,
  lateMs: 0,
  lateMsMax: 0,
  undecided: 0,
  expiredLeases: 0,
})

/** What every command needs. */
export class Core {
  readonly state: State
  readonly log: Log
  readonly segments: Segments
  readonly keys: Keys
  readonly clock: Clock
  readonly wheel: Wheel
  readonly lines: Lines
  readonly settings: Settings
  readonly counters: Counters
  notify: (to: Addressee, notice: Notice) => Promise<unknown> = async () => undefined
  /** A record waits for its time: the timers look again. */
  delayed: () => void = () => undefined
  /** A transaction waits for its decision. */
  undecided: () => void = () => undefined
  /** Where sessions hold messages as long as they live. */
  readonly #holds = new Map<string, Set<GroupTopic>>()
  readonly cold: ColdReads
  /** Polls that wait. */
  readonly parking = new Parking(this)
  readonly turns: Turns
  readonly #views = new Views()

  constructor(
    parts: Pick<Core, 'state' | 'log' | 'segments' | 'keys' | 'clock' | 'wheel' | 'lines' | 'settings' | 'counters'> & {
      readonly rests: Rests
      readonly recentBytes: number
    },
  ) {
    this.state = parts.state
    this.log = parts.log
    this.segments = parts.segments
    this.keys = parts.keys
    this.clock = parts.clock
    this.wheel = parts.wheel
    this.lines = parts.lines
    this.settings = parts.settings
    this.counters = parts.counters
    this.cold = new ColdReads(parts)
    this.turns = new Turns(() => parts.log.end)
    this.state.touch = (what) => this.log.touch(what)
    this.state.matched = (message, place, size, readers) => this.#fresh(message, place, size, readers)
    this.state.keyed = (topic, facts, place) => this.keys.add(topic, facts, place)
  }

  /** The time that the next record is stored at: never before the one before it. */
  now(): EpochMs {
    const now = this.clock.now()
    if (now > this.state.storedAt) this.state.storedAt = now
    return this.state.storedAt
  }

  /** A message was delivered at its time. */
  late(ms: number): void {
    const { counters } = this
    counters.timed++
    counters.lateMs += ms
    counters.lateMsMax = Math.max(counters.lateMsMax, ms)
  }

  holds(session: string, groupTopic: GroupTopic): void {
    const known = this.#holds.get(session)
    if (known) known.add(groupTopic)
    else this.#holds.set(session, new Set([groupTopic]))
  }

  /** Where this session held messages, of all groups or of this one; it does not any more. */
  released(session: string, group?: GroupState): readonly GroupTopic[] {
    const known = this.#holds.get(session)
    const released = [...(known ?? [])].filter((groupTopic) => !group || groupTopic.group === group)
    for (const groupTopic of released) known?.delete(groupTopic)
    if (known?.size === 0) this.#holds.delete(session)
    return released
  }

  view(record: Buffer, place: number): StoredRecord {
    return this.#views.at(place) ?? this.#views.keep(viewRecord(record, this.settings.node), place)
  }

  /** Its readers come as soon as it is durable: they need not parse what was just written. */
  #fresh(message: Message, place: number, size: number, readers: number): void {
    const record = message.packed ? undefined : this.log.peek(place, size)
    if (record) this.#views.push(freshRecord(record, this.settings.node, message), place, readers)
  }

  /** What {@link read} finds, as views. `once`: they are not remembered, for nobody else looks at them soon. */
  look(
    pointers: readonly Pointed[],
    once = false,
  ): (StoredRecord | undefined)[] | Promise<(StoredRecord | undefined)[]> {
    const views: StoredRecord[] = []
    for (const { place, size } of pointers) {
      let view = this.#views.take(place)
      if (!view) {
        const record = this.log.peek(place, size)
        if (!record) return this.#lookCold(pointers, once)
        view = once ? viewRecord(record, this.settings.node) : this.view(record, place)
      }
      views.push(view)
    }
    return views
  }

  async #lookCold(pointers: readonly Pointed[], once: boolean): Promise<(StoredRecord | undefined)[]> {
    const records = await this.cold.read(pointers)
    if (once) return records.map((record) => record && viewRecord(record, this.settings.node))
    return records.map((record, at) => record && this.view(record, pointers[at]!.place))
  }

  /**
   * The records at these pointers; undefined where one cannot be read, which is logged and counted.
   * At once when all are in memory.
   */
  read(pointers: readonly Pointed[]): (Buffer | undefined)[] | Promise<(Buffer | undefined)[]> {
    const records: (Buffer | undefined)[] = []
    for (const { place, size } of pointers) {
      const record = this.log.peek(place, size)
      if (!record) return this.cold.read(pointers)
      records.push(record)
    }
    return records
  }
}

import { type CommandOf, type Context, type Delivered, Fault, type Ms, type Replies, type Signal } from '@sluice/core'
import { editProperties, type StoredRecord, sysFlag, system, viewRecord } from '@sluice/remoting'
import { Alarm } from './alarm.ts'
import { emptyBatch, RecordBatch } from './batch.ts'
import type { Core } from './core.ts'
import { writeHalfChecked, writeHalfDone } from './events.ts'
import { type HalfState, handleOf } from './halves.ts'
import type { Members } from './members.ts'
import { park } from './park.ts'
import { again, appendTo, place } from './publish.ts'
import { createTopic, topicOrNew } from './topicCommands.ts'
import type { Waiter } from './waiters.ts'

/** Source: RocketMQ's transactionCheckInterval, transactionCheckMax, fileReservedTime */
export const CHECK_EVERY_MS: Ms = 30_000
export const CHECKS_MAX = 15
export const UNDECIDED_MAX_MS: Ms = 72 * 3_600_000
/** Where transactions end that nobody decides: for people to look at. Source: TopicValidator.RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC */
export const UNDECIDED_TOPIC = 'TRANS_CHECK_MAX_TIME_TOPIC'
/** Halves looked at before others run. */
const RUN = 256
const POP_MAX = 1024

const halfOnly: ReadonlySet<string> = new Set([system.half, system.checkAfter])
const abandoned: ReadonlySet<string> = new Set([
  ...halfOnly,
  system.delayLevel,
  system.delaySeconds,
  system.delayMs,
  system.deliverAt,
])

type PopCommand = CommandOf<'pop'>
type HalvesSource = Extract<PopCommand['source'], { kind: 'halves' }>

const unknown = () => new Fault('notFound', 'no such transaction, or it is decided', { about: 'transaction' })
const mismatch = (about: string) => new Fault('conflict', `the transaction is of another ${about}`, { about })

/** Decides half messages, and asks their producers where nobody does. */
export class Transactions {
  readonly #core: Core
  readonly #members: Members
  /** Pops that wait for halves, by topic and group. */
  readonly #waiting = new Map<string, Set<Waiter>>()
  readonly #alarm: Alarm

  constructor(core: Core, members: Members) {
    this.#core = core
    this.#members = members
    this.#alarm = new Alarm(
      core,
      'transactions',
      () => core.state.halves.first?.checkAt,
      () => this.#run(),
    )
  }

  /** To be called when a half was stored, and once after recovery. */
  schedule(): void {
    this.#alarm.schedule()
  }

  close(): Promise<void> {
    return this.#alarm.close()
  }

  /**
   * Durable when it answers. 'unknown' decides nothing: the producer is asked again later.
   * @throws Fault 'notFound' about 'transaction' when it is decided already, 'conflict' about 'group', 'topic' or
   * 'transaction' when the handle means another one or is being decided now
   */
  async end({ half: handle, resolution }: CommandOf<'endTransaction'>): Promise<Replies['endTransaction']> {
    const { state, log } = this.#core
    log.admit()
    const half = state.halves.get(handle.place)
    if (!half) throw unknown()
    if (handle.group !== half.group) throw mismatch('group')
    if (handle.topic !== '' && handle.topic !== half.topic) throw mismatch('topic')
    if (handle.id !== '' && handle.id !== half.id) throw mismatch('transaction')
    if (resolution === 'unknown') return {}
    if (half.ending) throw new Fault('conflict', 'the transaction is being decided already', { about: 'transaction' })
    if (resolution === 'rollback') this.#done(half)
    else await this.#alone(half, (message) => this.#commit(half, message))
    await log.done()
    return {}
  }

  /** Transactions of this producer group whose question is due: taking one is being asked. */
  async pop(command: PopCommand, source: HalvesSource, context: Context): Promise<Replies['pop']> {
    const core = this.#core
    core.log.admit()
    topicOrNew(core, source.topic)
    const until = Math.min(core.clock.now() + command.wait, context.deadline)
    while (!context.signal?.aborted) {
      const wanted = this.#wanted(source)
      if (wanted.length > 0 && command.max === 0) return { batch: emptyBatch, more: true }
      if (wanted.length > 0) return this.#take(wanted, command)
      if (core.clock.now() >= until || !(await this.#park(source, until, context.signal))) break
    }
    return { batch: emptyBatch, more: false }
  }

  /** What a pop would give. */
  async browse(source: HalvesSource, max: number): Promise<readonly Buffer[]> {
    const found = await this.#core.read(this.#wanted(source).slice(0, max))
    return found.filter((record) => record !== undefined)
  }

  async #take(wanted: readonly HalfState[], { max, invisible }: PopCommand): Promise<Replies['pop']> {
    const core = this.#core
    const taken = wanted.slice(0, Math.min(max, POP_MAX))
    const after = invisible === 'session' || invisible <= 0 ? CHECK_EVERY_MS : invisible
    for (const half of taken) this.#asked(half, after)
    const found = await core.read(taken)
    const records: Buffer[] = []
    const halves: HalfState[] = []
    found.forEach((record, at) => {
      if (!record || core.state.halves.get(taken[at]!.key) !== taken[at]) return
      records.push(record)
      halves.push(taken[at]!)
    })
    const attempts = halves.map(({ checks }) => checks)
    const batch = new RecordBatch(records, (record, at): Delivered => {
      const half = halves[at]!
      const message = viewRecord(record, core.settings.node)
      return { message, attempt: attempts[at]!, half: handleOf(core.settings.node, half) }
    })
    return { batch, more: wanted.length > taken.length }
  }

  #wanted({ topic, group }: HalvesSource): HalfState[] {
    const now = this.#core.clock.now()
    const wanted: HalfState[] = []
    for (const half of this.#core.state.halves.of(topic, group))
      if ((half.wanted || half.checkAt <= now) && !half.ending) wanted.push(half)
    return wanted
  }

  #park({ topic, group }: HalvesSource, until: number, signal: Signal | undefined): Promise<boolean> {
    const key = `${topic}\x00${group}`
    const join = (reader: Waiter) => {
      const readers = this.#waiting.get(key)
      if (readers) readers.add(reader)
      else this.#waiting.set(key, new Set([reader]))
    }
    const leave = (reader: Waiter) => {
      const readers = this.#waiting.get(key)
      readers?.delete(reader)
      if (readers?.size === 0) this.#waiting.delete(key)
    }
    return park(this.#core, until, signal, { join, leave })
  }

  async #run(): Promise<void> {
    const { state, clock, log } = this.#core
    for (let left = RUN; left > 0 && !log.fault && !this.#alarm.isClosed; left--) {
      const { first } = state.halves
      if (!first || first.checkAt > clock.now()) return
      await this.#check(first)
    }
  }

  async #check(half: HalfState): Promise<void> {
    const { state, clock } = this.#core
    const now = clock.now()
    if (half.ending) return state.halves.later(half, now + CHECK_EVERY_MS)
    if (half.checks >= CHECKS_MAX || half.storedAt + UNDECIDED_MAX_MS <= now) return this.#abandon(half)
    const [reader] = this.#waiting.get(`${half.topic}\x00${half.group}`) ?? []
    if (reader || !this.#members.produces(half.group)) {
      // Who asks for it by a pop gets it; a producer that comes back is asked at the next turn. Neither counts as a check.
      half.wanted = true
      state.halves.later(half, now + CHECK_EVERY_MS)
      return reader?.wake()
    }
    this.#asked(half, CHECK_EVERY_MS)
    const [record] = await this.#core.read([half])
    if (!record || state.halves.get(half.key) !== half) return
    const { node } = state
    const notice = { kind: 'checkTransaction', message: viewRecord(record, node), half: handleOf(node, half) } as const
    // A producer that cannot be told is asked again, or another one is.
    void this.#core.notify({ group: half.group, role: 'produces', one: true }, notice).catch(() => undefined)
  }

  /** Not waited for: a check that is forgotten in a power cut is made once more. */
  #asked(half: HalfState, after: Ms): void {
    const { state, log, clock } = this.#core
    const checked = { key: half.key, checks: half.checks + 1, checkAt: clock.now() + after }
    log.append(writeHalfChecked(checked))
    state.halves.checked(checked.key, checked.checks, checked.checkAt)
    this.schedule()
  }

  /** Nobody else ends it while its record is read. @throws Fault 'notFound' when it cannot be read, which is logged */
  async #alone(half: HalfState, end: (message: StoredRecord) => void): Promise<void> {
    const core = this.#core
    half.ending = true
    try {
      const [record] = await core.read([half])
      if (core.state.halves.get(half.key) !== half) throw unknown()
      if (record) return end(viewRecord(record, core.settings.node))
      core.lines.error('transaction.lost', { topic: half.topic, group: half.group, id: half.id })
      this.#done(half)
      throw unknown()
    } finally {
      half.ending = false
    }
  }

  /** The message in its queue and the end of the transaction are one entry. A delay counts from here. */
  #commit(half: HalfState, message: StoredRecord): void {
    const core = this.#core
    const topic = topicOrNew(core, half.topic)
    // A producer that gave no id knows the message by that of the half.
    const packed = editProperties(message.packed, halfOnly, { [system.id]: half.id })
    const whole = again(message, packed)
    place(core, whole, topic.queues[half.queue]?.queue, {
      chained: true,
      prepared: half.key,
      sysFlag: sysFlag.commit,
      ...(half.publisher !== undefined && { publisher: half.publisher }),
    })
    this.#done(half)
  }

  #done({ key }: HalfState): void {
    this.#core.log.append(writeHalfDone(key))
    this.#core.state.halves.delete(key)
  }

  /** Asked too often or too old: rolled back, and kept where somebody can look at it. */
  async #abandon(half: HalfState): Promise<void> {
    const core = this.#core
    const { topic, group, id, checks } = half
    const parked =
      core.state.topics.get(UNDECIDED_TOPIC) ?? createTopic(core, { topic: UNDECIDED_TOPIC, queues: 1, type: 'mixed' })
    await this.#alone(half, (message) => {
      const packed = editProperties(message.packed, abandoned, { REAL_TOPIC: topic })
      appendTo(core, parked.pick(undefined), again(message, packed, UNDECIDED_TOPIC), { chained: true })
      this.#done(half)
    })
    core.counters.undecided++
    core.lines.warn('transaction.parked', { topic, group, id, checks, to: UNDECIDED_TOPIC })
  }
}

import type { Message } from '@sluice/core'
import { deliverAtOf, editProperties, PropertyView, type StoredRecord, system, viewRecord } from '@sluice/remoting'
import { Alarm } from './alarm.ts'
import type { Core } from './core.ts'
import { writeDelayDone } from './events.ts'
import { again, appendTo } from './publish.ts'
import type { Delayed } from './state.ts'
import { topicOrNew } from './topicCommands.ts'

const RUN = 256
const relative: ReadonlySet<string> = new Set([system.delayLevel, system.delaySeconds, system.delayMs])

/** Moves delayed records to their queues when their time has come. */
export class Timers {
  readonly #core: Core
  readonly #alarm: Alarm

  constructor(core: Core) {
    this.#core = core
    this.#alarm = new Alarm(
      core,
      'timers',
      () => core.state.firstDelayed?.at,
      () => this.#run(),
    )
  }

  /** To be called when a record was delayed, and once after recovery. */
  schedule(): void {
    this.#alarm.schedule()
  }

  close(): Promise<void> {
    return this.#alarm.close()
  }

  async #run(): Promise<void> {
    const { state, clock } = this.#core
    for (;;) {
      const due: Delayed[] = []
      for (const delayed of state.takeDue(clock.now(), RUN)) due.push(delayed)
      if (due.length === 0) return
      const places = due.map(({ place }) => place)
      const records = await this.#core.read(due)
      due.forEach((delayed, index) => {
        if (state.delayed.get(delayed.key) !== delayed) return
        const record = records[index]
        if (record) this.#move(delayed, viewRecord(record, state.node))
        // Written again by a retention after it was looked for: it stands elsewhere, and its turn comes once more.
        else if (delayed.place !== places[index]) state.delay(delayed)
        else state.delayed.delete(delayed.key)
      })
    }
  }

  /** The record in its queue and the end of its waiting are one: it is delivered once. */
  #move(delayed: Delayed, message: StoredRecord): void {
    const core = this.#core
    const { state, log } = core
    try {
      const topic = topicOrNew(core, message.topic)
      const queue = (delayed.queue >= 0 ? topic.queues[delayed.queue] : undefined) ?? topic.pick(message.group)
      appendTo(core, queue, atTime(message, delayed.at), { reconsumeTimes: message.reconsumeTimes, chained: true })
    } catch (error) {
      // Its topic was deleted, or there may be no more topics: nobody could ever read it.
      core.lines.warn('timers.dropped', { topic: message.topic, error: String(error) })
    }
    log.append(writeDelayDone(delayed.key))
    state.delayed.delete(delayed.key)
    core.late(core.clock.now() - delayed.at)
  }
}

/** The same message with its absolute time: a delay counted from when it was sent, which is over. */
const atTime = (message: StoredRecord, at: number): Message => {
  const view = new PropertyView(message.packed)
  if (deliverAtOf(view, 0) === view.deliverAt) return again(message, message.packed)
  return again(message, editProperties(message.packed, relative, { [system.deliverAt]: String(at) }))
}

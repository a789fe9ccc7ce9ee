import { realFiles } from '@sluice/broker'
import { type Entry, isControl } from '../../../packages/broker/src/entry.ts'
import * as events from '../../../packages/broker/src/events.ts'
import { scanSegment } from '../../../packages/broker/src/scan.ts'
import { Segments } from '../../../packages/broker/src/segments.ts'

/** One message of a group, as the broker's log tells it. */
export interface History {
  readonly deliveries: { readonly poppedAt: number; readonly attempt: number }[]
  /** Until when its last delivery, or what its consumer said of it later, holds it. */
  until: number
  isSettled: boolean
}

export interface Leases {
  /** By `queue offset`. */
  readonly messages: ReadonlyMap<string, History>
  /** Deliveries while another held the message, or after its end. */
  readonly wrong: readonly string[]
  /** Second and further deliveries, each after the end of the lease before it. */
  readonly again: number
}

/** What the log says of the pops of a group: written down before a consumer hears of them. */
export const readLeases = async (dir: string, group: string, topic: string): Promise<Leases> => {
  const ledger = new Ledger(group, topic)
  const segments = new Segments(realFiles, dir)
  await segments.load()
  try {
    for (const segment of segments.list)
      await scanSegment(
        segments,
        segment,
        segment.start,
        (entry) => ledger.apply(entry),
        () => undefined,
      )
  } finally {
    await segments.close()
  }
  return ledger
}

class Ledger implements Leases {
  readonly messages = new Map<string, History>()
  readonly wrong: string[] = []
  again = 0
  readonly #group: string
  readonly #topic: string

  constructor(group: string, topic: string) {
    this.#group = group
    this.#topic = topic
  }

  apply({ payload }: Entry): void {
    if (!isControl(payload)) return
    const { kind, body } = events.readEvent(payload)
    if (kind === events.POPPED) this.#popped(events.readPopped(body))
    else if (kind === events.RENEWED) this.#renewed(events.readRenewed(body))
    else if (kind === events.SETTLED) {
      const where = events.readWhere(body)
      for (let left = body.number(); left > 0; left--) this.#settled(where, body.number())
    }
  }

  #popped(popped: events.Popped): void {
    if (!this.#isIts(popped)) return
    for (const { offset, poppedAt, attempt } of popped.items) {
      const key = `${popped.queue} ${offset}`
      const known = this.messages.get(key)
      const until = poppedAt + popped.invisible
      if (!known) {
        this.messages.set(key, { deliveries: [{ poppedAt, attempt }], until, isSettled: false })
        continue
      }
      if (known.isSettled) this.wrong.push(`${key} was settled and came again at ${poppedAt}`)
      else if (poppedAt < known.until) this.wrong.push(`${key} was held until ${known.until} and came at ${poppedAt}`)
      else this.again++
      known.deliveries.push({ poppedAt, attempt })
      known.until = until
    }
  }

  #renewed(renewed: ReturnType<typeof events.readRenewed>): void {
    const known = this.#isIts(renewed) ? this.messages.get(`${renewed.queue} ${renewed.offset}`) : undefined
    if (known) known.until = renewed.poppedAt + renewed.invisible
  }

  #settled(where: events.Where, offset: number): void {
    const known = this.#isIts(where) ? this.messages.get(`${where.queue} ${offset}`) : undefined
    if (known) known.isSettled = true
  }

  #isIts({ group, topic }: events.Where): boolean {
    return group === this.#group && topic === this.#topic
  }
}

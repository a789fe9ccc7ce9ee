import { add, type Serial } from './serial.ts'
import type { CompositeOf } from './shapes.ts'

type Disposition = CompositeOf<'disposition'>
type State = NonNullable<Disposition['state']>

export const ACCEPTED = { type: 'accepted' } as const

/** Words on deliveries: those of one tick that are neighbours and accepted alike leave as one. */
export class Dispositions {
  readonly #send: (disposition: Disposition) => void
  #open: { readonly role: boolean; readonly settled: boolean; readonly first: Serial; count: number } | undefined

  constructor(send: (disposition: Disposition) => void) {
    this.#send = send
  }

  /** `role`: true as the receiver of the delivery, false as its sender. */
  say(role: boolean, id: Serial, settled: boolean, state: State): void {
    if (state.type !== 'accepted') {
      this.flush()
      return this.#send({ type: 'disposition', role, first: id, settled, state })
    }
    const open = this.#open
    if (open && open.role === role && open.settled === settled && id === add(open.first, open.count)) {
      open.count++
      return
    }
    this.flush()
    this.#open = { role, settled, first: id, count: 1 }
    // After every reaction to the same reply of the broker has run.
    process.nextTick(this.flush)
  }

  readonly flush = (): void => {
    const open = this.#open
    if (!open) return
    this.#open = undefined
    const { role, settled, first, count } = open
    const last = count > 1 ? add(first, count - 1) : undefined
    this.#send({ type: 'disposition', role, first, last, settled, state: ACCEPTED })
  }
}

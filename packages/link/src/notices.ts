import { type Addressee, type Clock, Fault, type Ms, type Notice, type Wheel } from '@sluice/core'
import type { Channel } from './channel.ts'
import { writeSpecial } from './messages.ts'
import { writeValue } from './values.ts'
import { frame } from './wire.ts'

const NOTICES_MAX = 16_384
/** How long a client may take to answer. */
const NOTICE_MS: Ms = 15_000

interface Asked {
  resolve(answer: unknown): void
  reject(fault: Fault): void
}

/** Notices to one gateway's clients that wait for their answers. */
export class Notices {
  readonly #channel: Channel
  readonly #wheel: Wheel
  readonly #clock: Clock
  readonly #asked = new Map<number, Asked>()
  #ids = 0

  constructor(channel: Channel, wheel: Wheel, clock: Clock) {
    this.#channel = channel
    this.#wheel = wheel
    this.#clock = clock
  }

  /** @throws Fault 'busy' beyond so many, 'outcomeUnknown' without an answer in time, 'unavailable' when the link breaks */
  send(to: Addressee, notice: Notice): Promise<unknown> {
    if (this.#asked.size >= NOTICES_MAX)
      return Promise.reject(new Fault('busy', `link: ${NOTICES_MAX} notices have no answer`))
    const id = (this.#ids = (this.#ids + 1) >>> 0)
    try {
      writeValue(this.#channel.frame(frame.notice, id), { to, notice }, writeSpecial)
    } catch (error) {
      this.#channel.abandoned()
      return Promise.reject(Fault.from(error))
    }
    this.#channel.sent()
    return new Promise((resolve, reject) => {
      const late = new Fault('outcomeUnknown', 'the client did not answer')
      const cancel = this.#wheel.at(this.#clock.now() + NOTICE_MS, () => this.answered(id)?.reject(late))
      this.#asked.set(id, {
        resolve(answer) {
          cancel()
          resolve(answer)
        },
        reject(fault) {
          cancel()
          reject(fault)
        },
      })
    })
  }

  /** Undefined: nobody waits for it any more. */
  answered(id: number): Asked | undefined {
    const asked = this.#asked.get(id)
    this.#asked.delete(id)
    return asked
  }

  closed(): void {
    for (const { reject } of this.#asked.values()) reject(new Fault('unavailable', 'link: the gateway is gone'))
    this.#asked.clear()
  }
}

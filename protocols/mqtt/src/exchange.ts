import { type Clock, type EpochMs, Fault } from '@sluice/core'
import { violation } from './cursor.ts'
import type { Auth } from './packets.ts'

/** Reason codes of AUTH: the exchange goes on; the client begins it anew. */
export const CONTINUE = 0x18
export const ANEW = 0x19

interface Waiting {
  readonly resolve: (answer: Buffer) => void
  readonly reject: (fault: Fault) => void
}

/**
 * Challenges and answers of an enhanced authentication [MQTT 5.0 section 4.12]. The last word of a method that needs no
 * answer (the server's signature of SCRAM) is asked without waiting: it travels with the verdict.
 */
export class Exchange {
  readonly method: string
  readonly #clock: Clock
  readonly #send: (auth: Auth) => void
  #unsent: Buffer | undefined
  #waiting: Waiting | undefined
  /** When the client was asked what it has not answered; undefined: nothing. */
  asked: EpochMs | undefined
  over = false

  constructor(method: string, clock: Clock, send: (auth: Auth) => void) {
    this.method = method
    this.#clock = clock
    this.#send = send
  }

  readonly ask = (challenge: Buffer): Promise<Buffer> => {
    if (this.over || this.#waiting) return Promise.reject(new Fault('internal', 'two challenges at a time'))
    const answer = new Promise<Buffer>((resolve, reject) => {
      this.#waiting = { resolve, reject }
    })
    answer.catch(() => undefined) // perhaps nobody waits for it
    this.#unsent = challenge
    setImmediate(() => {
      if (this.#unsent !== challenge) return
      this.#unsent = undefined
      this.asked = this.#clock.now()
      this.#send(auth(CONTINUE, this.method, challenge))
    })
    return answer
  }

  /** @throws Fault 'malformed' [MQTT-4.12.0-3, -5] */
  answer({ reasonCode = 0, properties }: Auth): void {
    if (this.asked === undefined || reasonCode !== CONTINUE) throw violation('an AUTH that was not asked for')
    if (properties?.authenticationMethod !== this.method) throw violation('another authentication method')
    this.asked = undefined
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.resolve(properties.authenticationData ?? Buffer.alloc(0))
  }

  /** The verdict is there. @returns what the client has not been told yet */
  end(): { readonly authenticationMethod: string; readonly authenticationData?: Buffer } {
    const data = this.#unsent
    this.#unsent = undefined
    this.#waiting = undefined
    this.asked = undefined
    this.over = true
    return { authenticationMethod: this.method, ...(data && { authenticationData: data }) }
  }

  /** Nobody is left to answer. */
  abandon(): void {
    const waiting = this.#waiting
    this.end()
    waiting?.reject(new Fault('unauthenticated', 'the client left its authentication'))
  }
}

const auth = (reasonCode: number, authenticationMethod: string, authenticationData: Buffer): Auth => ({
  cmd: 'auth',
  reasonCode,
  properties: { authenticationMethod, authenticationData },
})

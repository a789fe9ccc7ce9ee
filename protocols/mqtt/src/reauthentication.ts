import { type Credentials, type EpochMs, Fault, type Gateway, type Session } from '@sluice/core'
import type { Mouth } from './client.ts'
import { violation } from './cursor.ts'
import { ANEW, Exchange } from './exchange.ts'
import type { Auth } from './packets.ts'

/** A client that proves itself again, while everything goes on [MQTT 5.0 section 4.12.1]. */
export class Reauthentication {
  readonly #gateway: Gateway
  readonly #session: Session
  readonly #who: Credentials
  readonly #mouth: Mouth
  #exchange: Exchange | undefined

  /** `who`: as it came in. */
  constructor(gateway: Gateway, session: Session, who: Credentials, mouth: Mouth) {
    this.#gateway = gateway
    this.#session = session
    this.#who = who
    this.#mouth = mouth
  }

  get asked(): EpochMs | undefined {
    return this.#exchange?.asked
  }

  /** @throws Fault 'malformed' */
  receive(frame: Auth): void {
    if (frame.reasonCode !== ANEW) {
      if (!this.#exchange) throw violation('an AUTH that was not asked for')
      return this.#exchange.answer(frame)
    }
    const method = this.#who.mechanism!
    // [MQTT-4.12.1-1]
    if (frame.properties?.authenticationMethod !== method) throw violation('another authentication method')
    if (this.#exchange) throw violation('an authentication within another')
    this.#exchange = new Exchange(method, this.#gateway.clock, (auth) => void this.#mouth.send(auth))
    void this.#prove(this.#exchange, frame.properties.authenticationData)
  }

  abandon(): void {
    this.#exchange?.abandon()
  }

  async #prove(exchange: Exchange, secret: Buffer | undefined): Promise<void> {
    const { secret: _, ...who } = this.#who
    try {
      const again = { ...who, exchange: exchange.ask, ...(secret && { secret }) }
      const { name, tenant } = await this.#gateway.authenticate(again)
      const { principal } = this.#session
      if (name !== principal.name || tenant !== principal.tenant) {
        throw new Fault('unauthenticated', 'a session stays with whom it began')
      }
      if (exchange.over) return
      this.#exchange = undefined
      this.#mouth.send({ cmd: 'auth', reasonCode: 0, properties: exchange.end() })
    } catch (error) {
      if (!exchange.over) this.#mouth.fail(Fault.from(error)) // [MQTT-4.12.1-2]
    }
  }
}

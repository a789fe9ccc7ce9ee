import { type EpochMs, type Message, type Ms, names } from '@sluice/core'
import { editProperties, encodeRecord, type StoredRecord, viewRecord } from '@sluice/remoting'
import type { Core } from './core.ts'
import { writeWillDone } from './inboxEvents.ts'
import type { InboxState, Will } from './inboxes.ts'
import { again, checkMessage, publishOne } from './publish.ts'
import { checkTopicName } from './topics.ts'

/** How long the will of a client waits that did not leave by its own fault: a drain, a restart. */
export const KEEP_WILL_MS: Ms = 30_000

/** After a start: its client could not come back while there was no broker. */
export const leftOf = (remaining: Ms): Ms => (remaining > 0 ? remaining : KEEP_WILL_MS)

/**
 * The last messages of clients. A will that waits belongs to its inbox as long as that is kept, then to the inbox's name;
 * the client that comes back takes it with it.
 */
export class Wills {
  readonly #core: Core
  readonly #waiting = new Map<string, () => void>()

  constructor(core: Core) {
    this.#core = core
  }

  /** @throws Fault 'tooLarge', 'invalid' about 'topic' */
  encode({ message, after }: { message: Message; after: Ms }, bornHost: string): Will {
    checkMessage(this.#core, message)
    checkTopicName(message.topic)
    const placement = { queue: 0, offset: 0, place: 0, storedAt: this.#core.now() }
    return { record: encodeRecord(message, this.#core.settings.storeHost, placement, bornHost), after }
  }

  recovered(): void {
    const now = this.#core.clock.now()
    for (const [name, { record, client, fireAt }] of this.#core.state.wills)
      this.after(name, record, client, leftOf(fireAt - now))
  }

  /** While its inbox is kept. */
  later(inbox: InboxState, after: Ms): void {
    inbox.unfire?.()
    inbox.unfire = undefined
    const { will } = inbox
    if (!will) return
    const fire = () => {
      inbox.will = undefined
      this.fire(inbox.name, will.record, inbox.client)
    }
    if (after <= 0) fire()
    else inbox.unfire = this.#core.wheel.at(this.#core.clock.now() + after, fire)
  }

  cancel(inbox: InboxState): void {
    inbox.unfire?.()
    inbox.unfire = undefined
    inbox.will = undefined
  }

  /** Its inbox is gone. */
  after(name: string, record: Buffer, client: string, after: Ms): void {
    if (after <= 0) return this.fire(name, record, client)
    const fireAt: EpochMs = this.#core.clock.now() + after
    this.#core.state.wills.set(name, { record, client, fireAt })
    this.#waiting.get(name)?.()
    this.#waiting.set(
      name,
      this.#core.wheel.at(fireAt, () => this.fire(name, record, client)),
    )
  }

  /** The client is back under the same name: a session that goes on takes its will back, one that begins anew ended with it. */
  back(name: string, client: string, fresh: boolean): void {
    const waiting = this.#core.state.wills.get(name)
    if (!waiting) return
    if (fresh && waiting.client !== client) return this.fire(name, waiting.record, waiting.client)
    this.#forget(name)
    this.#core.log.append(writeWillDone(name))
  }

  /** The will and that it was fired are one entry. */
  fire(name: string, record: Buffer, client: string): void {
    const core = this.#core
    this.#forget(name)
    if (core.log.fault) return
    const message = viewRecord(record, core.settings.node)
    try {
      publishOne(core, again(message, lively(message, core.now())), undefined, { publisher: client, chained: true })
    } catch (error) {
      core.lines.warn('will.refused', { inbox: name, error: String(error) })
    }
    core.log.append(writeWillDone(name))
  }

  #forget(name: string): void {
    this.#waiting.get(name)?.()
    this.#waiting.delete(name)
    this.#core.state.wills.delete(name)
  }
}

const expiry = new Set([names.expiresAt])

/** Its properties, with a life that begins now and not when it was left with us [MQTT 5.0 section 3.1.3.2.4]. */
const lively = ({ packed, expiresAt, storedAt }: StoredRecord, now: EpochMs): Buffer =>
  expiresAt === undefined
    ? packed
    : editProperties(packed, expiry, { [names.expiresAt]: String(expiresAt + now - storedAt) })

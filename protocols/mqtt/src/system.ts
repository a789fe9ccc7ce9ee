import type { EpochMs, Gateway, Message, Ms, Session } from '@sluice/core'
import { Fault } from '@sluice/core'
import { writeExtras } from './extras.ts'
import { toPlace } from './topics.ts'

const ROOT = '$SYS'
const PATIENCE: Ms = 5_000

/** What the gateway counts of its MQTT clients. */
export class Tally {
  connected = 0
  /** Most at a time. */
  maximum = 0
  received = 0
  sent = 0

  joined(): void {
    this.maximum = Math.max(this.maximum, ++this.connected)
  }
  left(): void {
    this.connected--
  }
}

/** Topics of the gateway's own: not for clients to publish to. */
export const isOwn = (topic: string): boolean => topic === ROOT || topic.startsWith(`${ROOT}/`)

/**
 * `$SYS/broker/…`: retained messages about this gateway, from the moment that somebody has subscribed to one, then in
 * each period what has changed. Nobody asks, nothing is stored.
 */
export class SystemTopics {
  readonly #gateway: Gateway
  readonly #period: Ms
  readonly #tally: Tally
  readonly #since: EpochMs
  readonly #said = new Map<string, string>()
  #stop: (() => void) | undefined
  #looked = false

  /** `period` 0: nothing is ever told. */
  constructor(gateway: Gateway, period: Ms, tally: Tally) {
    this.#gateway = gateway
    this.#period = period
    this.#tally = tally
    this.#since = gateway.clock.now()
  }

  /** Somebody subscribes to this filter. */
  subscribed(filter: string): void {
    if (isOwn(filter)) this.#begin()
  }

  /** A session is back that may have subscribed long ago: then the topic is there. */
  resumed(): void {
    if (this.#looked || this.#period === 0) return
    this.#looked = true
    const { topic } = toPlace(ROOT)
    this.#gateway.handle({ kind: 'topic', topic }, this.#context()).then(
      ({ queues }) => queues > 0 && this.#begin(),
      () => undefined,
    )
  }

  close(): void {
    this.#stop?.()
    this.#stop = undefined
  }

  #begin(): void {
    if (this.#stop || this.#period === 0) return
    this.#stop = this.#gateway.clock.every(this.#period, () => void this.#tell())
    void this.#tell()
  }

  async #tell(): Promise<void> {
    const messages: Message[] = []
    for (const [name, value] of this.#values()) {
      if (this.#said.get(name) === value) continue
      this.#said.set(name, value)
      messages.push(this.#message(`${ROOT}/broker/${name}`, value))
    }
    try {
      await this.#gateway.handle({ kind: 'publish', messages, oneway: false }, this.#context())
    } catch (error) {
      this.#said.clear()
      this.#gateway.log.warn('sys.notTold', { protocol: 'mqtt', code: Fault.from(error).code })
    }
  }

  #values(): readonly (readonly [string, string])[] {
    const { connected, maximum, received, sent } = this.#tally
    const seconds = Math.floor((this.#gateway.clock.now() - this.#since) / 1000)
    return [
      ['uptime', `${seconds} seconds`],
      ['clients/connected', String(connected)],
      ['clients/maximum', String(maximum)],
      ['publish/messages/received', String(received)],
      ['publish/messages/sent', String(sent)],
    ]
  }

  #message(name: string, value: string): Message {
    const { topic, path } = toPlace(name)
    const original = writeExtras({ qos: 0 })
    return {
      topic,
      ...(path !== undefined && { path }),
      body: Buffer.from(value),
      properties: {},
      retain: true,
      via: 'mqtt',
      bornAt: this.#gateway.clock.now(),
      ...(original && { original }),
    }
  }

  #context() {
    return this.#gateway.context(self, PATIENCE)
  }
}

/** Who tells: no client of anybody's. */
const self: Session = {
  id: `mqtt/${ROOT}`,
  client: ROOT,
  principal: { name: ROOT, tenant: '', super: true },
  protocol: 'mqtt',
  language: '',
  version: 0,
  remoteAddress: '127.0.0.1:0',
  localAddress: '127.0.0.1:0',
  notify: async () => undefined,
}

import { type Client, type Driver, type Incoming, NotSupported, Refusal, type Wire } from '@sluice/testkit'
import type { IPublishPacket, Packet } from 'mqtt-packet'
import mqtt from '../src/index.ts'
import { clientCodec, connectPacket, type Version } from './client.ts'

const RECEIVE_MAXIMUM = 3

interface Waiting {
  readonly resolve: (code: number) => void
  readonly reject: (error: Error) => void
}

/** QoS 1 both ways; a group is a shared subscription. */
class MqttClient implements Client {
  readonly told = false
  readonly #wire: Wire
  readonly #version: Version
  readonly #acks = new Map<number, Waiting>()
  readonly #incoming: Incoming[] = []
  #next: ((incoming: Incoming) => void) | undefined
  #connack: ((error?: Error) => void) | undefined
  #ids = 0
  /** Publishes that the server allows without an answer. */
  #quota = 1
  #held: (() => void)[] = []
  #pings: (() => void)[] = []

  constructor(wire: Wire, version: Version) {
    this.#wire = wire
    this.#version = version
    const decoder = clientCodec(version).decoder()
    wire.socket.on('data', (chunk: Buffer) => decoder.decode(chunk, (packet) => this.#receive(packet)))
    void wire.closed.then(() => this.#fail(new Error('the connection ended')))
  }

  connect(clientId: string): Promise<void> {
    const properties = { receiveMaximum: RECEIVE_MAXIMUM }
    this.#send(connectPacket(this.#version, { clientId, ...(this.#version === 5 && { properties }) }))
    return new Promise((resolve, reject) => {
      this.#connack = (error) => (error ? reject(error) : resolve())
    })
  }

  get waiting(): number {
    return this.#incoming.length
  }

  async publish(topic: string, payload: Buffer): Promise<void> {
    if (this.#quota === 0) await new Promise<void>((resolve) => this.#held.push(resolve))
    else this.#quota--
    const messageId = ++this.#ids
    this.#send({ cmd: 'publish', topic, payload, qos: 1, dup: false, retain: false, messageId })
    const code = await this.#answer(messageId)
    const next = this.#held.shift()
    if (next) next()
    else this.#quota++
    if (code >= 0x80) throw new Refusal(`0x${code.toString(16)}`)
  }

  async subscribe(topic: string, group: string): Promise<void> {
    const messageId = ++this.#ids
    this.#send({ cmd: 'subscribe', messageId, subscriptions: [{ topic: `$share/${group}/${topic}`, qos: 1 }] })
    const code = await this.#answer(messageId)
    if (code >= 0x80) throw new Refusal(`0x${code.toString(16)}`)
  }

  next(): Promise<Incoming> {
    const here = this.#incoming.shift()
    return here ? Promise.resolve(here) : new Promise((resolve) => (this.#next = resolve))
  }

  settle({ handle }: Incoming, outcome: 'accept' | 'retry' | 'dead'): Promise<void> {
    if (outcome !== 'accept') return Promise.reject(new NotSupported(outcome))
    this.#send({ cmd: 'puback', messageId: handle as number, reasonCode: 0 })
    // The answer to a PINGREQ behind it says that it has been taken.
    this.#send({ cmd: 'pingreq' })
    return new Promise((resolve) => this.#pings.push(resolve))
  }

  close(): void {
    this.#send({ cmd: 'disconnect' })
    this.#wire.socket.end()
  }

  #send(packet: Packet): void {
    this.#wire.write(clientCodec(this.#version).encode(packet) as Buffer)
  }

  #answer(messageId: number): Promise<number> {
    return new Promise((resolve, reject) => this.#acks.set(messageId, { resolve, reject }))
  }

  #fail(error: Error): void {
    this.#connack?.(error)
    for (const { reject } of this.#acks.values()) reject(error)
    this.#acks.clear()
  }

  #receive(packet: Packet): void {
    switch (packet.cmd) {
      case 'connack':
        this.#quota = packet.properties?.receiveMaximum ?? 65_535
        this.#connack?.()
        this.#connack = undefined
        return
      case 'puback':
      case 'suback': {
        const code = packet.cmd === 'suback' ? (packet.granted[0] as number) : (packet.reasonCode ?? 0)
        this.#acks.get(packet.messageId!)?.resolve(code)
        this.#acks.delete(packet.messageId!)
        return
      }
      case 'pingresp':
        this.#pings.shift()?.()
        return
      case 'publish':
        return this.#message(packet)
      case 'disconnect':
        return this.#fail(new Refusal(`0x${(packet.reasonCode ?? 0).toString(16)}`))
      default:
        return
    }
  }

  #message({ payload, messageId }: IPublishPacket): void {
    const incoming: Incoming = { body: payload as Buffer, handle: messageId }
    const next = this.#next
    this.#next = undefined
    if (next) next(incoming)
    else this.#incoming.push(incoming)
  }
}

let clients = 0

export const driver = (version: Version): Driver => ({
  name: `MQTT ${version}`,
  protocol: () => mqtt(),
  async greet(wire) {
    const client = new MqttClient(wire, version)
    await client.connect(`driver-${++clients}`)
    return client
  },
  garbage: Buffer.from('GET / HTTP/1.1\r\n\r\n'),
  oversize(frameBytes) {
    const length = frameBytes + 1
    const bytes = [length & 0x7f, (length >> 7) & 0x7f, (length >> 14) & 0x7f, length >> 21]
    return Buffer.from([0x30, ...bytes.slice(0, 3).map((byte) => byte | 0x80), bytes[3]!])
  },
  declared: {
    retry: 'a subscriber has no word for "again"',
    dead: 'a subscriber has no word for "never"',
    told: 'a server says nothing before its DISCONNECT',
    ...(version === 4 && {
      refusal: 'MQTT 3.1.1 has no negative acknowledgement',
      credit: 'MQTT 3.1.1 has no receive maximum',
    }),
  },
})

import { systemClock } from '@sluice/core'
import { type Client, type Driver, type Incoming, NotSupported, Refusal, type Wire } from '@sluice/testkit'
import grpc from '../src/index.ts'
import { asking, message, type Reply } from './harness.ts'
import { frame, RawClient } from './raw.ts'

const OK = 20_000
let clients = 0

const check = (status: Reply): void => {
  if (status.code !== OK) throw new Refusal(`${status.code} ${status.message}`)
}

/** A simple consumer and a producer on one connection; credit is what it leaves room for when it polls. */
class GrpcClient implements Client {
  readonly #raw: RawClient
  readonly #incoming: Incoming[] = []
  readonly #waiting: ((incoming: Incoming) => void)[] = []
  readonly #wire: Wire
  #poll: (() => void) | undefined
  #group = ''
  #topic = ''
  #credit = 0
  #held = 0

  constructor(wire: Wire) {
    this.#wire = wire
    this.#raw = new RawClient(wire.socket, `driver-${++clients}`)
  }

  async greet(): Promise<Client> {
    check((await this.#raw.call('Heartbeat', { client_type: 'PRODUCER' })).status)
    return this
  }

  get waiting(): number {
    return this.#incoming.length
  }

  get told(): boolean {
    return this.#raw.goaways.length > 0
  }

  async publish(topic: string, body: Buffer): Promise<void> {
    check((await this.#raw.call('SendMessage', { messages: [message(topic, body)] })).status)
  }

  async subscribe(topic: string, group: string, credit: number): Promise<void> {
    this.#topic = topic
    this.#group = group
    this.#credit = credit
    check((await this.#raw.call('Heartbeat', { client_type: 'SIMPLE_CONSUMER', group: { name: group } })).status)
    void this.#loop().catch(() => undefined)
  }

  next(): Promise<Incoming> {
    const here = this.#incoming.shift()
    return here ? Promise.resolve(here) : new Promise((resolve) => this.#waiting.push(resolve))
  }

  async settle({ handle }: Incoming, outcome: 'accept' | 'retry' | 'dead'): Promise<void> {
    const common = { group: { name: this.#group }, topic: { name: this.#topic }, receipt_handle: handle }
    const reply = await {
      accept: () => this.#raw.call('AckMessage', { ...common, entries: [{ receipt_handle: handle }] }),
      retry: () => this.#raw.call('ChangeInvisibleDuration', { ...common, invisible_duration: { nanos: 1_000_000 } }),
      dead: () => this.#raw.call('ForwardMessageToDeadLetterQueue', common),
    }[outcome]()
    check(reply.status)
    this.#held--
    this.#poll?.()
  }

  close(): void {
    this.#wire.socket.end()
  }

  async #loop(): Promise<void> {
    for (;;) {
      if (this.told) throw new NotSupported('polling on')
      const room = Math.min(32, this.#credit - this.#held)
      if (room > 0) await this.#receive(room)
      else {
        await new Promise<void>((resolve) => {
          this.#poll = resolve
        })
      }
    }
  }

  async #receive(room: number): Promise<void> {
    const parts = await this.#raw.ask('ReceiveMessage', asking(this.#topic, this.#group, { batch_size: room })).answer
    for (const { message: one } of parts) {
      if (!one) continue
      this.#held++
      const incoming = { body: one.body, handle: one.system_properties.receipt_handle }
      const next = this.#waiting.shift()
      if (next) next(incoming)
      else this.#incoming.push(incoming)
    }
  }
}

export const driver: Driver = {
  name: 'grpc',
  protocol: grpc,
  greet: (wire) => new GrpcClient(wire).greet(),
  garbage: Buffer.from('this is no HTTP/2 at all, and never will be\r\n\r\n'),
  oversize: (frameBytes) => {
    const head = frame('DATA', 0, 1)
    head.writeUIntBE(frameBytes + 1, 0, 3)
    return Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame('SETTINGS', 0, 0), head])
  },
  clock: systemClock,
  settleMs: 60,
  declared: {
    held: 'leases belong to the client and not to its connection: another gateway may take the acknowledgement',
  },
}

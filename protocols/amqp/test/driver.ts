import { type Client as ContractClient, type Driver, type Incoming, Refusal, type Wire } from '@sluice/testkit'
import { AMQP, ourHeader } from '../src/codec.ts'
import amqp from '../src/index.ts'
import { readMessage } from '../src/message.ts'
import type { CompositeOf } from '../src/shapes.ts'
import { Client, message } from './client.ts'

interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** A minimal client for the contract suite: one sender a topic, one receiver. */
class ContractAmqp implements ContractClient {
  readonly told = false
  readonly #client: Client
  readonly #senders = new Map<string, { readonly handle: number; credit: number }>()
  readonly #receivers = new Map<number, { limit: number; readonly credit: number; count: number }>()
  readonly #publishing = new Map<number, Waiting>()
  readonly #attaching = new Map<number, Waiting>()
  readonly #settling = new Map<number, () => void>()
  readonly #incoming: Incoming[] = []
  #creditCame: (() => void)[] = []
  #next: { resolve: (incoming: Incoming) => void; reject: (error: Error) => void } | undefined
  #handles = 0
  #deliveries = 0
  #received = 0

  constructor(client: Client) {
    this.#client = client
    void this.#read()
  }

  get waiting(): number {
    return this.#incoming.length
  }

  async publish(topic: string, body: Buffer): Promise<void> {
    let sender = this.#senders.get(topic)
    if (!sender) {
      sender = { handle: this.#handles++, credit: 0 }
      this.#senders.set(topic, sender)
      const { handle } = sender
      const target = { type: 'target', address: topic } as const
      this.#client.send({ type: 'attach', name: `s-${topic}`, handle, role: false, initialDeliveryCount: 0, target })
    }
    while (sender.credit === 0) await new Promise<void>((resolve) => this.#creditCame.push(resolve))
    sender.credit--
    const id = this.#deliveries++
    this.#client.transfer(id, message(body), { handle: sender.handle })
    return new Promise((resolve, reject) => this.#publishing.set(id, { resolve, reject }))
  }

  subscribe(topic: string, group: string, credit: number): Promise<void> {
    const handle = this.#handles++
    this.#receivers.set(handle, { limit: credit, credit, count: 0 })
    const source = { type: 'source', address: `${topic}::${group}` } as const
    this.#client.send({ type: 'attach', name: `r-${topic}-${group}`, handle, role: true, source })
    return new Promise((resolve, reject) => this.#attaching.set(handle, { resolve, reject }))
  }

  next(): Promise<Incoming> {
    const here = this.#incoming.shift()
    return here ? Promise.resolve(here) : new Promise((resolve, reject) => (this.#next = { resolve, reject }))
  }

  settle({ handle }: Incoming, outcome: 'accept' | 'retry' | 'dead'): Promise<void> {
    const { id, link } = handle as { id: number; link: number }
    const state = (
      {
        accept: { type: 'accepted' },
        retry: { type: 'modified', deliveryFailed: true },
        dead: { type: 'rejected' },
      } as const
    )[outcome]
    this.#client.send({ type: 'disposition', role: true, first: id, settled: false, state })
    return new Promise((resolve) =>
      this.#settling.set(id, () => {
        const receiver = this.#receivers.get(link)!
        receiver.limit++
        this.#grant(link)
        resolve()
      }),
    )
  }

  close(): void {
    this.#client.send({ type: 'close' })
  }

  async #read(): Promise<void> {
    try {
      for (;;) {
        const frame = await this.#client.frames.next()
        if (frame.kind === 'amqp' && frame.body) this.#frame(frame.body, (frame.payload as Buffer) ?? Buffer.alloc(0))
      }
    } catch {
      const gone = new Error('the connection ended')
      for (const { reject } of [...this.#publishing.values(), ...this.#attaching.values()]) reject(gone)
      this.#next?.reject(gone)
    }
  }

  #frame(body: { readonly type: string }, payload: Buffer): void {
    switch (body.type) {
      case 'attach': {
        const { name, role } = body as CompositeOf<'attach'>
        if (role) return
        const handle = [...this.#receivers.keys()].find((one) => this.#attaching.has(one))!
        void name
        this.#attaching.get(handle)?.resolve()
        this.#attaching.delete(handle)
        return this.#grant(handle)
      }
      case 'flow':
        return this.#flow(body as CompositeOf<'flow'>)
      case 'transfer':
        return this.#transfer(body as CompositeOf<'transfer'>, payload)
      case 'disposition':
        return this.#disposition(body as CompositeOf<'disposition'>)
      case 'close':
        this.#client.wire.socket.end()
    }
  }

  #flow({ handle, linkCredit = 0, deliveryCount = 0 }: CompositeOf<'flow'>): void {
    // The server takes the lowest free handles, as this client does.
    for (const sender of this.#senders.values()) {
      if (sender.handle === handle) sender.credit = deliveryCount + linkCredit - this.#deliveries
    }
    for (const resolve of this.#creditCame.splice(0)) resolve()
  }

  #transfer({ handle, deliveryId }: CompositeOf<'transfer'>, payload: Buffer): void {
    const { body } = readMessage(payload)
    const bytes = body.kind === 'data' ? payload.subarray(body.cuts[0], body.cuts[1]) : Buffer.alloc(0)
    this.#received++
    const receiver = this.#receivers.get(handle)
    if (receiver) receiver.count++
    const incoming = { body: bytes, handle: { id: deliveryId, link: handle } }
    if (this.#next) {
      this.#next.resolve(incoming)
      this.#next = undefined
    } else this.#incoming.push(incoming)
  }

  #disposition({ role, first, last = first, state }: CompositeOf<'disposition'>): void {
    for (let id = first; id <= last; id++) {
      if (!role) {
        this.#settling.get(id)?.()
        continue
      }
      const publishing = this.#publishing.get(id)
      this.#publishing.delete(id)
      if (state?.type === 'accepted') publishing?.resolve()
      else publishing?.reject(new Refusal(state?.type ?? 'nothing'))
    }
  }

  #grant(handle: number): void {
    const { limit, count } = this.#receivers.get(handle)!
    this.#client.flow({
      handle,
      nextIncomingId: this.#received,
      incomingWindow: 100_000,
      deliveryCount: count,
      linkCredit: limit - count,
    })
  }
}

export const amqpDriver: Driver = {
  name: 'amqp',
  protocol: () => amqp(),
  async greet(wire: Wire) {
    const client = new Client(wire)
    client.frames.send(ourHeader(AMQP))
    client.send({ type: 'open', containerId: 'contract' })
    client.begin({ incomingWindow: 100_000 })
    await client.frames.next()
    await client.next('open')
    await client.next('begin')
    return new ContractAmqp(client)
  },
  garbage: Buffer.from('ff00fe0aff00fe0a', 'hex'),
  oversize: () => Buffer.from('00100001020000000053', 'hex'),
  declared: { told: 'AMQP has no word for it; links that attach are refused' },
}

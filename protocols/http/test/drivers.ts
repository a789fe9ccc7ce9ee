import { type Client, type Driver, type Incoming, NotSupported, Refusal, type Wire } from '@sluice/testkit'
import http from '../src/index.ts'
import { type Answer, EventClient, HttpClient, json } from './client.ts'

const refused = (answer: Answer): Answer => {
  if (answer.status >= 300) throw new Refusal(String(json(answer).code))
  return answer
}

const publishing = (client: HttpClient) => async (topic: string, body: Buffer) => {
  refused(await client.post(`/v1/topics/${topic}/messages`, body, { 'content-type': 'application/octet-stream' }))
}

interface Received {
  readonly body: string
  readonly encoding: BufferEncoding
  readonly receiptHandle: string
}

/** Asks for each message: receive, then ack, nack or dead. */
class Poller implements Client {
  readonly waiting = 0
  readonly publish: Client['publish']
  readonly #client: HttpClient
  #at = ''

  constructor(wire: Wire) {
    this.#client = new HttpClient(wire)
    this.publish = publishing(this.#client)
  }

  get told(): boolean {
    return this.#client.told
  }

  async subscribe(topic: string, group: string): Promise<void> {
    this.#at = `/v1/topics/${topic}/groups/${group}/messages`
  }

  async next(): Promise<Incoming> {
    const answer = refused(await this.#client.post(`${this.#at}:receive`, { waitMs: 30_000, ordered: true }))
    const [message] = json<{ messages: Received[] }>(answer).messages
    if (!message) throw new Error('the poll ended')
    return { body: Buffer.from(message.body, message.encoding), handle: message.receiptHandle }
  }

  async settle({ handle }: Incoming, outcome: 'accept' | 'retry' | 'dead'): Promise<void> {
    const verb = { accept: 'ack', retry: 'nack', dead: 'dead' }[outcome]
    const answer = refused(await this.#client.post(`${this.#at}:${verb}`, { receiptHandles: [handle] }))
    const [result] = json<{ results: { status: number; code?: string }[] }>(answer).results
    if (result?.status !== 200) throw new Refusal(String(result?.code))
  }

  close(): void {
    this.#client.wire.socket.end()
  }
}

/** Server-sent events, acknowledged by their writing. */
class Listener implements Client {
  readonly publish: Client['publish']
  readonly #client: HttpClient
  #events: EventClient | undefined

  constructor(wire: Wire) {
    this.#client = new HttpClient(wire)
    this.publish = publishing(this.#client)
  }

  get waiting(): number {
    return this.#events?.here.filter(({ event }) => event === 'message').length ?? 0
  }

  get told(): boolean {
    return this.#client.told
  }

  async subscribe(topic: string, group: string): Promise<void> {
    const head = `GET /v1/topics/${topic}/groups/${group}/stream?ordered=true HTTP/1.1\r\nhost: localhost\r\n\r\n`
    this.#client.wire.write(Buffer.from(head))
    const { status } = await this.#client.head()
    if (status !== 200) throw new Refusal(String(status))
    this.#events = new EventClient(this.#client)
  }

  async next(): Promise<Incoming> {
    for (;;) {
      const event = await this.#events?.next()
      if (!event) throw new Error('the stream ended')
      if (event.event !== 'message') continue
      const { body, encoding } = JSON.parse(event.data ?? '') as Received
      return { body: Buffer.from(body, encoding), handle: undefined }
    }
  }

  async settle(_: Incoming, outcome: 'accept' | 'retry' | 'dead'): Promise<void> {
    if (outcome !== 'accept') throw new NotSupported(outcome)
  }

  close(): void {
    this.#client.wire.socket.end()
  }
}

const common = {
  protocol: () => http(),
  garbage: Buffer.from('GET / HTTP/1.1\r\nno colon here\r\n\r\n'),
  oversize: (bytes: number) =>
    Buffer.from(
      `POST /v1/topics/orders/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${bytes + 1}\r\n\r\nand so on`,
    ),
  settleMs: 20,
}

export const polls: Driver = {
  name: 'http',
  ...common,
  greet: async (wire) => new Poller(wire),
  declared: {
    credit: 'nothing comes that was not asked for',
    told: 'the next answer says Connection: close; an idle client hears nothing',
    held: 'receipts belong to the client, on any connection, until their invisible time is over',
  },
}

export const streams: Driver = {
  name: 'http streams',
  ...common,
  greet: async (wire) => new Listener(wire),
  declared: {
    retry: 'an event is acknowledged by its writing',
    dead: 'an event is acknowledged by its writing',
    credit: 'the socket is the credit',
    told: 'the next answer says Connection: close; an idle client hears nothing',
    held: 'an event is acknowledged by its writing',
  },
}

import type { Protocol } from '@sluice/core'
import { type Client, type Driver, type Incoming, Refusal, type Wire } from '@sluice/testkit'

interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** A client of the lines protocol. */
export class LineClient implements Client {
  told = false
  readonly #wire: Wire
  readonly #requests = new Map<string, Waiting[]>()
  readonly #incoming: Incoming[] = []
  #next: ((incoming: Incoming) => void) | undefined
  #fail: ((error: Error) => void) | undefined
  #ids = 0
  #partial = ''

  constructor(wire: Wire) {
    this.#wire = wire
    wire.socket.on('data', (chunk: Buffer) => {
      const lines = (this.#partial + chunk.toString('latin1')).split('\n')
      this.#partial = lines.pop()!
      for (const line of lines) this.#line(line)
    })
    void wire.closed.then(() => {
      for (const { reject } of [...this.#requests.values()].flat()) reject(new Error('the connection ended'))
      this.#fail?.(new Error('the connection ended'))
    })
  }

  get waiting(): number {
    return this.#incoming.length
  }

  publish(topic: string, body: Buffer): Promise<void> {
    const text = [...body].map((byte) =>
      byte < 0x21 || byte > 0x7e || byte === 0x25
        ? `%${byte.toString(16).padStart(2, '0')}`
        : String.fromCharCode(byte),
    )
    return this.#ask('PUB', `p${++this.#ids}`, `${topic} ${text.join('')}`)
  }

  subscribe(topic: string, group: string, credit: number): Promise<void> {
    return this.#ask('SUB', `s${++this.#ids}`, `${topic} ${group} ${credit}`)
  }

  next(): Promise<Incoming> {
    const here = this.#incoming.shift()
    return here
      ? Promise.resolve(here)
      : new Promise((resolve, reject) => ([this.#next, this.#fail] = [resolve, reject]))
  }

  settle({ handle }: Incoming, outcome: 'accept' | 'retry' | 'dead'): Promise<void> {
    return this.#ask({ accept: 'ACK', retry: 'RETRY', dead: 'DEAD' }[outcome], String(handle), '')
  }

  close(): void {
    this.#wire.socket.end()
  }

  #ask(verb: string, id: string, rest: string): Promise<void> {
    this.#wire.write(Buffer.from(`${verb} ${id}${rest === '' ? '' : ` ${rest}`}\n`, 'latin1'))
    return new Promise((resolve, reject) => {
      const waiting = this.#requests.get(id) ?? []
      waiting.push({ resolve, reject })
      this.#requests.set(id, waiting)
    })
  }

  #line(line: string): void {
    const [verb, id = '', ...rest] = line.split(' ')
    if (verb === 'BYE') this.told = true
    else if (verb === 'MSG') this.#message(id, rest.slice(1).join(' '))
    else {
      const waiting = this.#requests.get(id)?.shift()
      if (verb === 'OK') waiting?.resolve()
      else waiting?.reject(new Refusal(rest.join(' ')))
    }
  }

  #message(handle: string, text: string): void {
    const body = Buffer.from(unescaped(text), 'latin1')
    const incoming = { body, handle }
    if (this.#next) {
      this.#next(incoming)
      this.#next = undefined
    } else this.#incoming.push(incoming)
  }
}

const unescaped = (text: string): string =>
  text.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))

/** For the contract suite, and for tests that talk to a server over a socket. */
export const lineDriver = (protocol: () => Protocol): Driver => ({
  name: 'lines',
  protocol,
  greet: async (wire) => new LineClient(wire),
  garbage: Buffer.from('ff00fe0a', 'hex'),
  oversize: (frameBytes) => Buffer.from(`PUB 1 orders ${'x'.repeat(frameBytes)}`),
})

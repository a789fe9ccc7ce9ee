import type { Wire } from '@sluice/testkit'

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

export const json = <T = Record<string, unknown>>(answer: Answer): T => JSON.parse(answer.body.toString('utf8')) as T

/** A client of HTTP/1.1 over bytes: pipelining, and nothing that it would hide. */
export class HttpClient {
  readonly wire: Wire
  told = false
  #last: Promise<unknown> = Promise.resolve()

  constructor(wire: Wire) {
    this.wire = wire
  }

  /** Answers come in the order of the requests. */
  request(method: string, path: string, headers: Record<string, string> = {}, body?: Buffer | string): Promise<Answer> {
    const bytes = body === undefined ? undefined : Buffer.from(body)
    const lines = Object.entries({
      host: 'localhost',
      ...headers,
      ...(bytes && { 'content-length': String(bytes.length) }),
    }).map(([name, value]) => `${name}: ${value}\r\n`)
    this.wire.write(Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1'))
    if (bytes) this.wire.write(bytes)
    const answer = this.#last.then(() => this.#answer())
    this.#last = answer.catch(() => undefined)
    return answer
  }

  post(path: string, body: object | Buffer | string, headers: Record<string, string> = {}): Promise<Answer> {
    const plain = typeof body === 'string' || Buffer.isBuffer(body)
    return this.request('POST', path, headers, plain ? body : JSON.stringify(body))
  }

  /** Only the head of an answer: a stream follows. */
  async head(): Promise<Omit<Answer, 'body'>> {
    const end = await this.wire.until((unread) => headEnd(unread), 'the head of an answer')
    const [first = '', ...lines] = this.wire.taken(end).toString('latin1').trim().split('\r\n')
    const headers = Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
    )
    if (headers.connection === 'close') this.told = true
    return { status: Number(first.split(' ')[1]), headers }
  }

  async #answer(): Promise<Answer> {
    const head = await this.head()
    if (head.status === 100) return this.#answer()
    if (head.headers['transfer-encoding'] !== 'chunked') {
      return { ...head, body: await this.wire.take(Number(head.headers['content-length'] ?? 0)) }
    }
    const parts: Buffer[] = []
    for (let part = await this.chunk(); part; part = await this.chunk()) parts.push(part)
    return { ...head, body: Buffer.concat(parts) }
  }

  /** The next chunk; undefined after the last. */
  async chunk(): Promise<Buffer | undefined> {
    const end = await this.wire.until((unread) => lineEnd(unread), 'a chunk')
    const length = Number.parseInt(this.wire.taken(end).toString('latin1'), 16)
    const bytes = await this.wire.take(length + 2)
    return length === 0 ? undefined : bytes.subarray(0, length)
  }
}

export interface Event {
  readonly event?: string
  readonly id?: string
  readonly data?: string
  readonly retry?: string
}

/** Server-sent events out of the chunks that follow the head of an answer. */
export class EventClient {
  readonly client: HttpClient
  readonly here: Event[] = []
  comments = 0
  over = false
  #text = ''
  #wake: (() => void)[] = []

  constructor(client: HttpClient) {
    this.client = client
    void this.#read()
  }

  /** The next event; undefined at the end of the stream. */
  async next(): Promise<Event | undefined> {
    while (this.here.length === 0 && !this.over) await new Promise<void>((resolve) => this.#wake.push(resolve))
    return this.here.shift()
  }

  async #read(): Promise<void> {
    try {
      for (let part = await this.client.chunk(); part; part = await this.client.chunk()) this.#take(part.toString())
    } catch {
      // the test sees the end
    }
    this.over = true
    for (const wake of this.#wake.splice(0)) wake()
  }

  #take(text: string): void {
    this.#text += text
    for (let end = this.#text.indexOf('\n\n'); end >= 0; end = this.#text.indexOf('\n\n')) {
      const block = this.#text.slice(0, end)
      this.#text = this.#text.slice(end + 2)
      if (block.startsWith(':')) this.comments++
      else
        this.here.push(Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2))) as Event)
    }
    for (const wake of this.#wake.splice(0)) wake()
  }
}

const headEnd = (unread: Buffer): number | undefined => {
  const at = unread.indexOf('\r\n\r\n')
  return at < 0 ? undefined : at + 4
}
const lineEnd = (unread: Buffer): number | undefined => {
  const at = unread.indexOf('\r\n')
  return at < 0 ? undefined : at + 2
}

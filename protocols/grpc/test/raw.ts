import type { Duplex } from 'node:stream'
import { type Reply, service } from './harness.ts'

export interface Frame {
  readonly type: string
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

const types = ['DATA', 'HEADERS', 'PRIORITY', 'RST_STREAM', 'SETTINGS', 'PUSH', 'PING', 'GOAWAY', 'WINDOW', 'CONT']
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

export const frame = (type: string, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer => {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = types.indexOf(type)
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** Literal without indexing, a new name: the simplest thing HPACK has. */
const literal = (name: string, value: string): Buffer =>
  Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)])

const headersOf = (rpc: string, client: string): Buffer => {
  const path = service[rpc]!.path
  return Buffer.concat([
    Buffer.from([0x83, 0x86, 0x01, 0x01, 0x68, 0x04, path.length]),
    Buffer.from(path),
    literal('content-type', 'application/grpc'),
    literal('te', 'trailers'),
    literal('x-mq-client-id', client),
  ])
}

/** Compressed flag and length, before each message. */
const PREFIX = 5

interface Open {
  readonly rpc: string
  parts: Buffer[]
  held: number
  /** Bytes of the next message with its prefix; undefined while that has not come. */
  wanted: number | undefined
  readonly replies: Reply[]
  settle: ((ended: 'whole' | 'reset' | 'lost') => void) | undefined
}

/** A client that speaks HTTP/2 frame by frame, obeys no GOAWAY and sees everything. */
export class RawClient {
  readonly frames: Frame[] = []
  readonly client: string
  readonly #socket: Duplex
  readonly #open = new Map<number, Open>()
  #unread: Buffer = Buffer.alloc(0)
  #streams = -1
  /** Whether windows are given back: a reader that does not read gives none. */
  reads = true
  answersPings = true
  onFrame: ((frame: Frame) => void) | undefined

  constructor(socket: Duplex, client = 'raw') {
    this.#socket = socket
    this.client = client
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => this.#take(chunk))
    socket.on('close', () => {
      for (const { settle } of this.#open.values()) settle?.('lost')
      this.#open.clear()
    })
    socket.write(Buffer.concat([PREFACE, frame('SETTINGS', 0, 0)]))
  }

  get goaways(): readonly { readonly last: number; readonly code: number }[] {
    return this.frames
      .filter(({ type }) => type === 'GOAWAY')
      .map(({ payload }) => ({ last: payload.readUInt32BE(0), code: payload.readUInt32BE(4) }))
  }

  write(bytes: Buffer): void {
    if (!this.#socket.destroyed) this.#socket.write(bytes)
  }

  /** A stream with its request; `half`: the request is not ended. */
  ask(rpc: string, request: object, half = false): { readonly id: number; readonly answer: Promise<Reply[]> } {
    const body = service[rpc]!.requestSerialize(request)
    const prefix = Buffer.alloc(5)
    prefix.writeUInt32BE(body.length, 1)
    const message = Buffer.concat([prefix, body])
    const id = (this.#streams += 2)
    const parts = [frame('HEADERS', 4, id, headersOf(rpc, this.client))]
    for (let at = 0; at < message.length || at === 0; at += 16_384) {
      const last = at + 16_384 >= message.length
      parts.push(frame('DATA', last && !half ? 1 : 0, id, message.subarray(at, at + 16_384)))
    }
    const answer = new Promise<Reply[]>((resolve, reject) => {
      const open: Open = { rpc, parts: [], held: 0, wanted: undefined, replies: [], settle: undefined }
      open.settle = (ended) => (ended === 'whole' ? resolve(open.replies) : reject(new Error(`stream ${id} ${ended}`)))
      this.#open.set(id, open)
    })
    answer.catch(() => undefined)
    this.write(Buffer.concat(parts))
    return { id, answer }
  }

  /** Gives a stream up, with CANCEL. */
  reset(id: number): void {
    this.#open.delete(id)
    this.write(frame('RST_STREAM', 0, id, Buffer.from([0, 0, 0, 8])))
  }

  async call(rpc: string, request: object): Promise<Reply> {
    return (await this.ask(rpc, request).answer)[0]
  }

  replies(id: number): readonly Reply[] {
    return this.#open.get(id)?.replies ?? []
  }

  #take(chunk: Buffer): void {
    this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk])
    while (this.#unread.length >= 9) {
      const length = this.#unread.readUIntBE(0, 3)
      if (this.#unread.length < 9 + length) return
      const one: Frame = {
        type: types[this.#unread[3]!] ?? '?',
        flags: this.#unread[4]!,
        stream: this.#unread.readUInt32BE(5) & 0x7fffffff,
        payload: this.#unread.subarray(9, 9 + length),
      }
      this.#unread = this.#unread.subarray(9 + length)
      this.frames.push(one)
      this.#handle(one)
      this.onFrame?.(one)
    }
  }

  #handle({ type, flags, stream, payload }: Frame): void {
    if (type === 'SETTINGS' && !(flags & 1)) this.write(frame('SETTINGS', 1, 0))
    if (type === 'PING' && !(flags & 1) && this.answersPings) this.write(frame('PING', 1, 0, payload))
    const open = this.#open.get(stream)
    if (type === 'DATA' && this.reads && payload.length > 0) this.#giveWindow(stream, payload.length)
    if (!open) return
    if (type === 'DATA') this.#messages(open, payload)
    if (type === 'RST_STREAM') this.#settle(stream, open, 'reset')
    if ((type === 'DATA' || type === 'HEADERS') && flags & 1) this.#settle(stream, open, 'whole')
  }

  #settle(stream: number, open: Open, ended: 'whole' | 'reset'): void {
    this.#open.delete(stream)
    open.settle?.(ended)
  }

  #giveWindow(stream: number, bytes: number): void {
    const by = Buffer.alloc(4)
    by.writeUInt32BE(bytes)
    this.write(Buffer.concat([frame('WINDOW', 0, 0, by), frame('WINDOW', 0, stream, by)]))
  }

  /** Bytes are joined once a message is whole: a large one comes in hundreds of frames. */
  #messages(open: Open, payload: Buffer): void {
    open.parts.push(payload)
    open.held += payload.length
    while (open.held >= (open.wanted ?? PREFIX)) {
      const bytes = open.parts.length === 1 ? open.parts[0]! : Buffer.concat(open.parts)
      open.parts = [bytes]
      if (open.wanted === undefined) {
        open.wanted = PREFIX + bytes.readUInt32BE(1)
        continue
      }
      open.replies.push(service[open.rpc]!.responseDeserialize(bytes.subarray(PREFIX, open.wanted)))
      open.parts = [bytes.subarray(open.wanted)]
      open.held -= open.wanted
      open.wanted = undefined
    }
  }
}

import { type Codec, type Decoder, Fault, type Limits } from '@sluice/core'
import { readComposite, writeComposite } from './performatives.ts'
import type { CompositeName, Performative, SaslPerformative } from './shapes.ts'
import { Reader } from './types/reader.ts'
import { Writer } from './types/writer.ts'

/** What stands in the fifth byte of a protocol header. */
export const AMQP = 0
export const TLS = 2
export const SASL = 3

export type Frame =
  | { readonly kind: 'header'; readonly id: number; readonly version: string }
  | { readonly kind: 'sasl'; readonly body: SaslPerformative }
  /** Without a body: a heartbeat. */
  | { readonly kind: 'amqp'; readonly channel: number; readonly body?: Performative; readonly payload?: Payload }
/** What follows a transfer in its frame; several buffers only on the way out. */
export type Payload = Buffer | readonly Buffer[]

/** Before `open` has said otherwise, and of every SASL frame. [2.4.5, 5.3.1] */
export const MIN_MAX_FRAME_SIZE = 512
/** The largest frame that we take. */
export const MAX_FRAME_SIZE = 65_536

export const ourHeader = (id: number): Frame => ({ kind: 'header', id, version: '1.0.0' })

/** Whether these first bytes are AMQP, of any version: those that are not 1.0 are told what is spoken here. */
export const detect = (head: Buffer): boolean | undefined => {
  const length = Math.min(head.length, 4)
  if (head.toString('latin1', 0, length) !== 'AMQP'.slice(0, length)) return false
  return head.length < 4 ? undefined : true
}

/**
 * header = "AMQP" id u8 · major u8 · minor u8 · revision u8
 * frame  = size u32 · doff u8 (in words of 4 bytes, 2 at least) · type u8 (0 AMQP, 1 SASL) · channel u16
 *          · extended header (doff * 4 - 8 bytes, ignored) · performative · payload
 * `size` counts itself. Source: AMQP 1.0 part 2, sections 2.2 and 2.3.
 */
export const amqpCodec = (limits: Limits): Codec<Frame> => ({
  decoder: () => new FrameDecoder(Math.min(MAX_FRAME_SIZE, limits.frameBytes)),
  encode,
})

const framing = (message: string): Fault => new Fault('malformed', message, { about: 'frame' })
const MAGIC = 0x414d5150

/** A frame that comes byte by byte is put together now and then, so that it costs little more than its bytes. */
const PARTS_MAX = 256

/** What may come next. A frame of size "AMQP" would be larger than any limit, so a header is never taken for one. */
type Expect = 'header' | 'sasl' | 'open' | 'frames'

class FrameDecoder implements Decoder<Frame> {
  readonly #max: number
  #expect: Expect = 'header'
  #parts: Buffer[] = []
  buffered = 0

  constructor(max: number) {
    this.#max = max
  }

  decode(chunk: Buffer, emit: (frame: Frame) => void): void {
    let bytes = chunk
    if (this.buffered > 0) {
      // Only when the frame's size is known and has come are the parts put together.
      this.#parts.push(chunk)
      this.buffered += chunk.length
      if (this.buffered < this.#wanted()) return
      bytes = Buffer.concat(this.#parts, this.buffered)
    }
    let at = 0
    for (;;) {
      const size = this.#size(bytes, at)
      if (size === undefined || size > bytes.length - at) break
      emit(this.#frame(bytes, at, at + size))
      at += size
    }
    this.buffered = bytes.length - at
    this.#parts = this.buffered > 0 ? [bytes.subarray(at)] : []
  }

  /** How many bytes it takes until there is something to look at. */
  #wanted(): number {
    const head = this.#parts[0] as Buffer
    // The first part grows until it says its size; from then on parts are only collected.
    if (head.length < 8) {
      this.#parts = [Buffer.concat(this.#parts, this.buffered)]
      return this.#size(this.#parts[0] as Buffer, 0) ?? 8
    }
    if (this.#parts.length > PARTS_MAX) this.#parts = [Buffer.concat(this.#parts, this.buffered)]
    return this.#size(head, 0) as number
  }

  /**
   * Bytes of the frame or header that begins here; undefined: too few to say. Refuses as soon as it can be known.
   * @throws Fault 'malformed' or 'tooLarge' about 'frame'
   */
  #size(bytes: Buffer, at: number): number | undefined {
    const there = bytes.length - at
    if (this.#expect === 'header') {
      if (detect(at === 0 ? bytes : bytes.subarray(at)) === false) throw framing('not an AMQP protocol header')
      return there < 8 ? undefined : 8
    }
    if (there < 4) return undefined
    const size = bytes.readUInt32BE(at)
    if (size === MAGIC && this.#expect === 'sasl') return there < 8 ? undefined : 8
    const max = this.#expect === 'frames' ? this.#max : MIN_MAX_FRAME_SIZE
    if (size < 8) throw framing(`a frame of ${size} bytes`)
    if (size > max) throw new Fault('tooLarge', `a frame of ${size} bytes where ${max} are allowed`, { about: 'frame' })
    if (there < 8) return undefined
    const doff = bytes[at + 4] as number
    if (doff < 2 || doff * 4 > size) throw framing(`data offset ${doff} in a frame of ${size} bytes`)
    const type = bytes[at + 5] as number
    if (type !== (this.#expect === 'sasl' ? 1 : 0)) throw framing(`a frame of type ${type} is not expected here`)
    return size
  }

  #frame(bytes: Buffer, at: number, end: number): Frame {
    if (this.#expect === 'header' || bytes.readUInt32BE(at) === MAGIC) return this.#header(bytes, at)
    const from = at + bytes[at + 4]! * 4
    if (this.#expect === 'sasl') {
      const reader = new Reader(bytes, from, end)
      const body = readComposite(reader) as SaslPerformative
      if (!saslBodies.has(body.type)) throw framing(`${body.type} in a SASL frame`)
      if (!reader.done) throw framing('bytes after a SASL frame')
      return { kind: 'sasl', body }
    }
    const channel = bytes.readUInt16BE(at + 6)
    if (from === end) return { kind: 'amqp', channel }
    const reader = new Reader(bytes, from, end)
    const body = readComposite(reader) as Performative
    if (!amqpBodies.has(body.type)) throw framing(`${body.type} as a frame body`)
    if (body.type === 'open') this.#expect = 'frames'
    if (body.type === 'transfer') return { kind: 'amqp', channel, body, payload: bytes.subarray(reader.at, end) }
    if (!reader.done) throw framing(`bytes after ${body.type}`)
    return { kind: 'amqp', channel, body }
  }

  #header(bytes: Buffer, at: number): Frame {
    const id = bytes[at + 4] as number
    const version = `${bytes[at + 5]}.${bytes[at + 6]}.${bytes[at + 7]}`
    this.#expect = id === SASL ? 'sasl' : 'open'
    return { kind: 'header', id, version }
  }
}

const amqpBodies: ReadonlySet<CompositeName> = new Set<Performative['type']>([
  'open',
  'begin',
  'attach',
  'flow',
  'transfer',
  'disposition',
  'detach',
  'end',
  'close',
])
const saslBodies: ReadonlySet<CompositeName> = new Set<SaslPerformative['type']>([
  'saslMechanisms',
  'saslInit',
  'saslChallenge',
  'saslResponse',
  'saslOutcome',
])

/** One for all: a frame is encoded in one go and copied out. */
const writer = new Writer(1024)

const encode = (frame: Frame): Buffer | readonly Buffer[] => {
  if (frame.kind === 'header') {
    return Buffer.from([0x41, 0x4d, 0x51, 0x50, frame.id, ...frame.version.split('.').map(Number)])
  }
  writer.reset()
  writer.u32(0)
  writer.u8(2)
  writer.u8(frame.kind === 'sasl' ? 1 : 0)
  writer.u16(frame.kind === 'sasl' ? 0 : frame.channel)
  if (frame.body) writeComposite(writer, frame.body)
  const payload = frame.kind === 'amqp' ? frame.payload : undefined
  if (!payload) {
    writer.u32At(0, writer.at)
    return writer.copy()
  }
  const parts = Buffer.isBuffer(payload) ? [payload] : payload
  let size = writer.at
  for (const part of parts) size += part.length
  writer.u32At(0, size)
  return [writer.copy(), ...parts]
}

import { promisify } from 'node:util'
import { gunzip, inflate } from 'node:zlib'
import { Fault } from '@sluice/core'

export const PREFIX_BYTES = 5
/** Smaller chunks are copied together: each would keep all that it was read with, and a hundred bytes for itself. */
const SMALL_BYTES = 1_024
const SLAB_BYTES = 16_384

export interface Packed {
  readonly compressed: boolean
  readonly bytes: Buffer
}

const NOTHING = Buffer.alloc(0)

/**
 * Messages out of the bytes of a stream, cut anywhere.
 *   message = compressed u8 (0, 1) · length u32 · bytes
 * Source: "gRPC over HTTP2", Length-Prefixed-Message.
 */
export class Messages {
  readonly #max: number
  #parts: Buffer[] = []
  #wanted = PREFIX_BYTES
  /** Bytes of a message that is not complete. */
  held = 0
  /** Where small chunks go. */
  #slab: Buffer = NOTHING
  #used = 0
  /** Where the last part begins in the slab; undefined: it is not there. */
  #run: number | undefined

  /** `max`: bytes of one message. */
  constructor(max: number) {
    this.#max = max
  }

  /** @throws Fault 'tooLarge' as soon as a message announces more than `max`, 'malformed' */
  add(chunk: Buffer, emit: (message: Packed) => void): void {
    let bytes = chunk
    if (this.held > 0) {
      this.#keep(chunk)
      if (this.held < this.#wanted) return
      bytes = Buffer.concat(this.#parts, this.held)
    }
    let at = 0
    let wanted = PREFIX_BYTES
    while (bytes.length - at >= PREFIX_BYTES) {
      wanted = PREFIX_BYTES + this.#lengthOf(bytes, at)
      if (at + wanted > bytes.length) break
      emit({ compressed: bytes[at] === 1, bytes: bytes.subarray(at + PREFIX_BYTES, at + wanted) })
      at += wanted
      wanted = PREFIX_BYTES
    }
    this.#wanted = wanted
    if (this.held > 0) this.#forget()
    if (bytes.length > at) this.#keep(bytes.subarray(at))
  }

  #keep(chunk: Buffer): void {
    this.held += chunk.length
    if (chunk.length >= SMALL_BYTES) {
      this.#parts.push(chunk)
      this.#run = undefined
      return
    }
    if (this.#slab.length - this.#used < chunk.length) {
      this.#slab = Buffer.allocUnsafeSlow(Math.min(SLAB_BYTES, Math.max(64, 2 * this.held)))
      this.#used = 0
      this.#run = undefined
    }
    if (this.#run === undefined) {
      this.#run = this.#used
      this.#parts.push(NOTHING)
    }
    this.#used += chunk.copy(this.#slab, this.#used)
    this.#parts[this.#parts.length - 1] = this.#slab.subarray(this.#run, this.#used)
  }

  #forget(): void {
    this.held = 0
    this.#parts = []
    this.#slab = NOTHING
    this.#used = 0
    this.#run = undefined
  }

  #lengthOf(bytes: Buffer, at: number): number {
    if (bytes[at]! > 1) throw new Fault('malformed', `a message begins with ${bytes[at]}`)
    const length = bytes.readUInt32BE(at + 1)
    if (length > this.#max) throw new Fault('tooLarge', `a message has ${length} bytes, at most ${this.#max} are taken`)
    return length
  }
}

/** Writes prefix and message. Returns where they end. */
export const prefixInto = (out: Buffer, at: number, message: Buffer): number => {
  out[at] = 0
  out.writeUInt32BE(message.length, at + 1)
  return at + PREFIX_BYTES + message.copy(out, at + PREFIX_BYTES)
}

export const prefixed = (message: Buffer): Buffer => {
  const out = Buffer.allocUnsafe(PREFIX_BYTES + message.length)
  prefixInto(out, 0, message)
  return out
}

const inflaters = { gzip: promisify(gunzip), deflate: promisify(inflate) } as const

/** @throws Fault 'unsupported': an encoding that is not spoken here; 'tooLarge', 'malformed' */
export const unpack = async ({ compressed, bytes }: Packed, encoding: string | undefined, max: number) => {
  if (!compressed) return bytes
  if (encoding !== 'gzip' && encoding !== 'deflate') throw new Fault('unsupported', `encoding ${encoding} is not known`)
  try {
    return await (inflaters[encoding] as (bytes: Buffer, options: object) => Promise<Buffer>)(bytes, {
      maxOutputLength: max,
    })
  } catch (error) {
    const large = (error as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE'
    throw large
      ? new Fault('tooLarge', `a message has more than ${max} bytes`)
      : new Fault('malformed', 'bad compression')
  }
}

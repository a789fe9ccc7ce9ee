import { Fault } from '@sluice/core'
import { ONEWAY, RESPONSE } from './codes.ts'
import { decodeBinary, decodeJson } from './header.ts'
import { withBinaryHeader, withJsonHeader } from './headerOut.ts'
import { Patterns } from './pattern.ts'

/**
 * One RemotingCommand.
 *   frame  = total u32 (bytes after it) · type u8 (0 JSON, 1 binary) · headerLength u24 · header · body
 * Source: apache/rocketmq RemotingCommand.java
 */
export interface Frame {
  /** Request code; in a response, the result. In a binary header 16 bits. */
  readonly code: number
  /** A name of {@link languages}; what is not one travels as it is in JSON and as OTHER in binary. */
  readonly language: string
  readonly version: number
  readonly opaque: number
  /** {@link RESPONSE}, {@link ONEWAY}. */
  readonly flag: number
  /** Absent and empty mean the same. */
  readonly remark?: string
  /** Custom header fields; numbers and booleans of lax clients are strings already. */
  readonly ext: Readonly<Record<string, string>>
  /** Never empty: an empty body is an absent one. */
  readonly body?: Buffer
  /** Outgoing only: what follows `body`, so that stored records leave without being joined. */
  readonly parts?: readonly Buffer[]
  readonly binary: boolean
  /** Outgoing only: the frame as it is sent, and others behind it. Nothing else is looked at. */
  readonly encoded?: Buffer
}

/** Largest frame that official peers accept, its length word included. */
export const FRAME_BYTES_MAX = 16 * 1024 * 1024

const JSON_TYPE = 0
const BINARY_TYPE = 1
/** Length and type words. */
const HEAD_BYTES = 8
const MIN_HELD_BYTES = 1024

export const isResponse = (frame: Frame): boolean => (frame.flag & RESPONSE) !== 0
export const isOneway = (frame: Frame): boolean => (frame.flag & ONEWAY) !== 0

/** Bytes → frames. Bodies are slices of what came in. */
export class FrameDecoder {
  readonly #limit: number
  readonly #patterns = new Patterns()
  /** The start of a frame that is not complete; grows by doubling, so that many small chunks cost what they weigh. */
  #held: Buffer = Buffer.alloc(0)
  #filled = 0

  /** @param limit most bytes of one frame, its length word included */
  constructor(limit: number) {
    this.#limit = Math.min(limit, FRAME_BYTES_MAX)
  }

  get buffered(): number {
    return this.#filled
  }

  /**
   * @throws Fault 'tooLarge' as soon as the length word announces too much, 'malformed' for what is no frame, a
   * header that does not fit in its frame or is not UTF-8
   */
  decode(chunk: Buffer, emit: (frame: Frame) => void): void {
    let at = 0
    while (this.#filled > 0 && at < chunk.length) {
      const wanted = this.#filled < HEAD_BYTES ? HEAD_BYTES : this.#total(this.#held, 0)
      const taken = Math.min(wanted - this.#filled, chunk.length - at)
      this.#hold(chunk, at, at + taken, wanted)
      at += taken
      if (this.#filled >= HEAD_BYTES && this.#filled === this.#total(this.#held, 0)) {
        const whole = this.#held.subarray(0, this.#filled)
        this.#held = Buffer.alloc(0)
        this.#filled = 0
        emit(decodeFrame(whole, 0, whole.length, this.#patterns))
      } else if (this.#filled >= 4) this.#total(this.#held, 0, this.#filled)
    }
    while (at < chunk.length) {
      const left = chunk.length - at
      const total = left < 4 ? HEAD_BYTES : this.#total(chunk, at, left)
      if (left < total) {
        this.#hold(chunk, at, chunk.length, total)
        return
      }
      emit(decodeFrame(chunk, at, at + total, this.#patterns))
      at += total
    }
  }

  /** Bytes of the frame at `at`, its length word included; looks at the header length too when it is there. */
  #total(bytes: Buffer, at: number, present = HEAD_BYTES): number {
    const total = 4 + bytes.readUInt32BE(at)
    if (total > this.#limit) throw new Fault('tooLarge', `a frame of ${total} bytes; at most ${this.#limit}`)
    if (total < HEAD_BYTES) throw new Fault('malformed', 'a frame without a header')
    if (present >= HEAD_BYTES) {
      const word = bytes.readUInt32BE(at + 4)
      if (word >>> 24 > BINARY_TYPE) throw new Fault('malformed', `serialisation type ${word >>> 24}`)
      if ((word & 0xffffff) > total - HEAD_BYTES) throw new Fault('malformed', 'a header longer than its frame')
    }
    return total
  }

  #hold(chunk: Buffer, from: number, to: number, wanted: number): void {
    const needed = this.#filled + to - from
    if (needed > this.#held.length) {
      const bigger = Buffer.allocUnsafe(
        Math.max(needed, Math.min(wanted, Math.max(MIN_HELD_BYTES, this.#held.length * 2))),
      )
      this.#held.copy(bigger, 0, 0, this.#filled)
      this.#held = bigger
    }
    this.#filled += chunk.copy(this.#held, this.#filled, from, to)
  }
}

const decodeFrame = (bytes: Buffer, from: number, to: number, patterns: Patterns): Frame => {
  const word = bytes.readUInt32BE(from + 4)
  const start = from + HEAD_BYTES
  const end = start + (word & 0xffffff)
  const body = end < to ? bytes.subarray(end, to) : undefined
  if (word >>> 24 !== JSON_TYPE) return decodeBinary(bytes, start, end, body)
  const alike = patterns.read(bytes, start, end, body)
  if (alike) return alike
  const frame = decodeJson(bytes, start, end, body)
  patterns.learn(bytes, start, end, frame)
  return frame
}

/** A list where a body is big enough that copying it would cost more than a second part of a writev. */
export const encodeFrame = (frame: Frame): Buffer | readonly Buffer[] => {
  if (frame.encoded) return frame.encoded
  const { body, parts = none } = frame
  const bodyBytes = (body?.length ?? 0) + bytesOf(parts)
  const inline = bodyBytes <= INLINE_BYTES || bodyBytes <= parts.length * PART_BYTES
  const write = frame.binary ? withBinaryHeader : withJsonHeader
  const { bytes, headerBytes } = write(frame, HEAD_BYTES, inline ? bodyBytes : 0)
  bytes.writeUInt32BE(4 + headerBytes + bodyBytes, 0)
  bytes.writeUInt32BE(((frame.binary ? BINARY_TYPE : JSON_TYPE) << 24) | headerBytes, 4)
  if (bodyBytes === 0) return bytes
  if (!inline) return body ? [bytes, body, ...parts] : [bytes, ...parts]
  let at = HEAD_BYTES + headerBytes
  if (body) at += body.copy(bytes, at)
  for (const part of parts) at += part.copy(bytes, at)
  return bytes
}

const INLINE_BYTES = 2048
/** Records that are shorter than this, all in all, are copied sooner than each is written as a part of its own. */
const PART_BYTES = 4096
const none: readonly Buffer[] = []

const bytesOf = (parts: readonly Buffer[]): number => {
  let bytes = 0
  for (const part of parts) bytes += part.length
  return bytes
}

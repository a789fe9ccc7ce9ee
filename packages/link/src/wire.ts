import { Fault } from '@sluice/core'
import { malformed, Reader } from './reader.ts'

export const LINK_VERSION = 2

/** What a frame is. Those up to `refused` are spoken before the two know each other. */
export const frame = {
  /** Broker: link version, nonce. */
  challenge: 1,
  /** Gateway: who it is, nonce, proof. */
  hello: 2,
  /** Broker: who it is, what it can, proof, the cluster's key. */
  welcome: 3,
  /** Broker: a Fault, then it closes. */
  refused: 4,

  /** Gateway: the id stands for this session from now on. */
  session: 16,
  /** Gateway: every session that it has has been told; what the broker knows beyond that is gone. */
  told: 17,
  command: 18,
  /** Gateway: nobody waits for this command's messages any more. */
  cancel: 19,
  /** Broker: messages of the reply with this id, which follows. */
  deliveries: 20,
  reply: 21,
  fault: 22,
  /** Broker: to a client, or to the members of a group. */
  notice: 23,
  /** Gateway: the client's answer to the notice with this id; of nobody, that nobody is meant. */
  answer: 24,
  answerFault: 25,
  /** Either: answered by pong. */
  ping: 26,
  pong: 27,
  /** Either: nothing new is asked of me on this connection; what is under way will be answered. */
  bye: 28,
  /** Gateway: an `open` of an inbox that its client has open already; the broker has forgotten that. */
  resume: 29,
} as const

/** Of a frame: length, type and id. */
const HEAD = 9

export interface Frame {
  readonly type: number
  readonly id: number
  readonly content: Reader
}

/** Most bytes of a frame's length field before the two know each other. */
export const STRANGER_BYTES = 4 * 1024
/** Afterwards: room for every command of a gateway with bodies of this size. */
export const frameBytesFor = (bodyBytes: number): number => Math.max(64 * 1024 * 1024, 2 * bodyBytes)

/** Bytes → frames. What a length announces is checked before anything is kept, and not allocated before it has come. */
export class FrameDecoder {
  /** Most that a length may announce; may change between two frames. */
  frameBytes: number
  #held: Buffer[] = []
  #heldBytes = 0
  /** Bytes of the whole frame that is held; 0: its length has not come. */
  #wanted = 0

  constructor(frameBytes: number = STRANGER_BYTES) {
    this.frameBytes = frameBytes
  }

  get buffered(): number {
    return this.#heldBytes
  }

  /** Contents are slices of `chunk`. @throws Fault 'malformed', 'tooLarge'; not used again then */
  decode(chunk: Buffer, emit: (frame: Frame) => void): void {
    let bytes = chunk
    if (this.#heldBytes > 0) {
      this.#held.push(chunk)
      this.#heldBytes += chunk.length
      // A large frame in many chunks is put together once.
      if (this.#heldBytes < Math.max(4, this.#wanted)) return
      bytes = Buffer.concat(this.#held, this.#heldBytes)
      this.#held = []
      this.#heldBytes = 0
    }
    let from = 0
    while (bytes.length - from >= 4) {
      this.#wanted = this.#sizeAt(bytes, from)
      if (bytes.length - from < this.#wanted) break
      const end = from + this.#wanted
      emit({
        type: bytes[from + 4]!,
        id: bytes.readUInt32BE(from + 5),
        content: new Reader(bytes, from + HEAD, end),
      })
      from = end
      this.#wanted = 0
    }
    if (from === bytes.length) return
    const rest = from === 0 ? bytes : bytes.subarray(from)
    this.#held.push(rest)
    this.#heldBytes = rest.length
  }

  #sizeAt(bytes: Buffer, from: number): number {
    const announced = bytes.readUInt32BE(from)
    if (announced < HEAD - 4) throw malformed('a frame without a head')
    if (announced > this.frameBytes)
      throw new Fault('tooLarge', `link: a frame of ${announced} bytes is over ${this.frameBytes}`)
    return announced + 4
  }
}

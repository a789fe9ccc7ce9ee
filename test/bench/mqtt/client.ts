import { once } from 'node:events'
import net from 'node:net'

const text = (value: string): Buffer => {
  const bytes = Buffer.from(value)
  return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 0xff), bytes])
}

/** u8 type and flags · length of 1 to 4 bytes · body */
const packet = (first: number, ...parts: readonly Buffer[]): Buffer => {
  const body = Buffer.concat(parts)
  const header = [first]
  for (let left = body.length; ; left >>= 7) {
    header.push(left > 127 ? (left & 0x7f) | 0x80 : left)
    if (left <= 127) return Buffer.concat([Buffer.from(header), body])
  }
}

const connectPacket = (id: string): Buffer => packet(0x10, text('MQTT'), Buffer.of(4, 2, 0, 0), text(id)) // 3.1.1, clean, no keep alive
/** 5.0, clean, no keep alive, with a receive maximum. */
const connectPacket5 = (id: string, receiveMaximum: number): Buffer =>
  packet(0x10, text('MQTT'), Buffer.of(5, 2, 0, 0, 3, 0x21, receiveMaximum >> 8, receiveMaximum & 0xff), text(id))
const subscribePacket = (topic: string, qos: number, properties: Buffer): Buffer =>
  packet(0x82, Buffer.of(0, 1), properties, text(topic), Buffer.of(qos))
const nothing: Buffer = Buffer.alloc(0)
const noProperties: Buffer = Buffer.of(0)

/** A PUBLISH of which id and body are filled in later. */
export const publishPacket = (topic: string, qos: number, bytes: number, retain = false): Buffer =>
  packet(0x30 | (qos << 1) | (retain ? 1 : 0), text(topic), Buffer.alloc(qos > 0 ? 2 : 0), Buffer.alloc(bytes))

/** PUBACKs of these, one behind the other. */
export const pubacks = (ids: readonly number[]): Buffer => {
  const bytes = Buffer.allocUnsafe(ids.length * 4)
  for (const [n, id] of ids.entries()) bytes.writeUInt32BE(0x4002_0000 + id, n * 4)
  return bytes
}

export const PUBACK = 4
export const PUBLISH = 3

/** As little of an MQTT client as a load needs. */
export class Client {
  readonly socket: net.Socket
  /** `at`, `end`: of the packet's body within `bytes`. */
  on: (first: number, bytes: Buffer, at: number, end: number) => void = () => undefined
  /** After each read. */
  done: () => void = () => undefined
  #held: Buffer = nothing
  /** Those of a packet that has none. */
  #properties = nothing
  #answer: (() => void) | undefined

  constructor(port: number) {
    this.socket = net.connect(port, '127.0.0.1')
    this.socket.setNoDelay(true)
    this.socket.on('data', (chunk: Buffer) => this.#read(chunk))
  }

  /** With a receive maximum as a client of MQTT 5, which without is one of 3.1.1. */
  async enter(id: string, receiveMaximum?: number): Promise<void> {
    await once(this.socket, 'connect')
    this.#properties = receiveMaximum === undefined ? nothing : noProperties
    await this.#ask(receiveMaximum === undefined ? connectPacket(id) : connectPacket5(id, receiveMaximum))
  }

  subscribe(topic: string, qos: number): Promise<void> {
    return this.#ask(subscribePacket(topic, qos, this.#properties))
  }

  #ask(bytes: Buffer): Promise<void> {
    this.socket.write(bytes)
    return new Promise((resolve) => {
      this.#answer = resolve
    })
  }

  #read(chunk: Buffer): void {
    const bytes = this.#held.length > 0 ? Buffer.concat([this.#held, chunk]) : chunk
    let from = 0
    for (;;) {
      let at = from + 1
      let length = 0
      for (let shift = 0; at < bytes.length; shift += 7) {
        const byte = bytes[at++]!
        length |= (byte & 0x7f) << shift
        if (byte < 0x80) {
          length += 0x1000_0000 // complete
          break
        }
      }
      const end = at + length - 0x1000_0000
      if (length < 0x1000_0000 || end > bytes.length) break
      this.#packet(bytes, from, at, end)
      from = end
    }
    this.#held = bytes.subarray(from)
    this.done()
  }

  #packet(bytes: Buffer, from: number, at: number, end: number): void {
    const first = bytes[from]!
    const type = first >> 4
    if (type === PUBLISH || type === PUBACK) return this.on(first, bytes, at, end)
    this.#answer?.() // CONNACK, SUBACK
  }
}

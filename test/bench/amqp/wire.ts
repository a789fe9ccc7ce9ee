/** As much of AMQP 1.0 as a load needs, by hand: no part of ours or of a peer measures itself. */
export const performative = {
  open: 0x10,
  begin: 0x11,
  attach: 0x12,
  flow: 0x13,
  transfer: 0x14,
  disposition: 0x15,
  detach: 0x16,
  end: 0x17,
  close: 0x18,
} as const

export const HEADER = Buffer.from('AMQP\0\x01\0\0', 'latin1')

export const nothing = Buffer.from([0x40])
export const bool = (value: boolean): Buffer => Buffer.from([value ? 0x41 : 0x42])
export const uint = (value: number): Buffer => {
  const out = Buffer.alloc(5, 0x70)
  out.writeUInt32BE(value, 1)
  return out
}
export const text = (value: string): Buffer => {
  const bytes = Buffer.from(value)
  return Buffer.concat([Buffer.from([0xa1, bytes.length]), bytes])
}
export const binary = (value: Buffer): Buffer => Buffer.concat([Buffer.from([0xa0, value.length]), value])

export const described = (code: number, ...fields: readonly Buffer[]): Buffer => {
  const body = Buffer.concat(fields)
  const head = Buffer.from([0x00, 0x53, code, 0xd0, 0, 0, 0, 0, 0, 0, 0, 0])
  head.writeUInt32BE(4 + body.length, 4)
  head.writeUInt32BE(fields.length, 8)
  return Buffer.concat([head, body])
}

export const frame = (...parts: readonly Buffer[]): Buffer => {
  const body = Buffer.concat(parts)
  const head = Buffer.from([0, 0, 0, 0, 2, 0, 0, 0])
  head.writeUInt32BE(8 + body.length)
  return Buffer.concat([head, body])
}

export const accepted = described(0x24)
const dataSection = (body: Buffer): Buffer => {
  const head = Buffer.from([0x00, 0x53, 0x75, 0xb0, 0, 0, 0, 0])
  head.writeUInt32BE(body.length, 4)
  return Buffer.concat([head, body])
}

/** A whole delivery; its delivery id stands at {@link DELIVERY_ID} of the frame. */
export const transfer = (handle: number, body: Buffer): Buffer =>
  frame(
    described(
      performative.transfer,
      uint(handle),
      uint(0),
      binary(Buffer.from('benchtag')),
      uint(0),
      bool(false),
      bool(false),
    ),
    dataSection(body),
  )
export const DELIVERY_ID = 8 + 12 + 5 + 1

/** Fields of a performative as far as they are numbers, booleans or described types (their codes); else undefined. */
export type Field = number | boolean | undefined

const fixed: Readonly<Record<number, number>> = {
  4: 0,
  5: 1,
  6: 2,
  7: 4,
  8: 8,
  9: 16,
}

/** [value, index after it] */
const fieldAt = (bytes: Buffer, at: number): [Field, number] => {
  const code = bytes[at]!
  const from = at + 1
  switch (code) {
    case 0x00: {
      const [kind, value] = fieldAt(bytes, from)
      return [kind, fieldAt(bytes, value)[1]]
    }
    case 0x41:
      return [true, from]
    case 0x42:
      return [false, from]
    case 0x43:
    case 0x44:
      return [0, from]
    case 0x50:
    case 0x52:
    case 0x53:
      return [bytes[from], from + 1]
    case 0x56:
      return [bytes[from] === 1, from + 1]
    case 0x60:
      return [bytes.readUInt16BE(from), from + 2]
    case 0x70:
      return [bytes.readUInt32BE(from), from + 4]
    case 0x80:
      return [Number(bytes.readBigUInt64BE(from)), from + 8]
  }
  const size = fixed[code >> 4]
  if (size !== undefined) return [undefined, from + size]
  const short = ((code >> 4) & 1) === 0
  return [undefined, short ? from + 1 + bytes[from]! : from + 4 + bytes.readUInt32BE(from)]
}

export interface Said {
  readonly code: number
  readonly fields: readonly Field[]
}

const saidIn = (bytes: Buffer, from: number): Said => {
  const code = bytes[from + 2]!
  const list = bytes[from + 3]
  if (list === 0x45) return { code, fields: [] }
  const long = list === 0xd0
  const count = long ? bytes.readUInt32BE(from + 8) : bytes[from + 5]!
  const fields: Field[] = []
  let at = from + (long ? 12 : 6)
  for (let index = 0; index < count; index++) {
    const [value, after] = fieldAt(bytes, at)
    fields.push(value)
    at = after
  }
  return { code, fields }
}

/** Performatives of a stream that begins with the protocol header. */
export class Reader {
  #held: Buffer | undefined
  #headerBytes = HEADER.length
  readonly #take: (said: Said) => void

  constructor(take: (said: Said) => void) {
    this.#take = take
  }

  read(chunk: Buffer): void {
    const bytes = this.#held ? Buffer.concat([this.#held, chunk]) : chunk
    let at = 0
    if (this.#headerBytes > 0 && bytes.length >= this.#headerBytes) {
      at = this.#headerBytes
      this.#headerBytes = 0
    }
    while (this.#headerBytes === 0 && bytes.length - at >= 8) {
      const end = at + bytes.readUInt32BE(at)
      if (end > bytes.length) break
      if (end - at > 8) {
        const said = saidIn(bytes, at + 4 * bytes[at + 4]!)
        if (said.code >= performative.detach) throw new Error(bytes.toString('latin1', at, end))
        this.#take(said)
      }
      at = end
    }
    this.#held = at < bytes.length ? bytes.subarray(at) : undefined
  }
}

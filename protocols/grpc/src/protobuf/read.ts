import { type Field, isPacked, type MessageType, wire } from './schema.ts'

type Message = Record<string, unknown>

const broken = (why: string) => new Error(`no protobuf: ${why}`)

/**
 * A message as `wire.ts` describes it: enums by their names, 64-bit numbers as numbers where these hold them exactly and
 * else as decimal text, what is absent left out, lists and maps always there. Bytes are slices. What is not known, or
 * is not of its type, is passed over. Source: protobuf.dev, "Encoding".
 * @throws Error when it is no protobuf
 */
export const read = (type: MessageType, bytes: Buffer): object => {
  const reader = new Reader(bytes)
  return reader.message(type, bytes.length)
}

class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  message(type: MessageType, end: number): Message {
    const message: Message = {}
    for (const name of type.lists) message[name] = []
    for (const name of type.maps) message[name] = {}
    while (this.#at < end) {
      const tag = this.#uint32()
      const field = type.byId[tag >>> 3]
      if (tag >>> 3 === 0) throw broken('field 0')
      if (field?.tag === tag) this.#field(field, message)
      else if (field && isPacked(field) && (tag & 7) !== wire.bytes) this.#alone(field, tag & 7, message)
      else this.#skip(tag & 7)
    }
    if (this.#at !== end) throw broken('a field beyond its message')
    return message
  }

  #field(field: Field, message: Message): void {
    if (field.kind === 'map') return this.#entry(field, message[field.name] as Message)
    if (!field.repeated) {
      message[field.name] = this.#value(field)
      return
    }
    const list = message[field.name] as unknown[]
    if (!isPacked(field)) return void list.push(this.#value(field))
    for (const end = this.#end(); this.#at < end; ) list.push(this.#value(field))
  }

  /** Of a list whose numbers are written one by one. */
  #alone(field: Field, type: number, message: Message): void {
    if (type !== (field.kind === 'float' ? wire.fixed32 : wire.varint)) return this.#skip(type)
    ;(message[field.name] as unknown[]).push(this.#value(field))
  }

  #entry({ type }: Field, map: Message): void {
    const [, keyField, valueField] = (type as MessageType).byId
    const { key = '', value } = this.message(type as MessageType, this.#end())
    const empty =
      valueField?.kind === 'message' ? new Reader(this.#bytes).message(valueField.type as MessageType, 0) : ''
    if (keyField) Object.defineProperty(map, String(key), { value: value ?? empty, ...plain })
  }

  #value(field: Field): unknown {
    switch (field.kind) {
      case 'string': {
        const end = this.#end()
        const text = this.#bytes.toString('utf8', this.#at, end)
        this.#at = end
        return text
      }
      case 'bytes': {
        const end = this.#end()
        const bytes = this.#bytes.subarray(this.#at, end)
        this.#at = end
        return bytes
      }
      case 'int32':
        return this.#int64Low() | 0
      case 'int64':
        return this.#int64()
      case 'bool':
        return this.#int64() !== 0
      case 'enum': {
        const number = this.#int64Low() | 0
        return field.values?.names.get(number) ?? number
      }
      case 'float':
        this.#room(4)
        return this.#bytes.readFloatLE(this.#at - 4)
      default:
        return this.message(field.type as MessageType, this.#end())
    }
  }

  /** Where what follows its length ends. */
  #end(): number {
    const length = this.#uint32()
    const end = this.#at + length
    if (end > this.#bytes.length) throw broken('a length beyond the end')
    return end
  }

  #uint32(): number {
    return this.#int64Low() >>> 0
  }

  #int64Low(): number {
    const first = this.#bytes[this.#at]!
    if (first < 0x80) {
      this.#at++
      return first
    }
    let value = 0
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.#byte()
      if (shift < 32) value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    throw broken('a number of more than ten bytes')
  }

  #int64(): number | string {
    let value = 0
    const from = this.#at
    for (let factor = 1, count = 0; count < 7; factor *= 128, count++) {
      const byte = this.#byte()
      value += (byte & 0x7f) * factor
      if (byte < 0x80) return value
    }
    this.#at = from
    return this.#large()
  }

  /** From 2^49 on, and below 0. */
  #large(): number | string {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#byte()
      value |= BigInt(byte & 0x7f) << shift
      if (byte >= 0x80) continue
      const signed = BigInt.asIntN(64, value)
      return Number.isSafeInteger(Number(signed)) ? Number(signed) : String(signed)
    }
    throw broken('a number of more than ten bytes')
  }

  #byte(): number {
    const byte = this.#bytes[this.#at]
    if (byte === undefined) throw broken('it ends too soon')
    this.#at++
    return byte
  }

  #room(bytes: number): void {
    this.#at += bytes
    if (this.#at > this.#bytes.length) throw broken('it ends too soon')
  }

  #skip(type: number): void {
    if (type === wire.varint) this.#int64Low()
    else if (type === wire.bytes) this.#at = this.#end()
    else if (type === wire.fixed32) this.#room(4)
    else if (type === wire.fixed64) this.#room(8)
    else throw broken(`wire type ${type}`)
  }
}

/** A key may be any text, `__proto__` with the others. */
const plain = { writable: true, enumerable: true, configurable: true } as const

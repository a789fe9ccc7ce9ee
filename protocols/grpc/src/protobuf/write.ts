import { type Field, isPacked, type MessageType } from './schema.ts'

type Message = Readonly<Record<string, unknown>>

const ROOM_BYTES = 64 * 1024

/**
 * Bytes of a message, valid until the next is written. Fields in the order of their numbers; those that are undefined are
 * left out, also lists and maps that are empty. Enums by their names or numbers, 64-bit numbers as numbers.
 * It is written from its end to its beginning, so that a length is known when it is written.
 * @throws Error for what is not of its type
 */
export const write = (type: MessageType, message: object): Buffer => {
  at = room.length
  putMessage(type, message as Message)
  const bytes = room.subarray(at)
  if (room.length > ROOM_BYTES) room = Buffer.allocUnsafeSlow(ROOM_BYTES)
  return bytes
}

let room = Buffer.allocUnsafeSlow(ROOM_BYTES)
/** The first byte that is written. */
let at = room.length

const need = (bytes: number): void => {
  if (at >= bytes) return
  const used = room.length - at
  const bigger = Buffer.allocUnsafeSlow(Math.max(2 * room.length, used + bytes))
  room.copy(bigger, bigger.length - used, at)
  room = bigger
  at = room.length - used
}

const putMessage = (type: MessageType, message: Message): void => {
  const { fields } = type
  for (let index = fields.length - 1; index >= 0; index--) {
    const field = fields[index] as Field
    const value = message[field.name]
    if (value === undefined || value === null) continue
    if (field.kind === 'map') putMap(field, value as Message)
    else if (field.repeated) putList(field, value as readonly unknown[])
    else {
      putValue(field, value)
      putVarint(field.tag)
    }
  }
}

const putList = (field: Field, list: readonly unknown[]): void => {
  if (list.length === 0) return
  const packed = isPacked(field)
  const end = room.length - at
  for (let index = list.length - 1; index >= 0; index--) {
    putValue(field, list[index])
    if (!packed) putVarint(field.tag)
  }
  if (!packed) return
  putVarint(room.length - at - end)
  putVarint(field.tag)
}

const putMap = (field: Field, map: Message): void => {
  for (const key of Object.keys(map).reverse()) {
    const end = room.length - at
    putMessage(field.type as MessageType, { key, value: map[key] })
    putVarint(room.length - at - end)
    putVarint(field.tag)
  }
}

const putValue = (field: Field, value: unknown): void => {
  switch (field.kind) {
    case 'string':
      return putText(field, value)
    case 'bytes':
      return putBytes(value as Uint8Array)
    case 'int32':
    case 'int64':
      return putInteger(field, Number(value))
    case 'bool':
      return putVarint(value ? 1 : 0)
    case 'enum':
      return putInteger(field, typeof value === 'number' ? value : field.values?.numbers.get(value as string))
    case 'float':
      need(4)
      room.writeFloatLE(value as number, at - 4)
      at -= 4
      return
    default: {
      const end = room.length - at
      putMessage(field.type as MessageType, value as Message)
      putVarint(room.length - at - end)
    }
  }
}

const putText = (field: Field, text: unknown): void => {
  if (typeof text !== 'string') throw new TypeError(`${field.name} is no text`)
  const bytes = Buffer.byteLength(text)
  need(bytes)
  at -= bytes
  room.write(text, at)
  putVarint(bytes)
}

const putBytes = (bytes: Uint8Array): void => {
  need(bytes.length)
  at -= bytes.length
  room.set(bytes, at)
  putVarint(bytes.length)
}

const putInteger = (field: Field, number: number | undefined): void => {
  if (!Number.isSafeInteger(number)) throw new TypeError(`${field.name} is no whole number`)
  if (number! >= 0) putVarint(number!)
  else putNegative(number!)
}

/** Up to 2^53. */
const putVarint = (number: number): void => {
  need(8)
  if (number < 0x80) {
    room[--at] = number
    return
  }
  let length = 1
  for (let rest = number; rest >= 0x80; rest = Math.floor(rest / 128)) length++
  at -= length
  let rest = number
  for (let index = 0; index < length - 1; index++, rest = Math.floor(rest / 128)) room[at + index] = (rest % 128) | 0x80
  room[at + length - 1] = rest
}

/** Ten bytes. */
const putNegative = (number: number): void => {
  need(10)
  at -= 10
  let rest = BigInt.asUintN(64, BigInt(number))
  for (let index = 0; index < 9; index++, rest >>= 7n) room[at + index] = Number(rest & 127n) | 0x80
  room[at + 9] = Number(rest)
}

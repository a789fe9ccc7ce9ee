import { Fault, type FaultCode } from '@sluice/core'
import { malformed, type Reader } from './reader.ts'
import type { Writer } from './writer.ts'

/**
 * Plain data as it is, whatever its shape: a new command needs no code here. JSON would not do: buffers, undefined and
 * Faults travel too, and a user's text may be the name of a field.
 */
const tag = {
  undefined: 0,
  null: 1,
  false: 2,
  true: 3,
  number: 4,
  negative: 5,
  double: 6,
  text: 7,
  bytes: 8,
  list: 9,
  object: 10,
  fault: 11,
  special: 12,
} as const

const DEPTH_MAX = 64

/** What is no plain data but may travel: messages. False: not known; nothing was written. */
export type WriteSpecial = (writer: Writer, value: object) => boolean
export type ReadSpecial = (reader: Reader) => unknown

const cannot = (what: string): Fault => new Fault('internal', `link: ${what} cannot travel`)

/** @throws Fault 'internal' for what is neither data nor known to `special` */
export const writeValue = (writer: Writer, value: unknown, special?: WriteSpecial, depth = 0): void => {
  switch (typeof value) {
    case 'undefined':
      return void writer.byte(tag.undefined)
    case 'boolean':
      return void writer.byte(value ? tag.true : tag.false)
    case 'number':
      return writeNumber(writer, value)
    case 'string':
      return void writer.byte(tag.text).text(value)
    case 'object':
      return writeObject(writer, value, special, depth + 1)
    default:
      throw cannot(`a ${typeof value}`)
  }
}

const writeNumber = (writer: Writer, value: number): void => {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
    if (value >= 0) writer.byte(tag.number).number(value)
    else writer.byte(tag.negative).number(-value)
  } else writer.byte(tag.double).double(value)
}

const writeObject = (writer: Writer, value: object | null, special: WriteSpecial | undefined, depth: number): void => {
  if (value === null) return void writer.byte(tag.null)
  if (depth > DEPTH_MAX) throw cannot('what is nested so deeply')
  if (value instanceof Uint8Array) return void writer.byte(tag.bytes).bytes(value)
  if (Array.isArray(value)) {
    writer.byte(tag.list).number(value.length)
    for (const item of value as readonly unknown[]) writeValue(writer, item, special, depth)
    return
  }
  if (Fault.is(value)) {
    writer.byte(tag.fault)
    return writeFault(writer, value)
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    writer.byte(tag.special)
    if (special?.(writer, value)) return
    throw cannot('an object of a class')
  }
  const entries = Object.entries(value)
  writer.byte(tag.object).number(entries.length)
  for (const [name, inner] of entries) {
    writer.text(name)
    writeValue(writer, inner, special, depth)
  }
}

/** @throws Fault 'malformed' */
export const readValue = (reader: Reader, special?: ReadSpecial, depth = 0): unknown => {
  const kind = reader.byte()
  switch (kind) {
    case tag.undefined:
      return undefined
    case tag.null:
      return null
    case tag.false:
      return false
    case tag.true:
      return true
    case tag.number:
      return reader.number()
    case tag.negative:
      return -reader.number()
    case tag.double:
      return reader.double()
    case tag.text:
      return reader.text()
    case tag.bytes:
      return reader.bytes()
    case tag.fault:
      return readFault(reader)
  }
  if (depth >= DEPTH_MAX) throw malformed('a value is nested too deeply')
  switch (kind) {
    case tag.list: {
      const items: unknown[] = []
      for (let left = reader.count(); left > 0; left--) items.push(readValue(reader, special, depth + 1))
      return items
    }
    case tag.object:
      return readObject(reader, special, depth + 1)
    case tag.special:
      if (special) return special(reader)
  }
  throw malformed('no such kind of value')
}

const readObject = (reader: Reader, special: ReadSpecial | undefined, depth: number): object => {
  const made: Record<string, unknown> = {}
  for (let left = reader.count(); left > 0; left--) {
    const name = reader.text()
    const value = readValue(reader, special, depth)
    if (name === '__proto__')
      Object.defineProperty(made, name, { value, enumerable: true, configurable: true, writable: true })
    else made[name] = value
  }
  return made
}

const codes = {
  malformed: 1,
  tooLarge: 2,
  unsupported: 3,
  unauthenticated: 4,
  forbidden: 5,
  invalid: 6,
  topicNotFound: 7,
  groupNotFound: 8,
  receiptExpired: 9,
  notFound: 10,
  conflict: 11,
  limit: 12,
  throttled: 13,
  busy: 14,
  circuitOpen: 15,
  unavailable: 16,
  draining: 17,
  outcomeUnknown: 18,
  internal: 19,
} as const satisfies Record<FaultCode, number>
const names = new Map(Object.entries(codes).map(([name, code]) => [code as number, name as FaultCode]))

/** Its cause stays behind: it is for the log of the process that it happened in. */
export const writeFault = (writer: Writer, { code, message, about, node, retryAfter }: Fault): void => {
  writer.byte(codes[code]).text(message)
  for (const more of [about, node, retryAfter]) writeValue(writer, more)
}

export const readFault = (reader: Reader): Fault => {
  const code = names.get(reader.byte())
  if (!code) throw malformed('no such fault')
  const message = reader.text()
  const [about, node, retryAfter] = [readValue(reader), readValue(reader), readValue(reader)]
  return new Fault(code, message, {
    ...(typeof about === 'string' && { about }),
    ...(typeof node === 'string' && { node }),
    ...(typeof retryAfter === 'number' && { retryAfter }),
  })
}

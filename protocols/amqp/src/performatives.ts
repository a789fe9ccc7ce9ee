import {
  type Composite,
  type CompositeName,
  type CompositeOf,
  type FieldKind,
  type FieldTypes,
  shapes,
} from './shapes.ts'
import { malformed, type Reader } from './types/reader.ts'
import { type Described, isTagged, symbols, textOf } from './types/values.ts'
import type { Writer } from './types/writer.ts'

interface Field {
  readonly name: string
  readonly kind: FieldKind
  readonly mandatory: boolean
}
interface Shape {
  readonly name: CompositeName
  readonly code: number
  readonly fields: readonly Field[]
}

const shapeOf = ([name, [code, fields]]: [string, readonly [number, Readonly<Record<string, string>>]]): Shape => ({
  name: name as CompositeName,
  code,
  fields: Object.entries(fields).map(([field, kind]) => ({
    name: field,
    kind: kind.replace('!', '') as FieldKind,
    mandatory: kind.endsWith('!'),
  })),
})
const byName = Object.fromEntries(
  Object.entries(shapes).map((entry) => [entry[0], shapeOf(entry as never)]),
) as unknown as Readonly<Record<CompositeName, Shape>>
const byCode: (Shape | undefined)[] = []
/** The numbers of symbolic descriptors: `amqp:transactional-state:list` of `transactionalState`. */
const bySymbol = new Map<string, number>([
  ['amqp:delivery-annotations:map', 0x71],
  ['amqp:message-annotations:map', 0x72],
  ['amqp:application-properties:map', 0x74],
  ['amqp:data:binary', 0x75],
  ['amqp:amqp-sequence:list', 0x76],
  ['amqp:amqp-value:*', 0x77],
  ['amqp:footer:map', 0x78],
])
for (const shape of Object.values(byName)) {
  byCode[shape.code] = shape
  bySymbol.set(`amqp:${shape.name.replace(/[A-Z]/g, (capital) => `-${capital.toLowerCase()}`)}:list`, shape.code)
}

/**
 * The number in a descriptor, `00000000:000000xx`, in any of its encodings; for a symbolic one of AMQP 1.0 its number.
 * @returns -1 for a descriptor of someone else
 */
export const readDescriptor = (reader: Reader): number => {
  const code = reader.u8()
  switch (code) {
    case 0x53:
      return reader.u8()
    case 0x80: {
      const wide = reader.u64()
      return wide < 256 ? Number(wide) : -1
    }
    case 0xa3:
    case 0xb3:
      return bySymbol.get(reader.symbol(code === 0xa3 ? reader.u8() : reader.u32())) ?? -1
    default:
      reader.of(code)
      return -1
  }
}

/**
 * A frame's performative.
 * @throws Fault 'malformed' about 'value': not a described list, a mandatory field is absent, a field is of another type
 */
export const readComposite = (reader: Reader): Composite => {
  if (reader.u8() !== 0) throw malformed('a frame body is not a described type')
  reader.enter()
  const shape = byCode[readDescriptor(reader)]
  if (!shape) throw malformed('a frame body is of no known type')
  const composite = readFields(reader, shape)
  reader.leave()
  return composite
}

/** The list of a composite whose descriptor has been read. @throws Fault 'malformed' about 'value' */
export const readSection = <N extends CompositeName>(reader: Reader, name: N): CompositeOf<N> =>
  readFields(reader, byName[name]) as CompositeOf<N>

const readFields = (reader: Reader, shape: Shape): Composite => {
  const code = reader.u8()
  const outer = reader.end
  let count = 0
  if (code === 0xc0 || code === 0xd0) count = reader.open(code)
  else if (code !== 0x45) throw malformed(`${shape.name} is not a list`)
  const { fields } = shape
  if (count > fields.length) throw malformed(`${shape.name} has no field ${count}`)
  const composite: Record<string, unknown> = { type: shape.name }
  for (let index = 0; index < fields.length; index++) {
    const field = fields[index] as Field
    const value = index < count ? readField(reader, shape, field) : undefined
    if (value === undefined && field.mandatory) throw malformed(`${shape.name} without ${field.name}`)
    composite[field.name] = value
  }
  if (code !== 0x45) reader.close(outer)
  return composite as unknown as Composite
}

const readField = (reader: Reader, shape: Shape, field: Field): unknown => {
  reader.spend(1)
  const code = reader.peek()
  if (code === 0x40) {
    reader.at++
    return undefined
  }
  const value = readers[field.kind](reader, code)
  if (value === undefined) throw malformed(`${field.name} of ${shape.name} is not of type ${field.kind}`)
  return value
}

/** By kind of field. `code` is still to be taken; undefined: it is of another type. */
const readers: Readonly<Record<FieldKind, (reader: Reader, code: number) => unknown>> = {
  boolean(reader, code) {
    reader.at++
    return code === 0x41 ? true : code === 0x42 ? false : code === 0x56 ? reader.boolean() : undefined
  },
  uint(reader, code) {
    reader.at++
    return code === 0x52 ? reader.u8() : code === 0x43 ? 0 : code === 0x70 ? reader.u32() : undefined
  },
  ulong(reader, code) {
    reader.at++
    return code === 0x53 ? reader.u8() : code === 0x44 ? 0 : code === 0x80 ? reader.u64() : undefined
  },
  timestamp(reader, code) {
    reader.at++
    return code === 0x83 ? reader.i64() : undefined
  },
  ubyte(reader, code) {
    reader.at++
    return code === 0x50 ? reader.u8() : undefined
  },
  ushort(reader, code) {
    reader.at++
    return code === 0x60 ? reader.bytes.readUInt16BE(reader.take(2)) : undefined
  },
  binary(reader, code) {
    reader.at++
    return code === 0xa0 ? reader.slice(reader.u8()) : code === 0xb0 ? reader.slice(reader.u32()) : undefined
  },
  string(reader, code) {
    reader.at++
    return code === 0xa1 ? reader.string(reader.u8()) : code === 0xb1 ? reader.string(reader.u32()) : undefined
  },
  symbol(reader, code) {
    reader.at++
    return code === 0xa3 ? reader.symbol(reader.u8()) : code === 0xb3 ? reader.symbol(reader.u32()) : undefined
  },
  symbols(reader) {
    const value = reader.value()
    const one = textOf(value)
    if (one !== undefined) return [one]
    if (value === null || Buffer.isBuffer(value) || !isTagged(value) || value.type !== 'array') return undefined
    const all = value.value.map(textOf)
    return all.includes(undefined) ? undefined : all
  },
  map(reader) {
    const value = reader.value()
    return value !== null && isTagged(value) && value.type === 'map' ? value : undefined
  },
  any: (reader) => reader.value(),
  composite(reader, code) {
    if (code !== 0) return undefined
    reader.at++
    reader.enter()
    const from = reader.at
    const shape = byCode[readDescriptor(reader)]
    if (!shape) {
      reader.at = from
      const descriptor = reader.value()
      const value = reader.value()
      reader.leave()
      return { type: 'described', descriptor, value }
    }
    const composite = readFields(reader, shape)
    reader.leave()
    return composite
  },
}

/** Writes it with the short descriptor and without its tail of absent fields. */
export const writeComposite = (writer: Writer, composite: Composite): void => {
  const shape = byName[composite.type]
  const values = composite as unknown as Readonly<Record<string, unknown>>
  const { fields } = shape
  writer.u8(0)
  writer.u8(0x53)
  writer.u8(shape.code)
  let count = fields.length
  while (count > 0 && values[fields[count - 1]!.name] === undefined) count--
  if (count === 0) return writer.u8(0x45)
  const mark = writer.open(0xc0)
  for (let index = 0; index < count; index++) {
    const { name, kind } = fields[index] as Field
    const value = values[name]
    if (value === undefined) writer.null()
    else writers[kind](writer, value as never)
  }
  writer.close(mark, count)
}

const writers: { readonly [K in FieldKind]: (writer: Writer, value: FieldTypes[K]) => void } = {
  boolean: (writer, value) => writer.boolean(value),
  uint: (writer, value) => writer.uint(value),
  ulong: (writer, value) => writer.ulong(value),
  timestamp: (writer, value) => writer.timestamp(value),
  ubyte: (writer, value) => writer.ubyte(value),
  ushort: (writer, value) => writer.ushort(value),
  binary: (writer, value) => writer.binary(value),
  string: (writer, value) => writer.string(value),
  symbol: (writer, value) => writer.symbol(value),
  symbols: (writer, value) => writer.value(symbols(value)),
  map: (writer, value) => writer.value(value),
  any: (writer, value) => writer.value(value),
  composite: (writer, value) =>
    value.type === 'described' ? writer.value(value as Described) : writeComposite(writer, value as Composite),
}

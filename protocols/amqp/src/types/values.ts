/**
 * AMQP 1.0 values as they stand in memory. What JavaScript says by itself is itself: null, boolean, string, binary
 * (Buffer), list (array). Everything else carries its AMQP type, so that it can be written back as what it was.
 * Source: AMQP 1.0 part 1, section 1.6.
 */
export type Value = null | boolean | string | Buffer | readonly Value[] | Tagged

export type SmallNumberType = 'ubyte' | 'ushort' | 'uint' | 'byte' | 'short' | 'int' | 'float' | 'double' | 'char'
/** Up to 2^53 - 1 a number, beyond it a bigint. */
export type WideNumberType = 'ulong' | 'long' | 'timestamp'
/** 16 bytes, 4, 8, 16: kept as they came. */
export type OpaqueType = 'uuid' | 'decimal32' | 'decimal64' | 'decimal128'

export type Tagged =
  | { readonly type: SmallNumberType; readonly value: number }
  | { readonly type: WideNumberType; readonly value: number | bigint }
  | { readonly type: OpaqueType; readonly value: Buffer }
  | { readonly type: 'symbol'; readonly value: string }
  | MapValue
  | ArrayValue
  | Described

/** Pairs, not a Map: keys may be of any type, and their order is the sender's. */
export interface MapValue {
  readonly type: 'map'
  readonly value: readonly (readonly [Value, Value])[]
}

/** Elements of one type, each described by `descriptor` where there is one. */
export interface ArrayValue {
  readonly type: 'array'
  readonly of: TypeName
  readonly descriptor?: Value
  readonly value: readonly Value[]
}

export interface Described {
  readonly type: 'described'
  readonly descriptor: Value
  readonly value: Value
}

export type TypeName = Exclude<Tagged['type'], 'described'> | 'null' | 'boolean' | 'string' | 'binary' | 'list'

export const symbol = (value: string): Value => ({ type: 'symbol', value })
export const uint = (value: number): Value => ({ type: 'uint', value })
export const ulong = (value: number | bigint): Value => ({ type: 'ulong', value })
export const described = (descriptor: Value, value: Value): Described => ({ type: 'described', descriptor, value })
export const mapOf = (value: readonly (readonly [Value, Value])[]): MapValue => ({ type: 'map', value })
export const symbols = (values: readonly string[]): ArrayValue => ({
  type: 'array',
  of: 'symbol',
  value: values.map(symbol),
})

export const isTagged = (value: Value): value is Tagged =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !Buffer.isBuffer(value)

export const isMap = (value: Value | undefined): value is MapValue =>
  value !== undefined && isTagged(value) && value.type === 'map'

/** The text of a string or a symbol: maps of fields and of annotations are looked up by either. */
export const textOf = (value: Value | undefined): string | undefined => {
  if (typeof value === 'string') return value
  return value !== undefined && isTagged(value) && value.type === 'symbol' ? value.value : undefined
}

/** An integer of any width that a number holds exactly. */
export const numberOf = (value: Value | undefined): number | undefined => {
  if (value === undefined || !isTagged(value)) return undefined
  return typeof value.value === 'number' && value.type !== 'float' && value.type !== 'double' && value.type !== 'char'
    ? value.value
    : undefined
}

/** The first entry under this name. */
export const entry = (map: MapValue | undefined, name: string): Value | undefined =>
  map?.value.find(([key]) => textOf(key) === name)?.[1]

const hex = (bytes: Buffer): string => bytes.toString('hex')

/** `8-4-4-4-12` of 16 bytes. */
export const uuidText = (bytes: Buffer): string =>
  hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')

/** A simple value as text, for models that know only text: numbers decimal, uuid with dashes, binary and decimals in hex. */
export const asText = (value: Value): string => {
  if (value === null) return ''
  if (typeof value === 'string') return value
  if (typeof value === 'boolean') return String(value)
  if (Buffer.isBuffer(value)) return hex(value)
  if (!isTagged(value)) return JSON.stringify(asJson(value))
  switch (value.type) {
    case 'symbol':
      return value.value
    case 'uuid':
      return uuidText(value.value)
    case 'decimal32':
    case 'decimal64':
    case 'decimal128':
      return hex(value.value)
    case 'char':
      return String.fromCodePoint(value.value)
    case 'map':
    case 'array':
    case 'described':
      return JSON.stringify(asJson(value))
    default:
      return String(value.value)
  }
}

/** Anything as JSON: descriptors are left out, numbers that JSON cannot hold become text, map keys become text. */
export const asJson = (value: Value): unknown => {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value
  if (Buffer.isBuffer(value)) return value.toString('base64')
  if (!isTagged(value)) return value.map(asJson)
  switch (value.type) {
    case 'map':
      return Object.fromEntries(value.value.map(([key, item]) => [asText(key), asJson(item)]))
    case 'array':
      return value.value.map(asJson)
    case 'described':
      return asJson(value.value)
    default:
      return typeof value.value === 'number' && Number.isFinite(value.value) && value.type !== 'char'
        ? value.value
        : asText(value)
  }
}
